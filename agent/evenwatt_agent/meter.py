"""Samples in, 100 ms bins, live windows and ledger records out. Pure: it is told the time, and touches nothing.

A :class:`Batch` is what one sampler saw during one bin. Batches of the fast sampler close bins; slow samplers' batches
only add energy, and their power holds until their next reading. A window closes after ``window_bins`` bins, or at once
when power is 5 % and 10 W off what the last one said, so that control need not wait for the second to end. A window
that saw the jump says a mean of before and after; another one sets that right 200 ms later.

Energy never passes through power: a domain's energy in any interval is the difference of its cumulative counter at
the interval's ends, so windows and ledger records add up exactly however bins fall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from evenwatt_agent.counters import Baseline, Counter, Step, counter_for
from evenwatt_agent.hierarchy import worst
from evenwatt_wire import Domain, DomainEnergy, DomainWindow, Gap, Quality

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evenwatt_agent.sources.model import Probe

TOTAL_ID: Final = "node"
_JUMP_W: Final = 10.0
_JUMP_SHARE: Final = 0.05
_MIN_WINDOW_BINS: Final = 2
"""A jump is reported at most five times a second, however wild the load."""
_MAX_GAPS: Final = 64
"""Gaps listed in one ledger record; further ones are counted into the last."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One sampler's readings of one bin: for each of its probes (by domain id) the times and raw numbers."""

    end_ns: int
    readings: Mapping[str, Sequence[tuple[int, int]]]
    ticks: int
    late: int
    lost: Mapping[str, str] = field(default_factory=dict)
    """Probes that could not be read in this bin, and why."""


