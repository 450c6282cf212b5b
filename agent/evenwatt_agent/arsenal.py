"""Which knobs a node has for the domains that it counts, in the order in which they are tried.

What is not counted is not steered. Limits in watts name their domain themselves. Throttles slow processors down, so
they are held against the power of their package; on a machine whose packages cannot be told apart, against the one
meter that stands for it. An estimate follows utilisation, which a lower frequency raises: it steers no frequency.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_agent import restore
from evenwatt_agent.actuators import cpu_max, cpufreq, hwmon, powercap
from evenwatt_agent.actuators.follow import Ends
from evenwatt_agent.actuators.throttle import Throttle
from evenwatt_agent.sources.estimate import MAX_W_PER_CPU
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evenwatt_agent.actuators import Knob
    from evenwatt_agent.actuators.model import Lever
    from evenwatt_agent.settings import AgentSettings
    from evenwatt_agent.sources.nvml import Nvml
    from evenwatt_wire import Domain

_SLOW_SAMPLE_S: Final = 0.1
_GPU_W: Final = 300.0
"""Ceiling of a board that states none, until more has been seen."""
_METERS: Final = ("psys", "board", "machine", "estimate")
"""Kinds of domain that stand for a whole machine, processors included."""


def find_knobs(settings: AgentSettings, domains: Sequence[Domain], library: Nvml | None) -> list[Knob]:
    """Return every knob that the settings allow, those of one domain in their order.

    Raises:
        Failure: limits saved by an earlier run cannot be read, or the settings name a cgroup that cannot be used.
    """
    control = settings.control
    found: list[Knob] = list(_Finder(settings, domains, library).all())
    inside = _steered(domains)
    allowed = [knob for knob in found if knob.domain in inside and knob.kind in control.knobs]
    unknown = set(control.ceilings_w) - {knob.domain for knob in found if isinstance(knob, Throttle)}
    if unknown:
        have = ", ".join(sorted({knob.domain for knob in found if isinstance(knob, Throttle)})) or "none"
        raise Failure(
            f"control.ceilings_w names {min(unknown)!r}, but domains steered without a limit in watts here: {have}; "
            f"name one of those, or remove it"
        )
    order: list[str] = [*control.knobs]
    return sorted(allowed, key=lambda knob: order.index(knob.kind))


def lag_of(settings: AgentSettings, domain: Domain) -> float:
    """Return how old the power of a domain may be when it is looked at, in seconds."""
    if domain.source in ("redfish", "ipmi"):
        return 2 * settings.sources.meter.period_s
    return _SLOW_SAMPLE_S if domain.source in ("nvml", "hwmon", "ina", "power_supply") else 0.0


class _Finder:
    """Looks for one kind of knob after the other."""

    def __init__(self, settings: AgentSettings, domains: Sequence[Domain], library: Nvml | None) -> None:
        self._settings, self._domains, self._library = settings, domains, library
        self._sysfs = Path(settings.sources.sysfs)
        try:
            rows = restore.load(restore.originals_path(settings.state_path))
        except ValueError as error:
            raise Failure(f"{error}; check the limits by hand, then remove the file") from None
        self._originals = {row["where"]: row["value"] for row in rows if row["kind"] != "nvml-clocks"}

    def all(self) -> Iterator[Knob]:
        share, originals = self._settings.control.floor_share, self._originals
        counted = sorted(domain.id for domain in self._domains if domain.in_total)
        yield from powercap.discover(self._sysfs, share, originals)
        yield from hwmon.discover(self._sysfs, counted, share, originals)
        yield from self._frequencies()
        yield from self._quotas()
        if self._library is not None:
            yield from self._boards(self._library)

    def _frequencies(self) -> Iterator[Throttle]:
        for domain, package in _processor_domains(self._domains):
            if domain.kind == "estimate":
                continue
            lever = cpufreq.discover(self._sysfs, package, self._originals)
            if lever is not None:
                yield self._throttle(lever, domain, MAX_W_PER_CPU * lever.cpus)

    def _quotas(self) -> Iterator[Throttle]:
        folders = [Path(folder) for folder in self._settings.control.cpu_max]
        lever = cpu_max.discover(folders, self._sysfs, self._originals)
        places = _processor_domains(self._domains)
        if lever is None:
            return
        if len(places) != 1:
            what = ", ".join(domain.id for domain, _ in places) or "none"
            raise Failure(
                f"control.cpu_max: a quota runs on all processors, so it needs one domain that stands for them; "
                f"this machine counts {what}; remove it and use the frequency ceiling"
            )
        processors = cpu_max.processors(self._sysfs)
        yield self._throttle(lever, places[0][0], MAX_W_PER_CPU * processors)

    def _boards(self, library: Nvml) -> Iterator[Knob]:
        from evenwatt_agent.actuators import nvml, nvml_clocks  # noqa: PLC0415  (only where there are boards)

        yield from nvml.discover(library, self._originals)
        boards = {domain.id: domain for domain in self._domains}
        for lever in nvml_clocks.discover(library):
            if lever.domain in boards:
                ceiling_w = nvml_clocks.limit_found_w(library, lever.uuid) or _GPU_W
                yield self._throttle(lever, boards[lever.domain], ceiling_w)

    def _throttle(self, lever: Lever, domain: Domain, estimate_w: float) -> Throttle:
        control = self._settings.control
        ceiling_w = control.ceilings_w.get(domain.id, estimate_w)
        ends = Ends(control.floor_share * ceiling_w, ceiling_w)
        return Throttle(lever, domain.id, ends, lag_of(self._settings, domain))


def _steered(domains: Sequence[Domain]) -> set[str]:
    """Return the counted domains and, where a platform meter contains them, all others of the processors."""
    counted = {domain.id for domain in domains if domain.in_total}
    platform = any(domain.kind == "psys" for domain in domains if domain.id in counted)
    return counted | ({domain.id for domain in domains} if platform else set())


def _processor_domains(domains: Sequence[Domain]) -> list[tuple[Domain, int | None]]:
    """Return the domains that contain processors, each with its physical package or None for all of them."""
    steered = _steered(domains)
    packages = [(d, _package(d.id)) for d in domains if d.kind == "package" and d.id in steered]
    if len(packages) > 1:
        numbers = [number for _, number in packages]
        return [(d, n) for d, n in packages if n is not None and numbers.count(n) == 1]
    if packages:
        return [(packages[0][0], None)]
    meter = next((domain for domain in domains if domain.in_total and domain.kind in _METERS), None)
    return [] if meter is None else [(meter, None)]


def _package(identity: str) -> int | None:
    match = re.fullmatch(r"package-(\d+)", identity)
    return int(match[1]) if match else None
