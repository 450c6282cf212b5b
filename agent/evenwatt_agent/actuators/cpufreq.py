"""Processor frequency ceilings: ``scaling_max_freq`` of every policy of a package, or of the whole machine.

https://docs.kernel.org/admin-guide/pm/cpufreq.html: kilohertz, within ``cpuinfo_min_freq`` and ``cpuinfo_max_freq``.
The kernel applies a ceiling from a work queue and firmware may clamp it, so it is read back later (``read``) and not in
the same breath. Never above what was found. Policies whose processors are offline are left out while they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent.actuators.model import LockedError, Original
from evenwatt_agent.actuators.powercap import write_number
from evenwatt_agent.sources.held import entries, parse_cpus, read_int, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DELAY_S: Final = 0.1
"""A work queue and a change of voltage take milliseconds; the bin in which it happens shows half of it."""
_CPUS: Final = "devices/system/cpu"


@dataclass(frozen=True, slots=True)
class Policy:
    """One frequency domain."""

    path: Path
    """Its ``scaling_max_freq``."""
    low_khz: int
    high_khz: int
    """The ceiling found first."""
    package: int
    cpus: int


@dataclass(frozen=True, slots=True)
class FrequencyLever:
    """The ceilings of some policies, moved together."""

    policies: tuple[Policy, ...]
    kind: str = "cpufreq"
    delay_s: float = _DELAY_S

    @property
    def least(self) -> float:
        """Lowest frequency over the ceiling found, of the policy that goes deepest."""
        return min(policy.low_khz / policy.high_khz for policy in self.policies)

    @property
    def cpus(self) -> int:
        """How many logical processors it slows."""
        return sum(policy.cpus for policy in self.policies)

    def originals(self) -> list[Original]:
        """Every ceiling found."""
        return [Original("file", str(policy.path), str(policy.high_khz)) for policy in self.policies]

    def read(self) -> float:
        """Return the share of the policy that is allowed most of its own."""
        shares = [now / p.high_khz for p in self.policies if (now := read_int(p.path)) is not None]
        if not shares:
            raise OSError(f"{self.policies[0].path}: no frequency ceiling can be read any more")
        return max(shares)

    def set(self, share: float) -> None:
        """Set every ceiling to ``share`` of the one found, as far down as each policy goes."""
        written = 0
        for policy in self.policies:
            try:
                write_number(policy.path, max(policy.low_khz, round(share * policy.high_khz)))
                written += 1
            except FileNotFoundError:
                continue
            except LockedError:
                if read_text(policy.path.with_name("affected_cpus")) != "":
                    raise  # an offline policy has no processors and answers EBUSY
        if not written:
            raise OSError(f"{self.policies[0].path}: no frequency ceiling is left to be set")


def find_policies(sysfs: Path, originals: Mapping[str, str]) -> list[Policy]:
    """Return every policy whose ceiling can be moved.

    Args:
        sysfs: Usually ``/sys``.
        originals: Values saved by an earlier run that did not restore them, by path.
    """
    found = []
    for folder in entries(sysfs / _CPUS / "cpufreq"):
        path = folder / "scaling_max_freq"
        low_khz, top_khz, now_khz = (
            read_int(folder / name) or 0 for name in ("cpuinfo_min_freq", "cpuinfo_max_freq", "scaling_max_freq")
        )
        high_khz = int(originals.get(str(path), now_khz))
        if not 0 < low_khz < min(high_khz, top_khz):
            continue
        cpus = parse_cpus(read_text(folder / "related_cpus") or "")
        where = sysfs / _CPUS / f"cpu{cpus[0] if cpus else 0}" / "topology" / "physical_package_id"
        found.append(Policy(path, low_khz, min(high_khz, top_khz), read_int(where) or 0, max(1, len(cpus))))
    return found


def discover(sysfs: Path, package: int | None, originals: Mapping[str, str]) -> FrequencyLever | None:
    """Return the lever of one physical package, or with None of the whole machine; None where there is none."""
    policies = [p for p in find_policies(sysfs, originals) if package is None or p.package == package]
    return FrequencyLever(tuple(policies)) if policies else None