@dataclass(frozen=True, slots=True)
class Window:
    """A closed live window."""

    start_ns: int
    end_ns: int
    total: DomainWindow
    domains: list[DomainWindow]
    samples: int
    late: int


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A closed ledger interval, without the identity that the spool gives it."""

    start_ns: int
    end_ns: int
    total: DomainEnergy
    domains: list[DomainEnergy]
    gaps: list[Gap]


@dataclass(slots=True)
class _Track:
    """Running account of one domain."""

    domain: Domain
    counter: Counter
    lasting: bool
    """Whether its number goes on while no agent runs."""
    total_uj: int = 0
    bin_uj: int = 0
    bin_ns: int = 0
    power_w: float = 0.0
    bins_w: list[float] = field(default_factory=list)
    window_from_uj: int = 0
    window_uj: int = 0
    window_ns: int = 0
    """Energy counted since the window began, and the time it was counted over."""
    ledger_from_uj: int = 0
    unknown_in_window: bool = False
    unknown_in_ledger: bool = False
    lost: str = ""

    def mean_w(self) -> float:
        """Mean power over what was counted in this window.

        Not energy by the window's length: readings of a slow source do not fall on its edges, so at ten a second one
        window has nine of them and the next eleven.
        """
        return self.window_uj * 1e3 / self.window_ns if self.window_ns else self.power_w


class Meter:
    """Accounts for every probe of a node.

    Args:
        probes: What is sampled.
        domains: The same, with the terms of the node total marked.
        now_ns: Beginning of the first window.
        ledger_start_ns: Beginning of the first ledger record: ``now_ns``, or with baselines from before a restart the
            end of the last record, so that the ledger has no hole.
        window_bins: Bins in a live window.
        baselines: Last raw readings before a restart, by domain id.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        domains: Sequence[Domain],
        now_ns: int,
        ledger_start_ns: int | None = None,
        window_bins: int = 10,
        baselines: Mapping[str, Baseline] | None = None,
    ) -> None:
        earlier = baselines or {}
        self._tracks: dict[str, _Track] = {}
        self._add(probes, domains, earlier)
        self._bridging = {identity: b.t_ns for identity, b in earlier.items() if identity in self._tracks}
        self._window_bins = window_bins
        self._window_start_ns = now_ns
        self._ledger_start_ns = now_ns if ledger_start_ns is None else ledger_start_ns
        self._bins = 0
        self._bins_w: list[float] = []
        self._samples = self._late = 0
        self._latest_w = self._reported_w = 0.0
        self._gaps: list[Gap] = []
        self._silenced = 0
        self._unknown_in_ledger = False
        if self._ledger_start_ns < now_ns:
            self._say_unseen(self._ledger_start_ns, now_ns)
        self._say_gone(earlier, now_ns)

    @property
    def power_w(self) -> float:
        """Node power over the latest bin."""
        return self._bins_w[-1] if self._bins_w else self._latest_w

    @property
    def total_j(self) -> float:
        """Cumulative node energy since this meter began."""
        return sum(track.total_uj for track in self._tracks.values() if track.domain.in_total) * 1e-6

    def pools_uj(self) -> dict[str, int]:
        """Cumulative energy of each pool: ``cpu`` for all terms of the total but GPU boards, and each board."""
        pools = {"cpu": 0}
        for track in self._tracks.values():
            if track.domain.in_total:
                name = track.domain.id if track.domain.kind == "gpu" else "cpu"
                pools[name] = pools.get(name, 0) + track.total_uj
        return pools

    def domain_power_w(self) -> dict[str, float]:
        """Latest power of every domain."""
        return {identity: track.power_w for identity, track in self._tracks.items()}

    def baselines(self) -> dict[str, Baseline]:
        """Raw readings from which a restarted agent can go on counting."""
        return {
            identity: track.counter.baseline
            for identity, track in self._tracks.items()
            if track.counter.baseline is not None and track.lasting and track.domain.quality is Quality.MEASURED
        }

    def fold(self, batch: Batch) -> list[tuple[str, str]]:
        """Add readings. Return (domain id, reason) for each domain newly lost, reason empty for each newly found."""
        changed: list[tuple[str, str]] = []
        self._samples += batch.ticks
        self._late += batch.late
        for identity, readings in batch.readings.items():
            track = self._tracks[identity]
            for t_ns, raw in readings:
                step = track.counter.update(t_ns, raw)
                if step is not None:
                    self._account(track, step)
            if readings and track.lost:
                track.lost = ""
                changed.append((identity, ""))
        for identity, reason in batch.lost.items():
            track = self._tracks[identity]
            if not track.lost and not batch.readings.get(identity):
                track.lost = reason
                track.power_w = 0.0
                changed.append((identity, reason))
        return changed

    def close_bin(self) -> float:
        """End the current 100 ms bin and return the node's power in it."""
        total_w = 0.0
        for track in self._tracks.values():
            if track.bin_ns > 0:
                track.power_w = track.bin_uj * 1e3 / track.bin_ns
                track.bin_uj = track.bin_ns = 0
            track.bins_w.append(track.power_w)
            if track.domain.in_total:
                total_w += track.power_w
        self._bins += 1
        self._bins_w.append(total_w)
        return total_w

    def window_due(self) -> bool:
        """Whether the window is full, or power is no longer what was last reported."""
        if self._bins >= self._window_bins:
            return True
        if self._bins < _MIN_WINDOW_BINS:
            return False
        jump_w = abs(self._bins_w[-1] - self._reported_w)
        return jump_w > max(_JUMP_W, _JUMP_SHARE * self._reported_w)

    def close_window(self, end_ns: int) -> Window:
        """End the live window at ``end_ns``."""
        start_ns, self._window_start_ns = self._window_start_ns, end_ns
        tracks = list(self._tracks.values())
        terms = [track for track in tracks if track.domain.in_total]
        energy_uj = sum(t.total_uj - t.window_from_uj for t in terms)
        total_uj = sum(t.total_uj for t in terms)
        quality = worst([_quality(t.domain, unknown=t.unknown_in_window or bool(t.lost)) for t in terms])
        mean_w = sum(track.mean_w() for track in terms)
        total = _window(TOTAL_ID, energy_uj, total_uj, mean_w, self._bins_w, quality)
        domains = []
        for track in tracks:
            quality = _quality(track.domain, unknown=track.unknown_in_window or bool(track.lost))
            energy_uj = track.total_uj - track.window_from_uj
            domains.append(_window(track.domain.id, energy_uj, track.total_uj, track.mean_w(), track.bins_w, quality))
            track.window_uj = track.window_ns = 0
            track.window_from_uj = track.total_uj
            track.unknown_in_window = False
            track.bins_w = []
        window = Window(start_ns, end_ns, total, domains, self._samples, self._late)
        self._latest_w = self._bins_w[-1] if self._bins_w else 0.0
        self._reported_w = mean_w
        self._bins, self._bins_w, self._samples, self._late = 0, [], 0, 0
        return window

    def close_ledger(self, end_ns: int) -> LedgerEntry:
        """End the ledger record at ``end_ns``; the next one starts there."""
        start_ns, self._ledger_start_ns = self._ledger_start_ns, end_ns
        domains = []
        for track in self._tracks.values():
            quality = _quality(track.domain, unknown=track.unknown_in_ledger or bool(track.lost))
            energy_j = (track.total_uj - track.ledger_from_uj) * 1e-6
            domains.append(DomainEnergy(track.domain.id, energy_j, track.total_uj * 1e-6, quality))
        terms = [track for track in self._tracks.values() if track.domain.in_total]
        total = DomainEnergy(
            TOTAL_ID,
            sum(track.total_uj - track.ledger_from_uj for track in terms) * 1e-6,
            self.total_j,
            Quality.UNKNOWN
            if self._unknown_in_ledger
            else worst([_quality(t.domain, unknown=t.unknown_in_ledger or bool(t.lost)) for t in terms]),
        )
        self._unknown_in_ledger = False
        for track in self._tracks.values():
            track.ledger_from_uj = track.total_uj
            track.unknown_in_ledger = False
        gaps, self._gaps, self._silenced = self._gaps, [], 0
        return LedgerEntry(start_ns, end_ns, total, domains, gaps)

    def rebase(self, reason: str, t_ns: int) -> None:
        """Start every counter anew: what happened until ``t_ns`` cannot be known (the machine was suspended)."""
        for track in self._tracks.values():
            baseline = track.counter.baseline
            if baseline is not None:
                self._gap(track, Step(0, baseline.t_ns, t_ns, reason, Quality.UNKNOWN))
            track.counter.rebase()

    def add(self, probes: Sequence[Probe], domains: Sequence[Domain]) -> None:
        """Count also what has appeared; it has drawn nothing before, as far as this node's account goes."""
        self._add(probes, domains, {})
        for domain in domains:
            self._tracks[domain.id].bins_w = [0.0] * self._bins

    def _add(self, probes: Sequence[Probe], domains: Sequence[Domain], earlier: Mapping[str, Baseline]) -> None:
        for p, d in zip(probes, domains, strict=True):
            counter = counter_for(p.unit, p.range_uj, p.max_power_w, d.quality, earlier.get(d.id))
            self._tracks[d.id] = _Track(d, counter, p.lasting)

    def _say_unseen(self, start_ns: int, end_ns: int) -> None:
        """A record goes on from before a restart: what no counter has bridged meanwhile is not known."""
        for identity, track in self._tracks.items():
            if identity not in self._bridging:
                reason = "the agent was not running, and nothing counted for it"
                self._gap(track, Step(0, start_ns, end_ns, reason, Quality.UNKNOWN))

    def _say_gone(self, earlier: Mapping[str, Baseline], now_ns: int) -> None:
        """What was counted before a restart and is not there any more: from its last reading on it is not known."""
        for identity in sorted(earlier.keys() - self._tracks.keys())[:_MAX_GAPS]:
            reason = "it was counted before the agent was started, and is not there any more"
            self._gaps.append(Gap(identity, earlier[identity].t_ns, now_ns, reason, Quality.UNKNOWN))
            self._unknown_in_ledger = True

    def _account(self, track: _Track, step: Step) -> None:
        track.total_uj += step.energy_uj
        if self._bridging.pop(track.domain.id, None) is not None and not step.reason:
            # Counted by the hardware while no agent ran: energy of the ledger, but no power of this moment.
            reason = "the agent was not running; the counter bridges it"
            self._gaps.append(Gap(track.domain.id, step.start_ns, step.end_ns, reason, Quality.MEASURED))
            track.window_from_uj = track.total_uj
            return
        if step.reason:
            self._gap(track, step)
            return
        elapsed_ns = step.end_ns - step.start_ns
        track.bin_uj += step.energy_uj
        track.bin_ns += elapsed_ns
        track.window_uj += step.energy_uj
        track.window_ns += elapsed_ns

    def _gap(self, track: _Track, step: Step) -> None:
        track.unknown_in_window = track.unknown_in_ledger = True
        if len(self._gaps) < _MAX_GAPS:
            self._gaps.append(Gap(track.domain.id, step.start_ns, step.end_ns, step.reason, step.quality))
            return
        self._silenced += 1
        reason = f"and {self._silenced} more gaps up to here"
        self._gaps[-1] = Gap(TOTAL_ID, self._gaps[-1].start_mono_ns, step.end_ns, reason, Quality.UNKNOWN)


def _quality(domain: Domain, *, unknown: bool) -> Quality:
    return Quality.UNKNOWN if unknown else domain.quality


def _window(
    identity: str, energy_uj: int, total_uj: int, mean_w: float, bins_w: Sequence[float], quality: Quality
) -> DomainWindow:
    ordered = sorted(bins_w) or [0.0]
    p95 = ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]  # nearest rank
    return DomainWindow(
        identity,
        energy_uj * 1e-6,
        total_uj * 1e-6,
        mean_w,
        ordered[0],
        ordered[-1],
        p95,
        quality,
    )
