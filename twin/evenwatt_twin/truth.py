"""What really happened: a log of true energy per machine, and what a fleet of such logs says.

The file is a 16-byte header and records of 56 bytes, one a plant step, little endian:

    mono_ns i64 | energy_uj u64 | power_w f64 | uncapped_power_w f64 | work_done f64 | work_demanded f64 | shown_ns i64

Energy and work are sums since the machine's start, over components that some counter sees and without overlap. Powers
are means of the step that ends at ``mono_ns`` (CLOCK_MONOTONIC). ``shown_ns`` is when the counters were brought up to
it: later than ``mono_ns`` by how late the twin itself was. A record cut short by a crash is ignored.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEADER: Final = struct.pack("<8sII", b"EWTRUTH2", 56, 0)
RECORD: Final = struct.Struct("<qQddddq")


class TruthLog:
    """Writes the file; what was appended is on disk after ``flush``."""

    __slots__ = ("_buffer", "_file", "_used")

    _CAPACITY: Final = 512

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._file.write(HEADER)
        self._buffer = bytearray(RECORD.size * self._CAPACITY)
        self._used = 0

    def append(
        self, mono_ns: int, energy_uj: int, power_w: float, uncapped_w: float, done: float, due: float, shown_ns: int
    ) -> None:
        """Add one record."""
        RECORD.pack_into(self._buffer, self._used, mono_ns, energy_uj, power_w, uncapped_w, done, due, shown_ns)
        self._used += RECORD.size
        if self._used == len(self._buffer):
            self.flush()

    def flush(self) -> None:
        """Write what is buffered."""
        self._file.write(memoryview(self._buffer)[: self._used])
        self._used = 0

    def close(self) -> None:
        """Flush and let go of the file."""
        self.flush()
        self._file.close()


@dataclass(frozen=True, slots=True)
class Truth:
    """One machine's log, read."""

    mono_ns: array[int]
    energy_uj: array[int]
    power_w: array[float]
    uncapped_power_w: array[float]
    work_done: array[float]
    work_demanded: array[float]
    shown_ns: array[int]
    _uncapped_j: array[float] = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a log.

        Raises:
            ValueError: it is not one.
        """
        data = path.read_bytes()
        if data[: len(HEADER)] != HEADER:
            raise ValueError(f"{path} is not a truth log of this version")
        whole = (len(data) - len(HEADER)) // RECORD.size * RECORD.size
        columns = list(zip(*RECORD.iter_unpack(data[len(HEADER) : len(HEADER) + whole]), strict=True)) or [()] * 7
        times, uncapped = columns[0], columns[3]
        steps = [0.0, *((b - a) / 1e9 for a, b in pairwise(times))]
        sums = accumulate(power * step for power, step in zip(uncapped, steps, strict=False))
        power, shadow, done, due = (array("d", column) for column in columns[2:6])
        shown = array("q", columns[6])
        return cls(array("q", times), array("Q", columns[1]), power, shadow, done, due, shown, array("d", sums))

    def energy_j(self, t0_ns: int, t1_ns: int) -> float:
        """Return true joules between two moments, straight between records; outside the log nothing is drawn."""
        return (self._sum_at(self.energy_uj, t1_ns) - self._sum_at(self.energy_uj, t0_ns)) / 1e6

    def unshown_j(self, t_ns: int) -> float:
        """Return true joules that no counter showed yet at a moment, because the twin was late."""
        shown = bisect_right(self.shown_ns, t_ns) - 1
        return (self._sum_at(self.energy_uj, t_ns) - self.energy_uj[max(shown, 0)]) / 1e6 if self.energy_uj else 0.0

    def uncapped_energy_j(self, t0_ns: int, t1_ns: int) -> float:
        """Return joules that would have been drawn without caps and pauses."""
        return self._sum_at(self._uncapped_j, t1_ns) - self._sum_at(self._uncapped_j, t0_ns)

    def work(self, t0_ns: int, t1_ns: int) -> tuple[float, float]:
        """Return work done and work demanded between two moments, in seconds of full load."""
        done = self._sum_at(self.work_done, t1_ns) - self._sum_at(self.work_done, t0_ns)
        return done, self._sum_at(self.work_demanded, t1_ns) - self._sum_at(self.work_demanded, t0_ns)

    def grid_w(self, t0_ns: int, t1_ns: int, grid_ns: int, *, control: bool = True) -> list[float]:
        """Return mean power of each whole grid interval; ``control=False`` asks for the uncapped shadow."""
        sums: array[int] | array[float] = self.energy_uj if control else self._uncapped_j
        joules = 1e-6 if control else 1.0
        edges = [self._sum_at(sums, t) for t in range(t0_ns, t1_ns + 1, grid_ns)]
        per_s = joules * 1e9 / grid_ns
        return [(b - a) * per_s for a, b in pairwise(edges)]

    def _sum_at(self, sums: array[int] | array[float], t_ns: int) -> float:
        times = self.mono_ns
        after = bisect_right(times, t_ns)
        if after == 0:
            return sums[0] if sums else 0.0
        if after == len(times):
            return sums[-1]
        left, right = times[after - 1], times[after]
        before = sums[after - 1]
        return before + (sums[after] - before) * (t_ns - left) / (right - left)


@dataclass(frozen=True, slots=True)
class OverBudget:
    """How far and how long a fleet was above its budget."""

    peak_over_w: float
    over_ws: float
    """Integral of what is above the budget, in watt-seconds."""
    over_s: float


def fleet_w(truths: Sequence[Truth], t0_ns: int, t1_ns: int, *, control: bool = True, grid_ms: int = 10) -> list[float]:
    """Return the fleet's power on a common grid, in watts."""
    nodes = [truth.grid_w(t0_ns, t1_ns, grid_ms * 1_000_000, control=control) for truth in truths]
    return [sum(powers) for powers in zip(*nodes, strict=True)]


def peak_w(truths: Sequence[Truth], t0_ns: int, t1_ns: int, *, control: bool = True, grid_ms: int = 10) -> float:
    """Return the fleet's highest power."""
    return max(fleet_w(truths, t0_ns, t1_ns, control=control, grid_ms=grid_ms), default=0.0)


def over_budget(
    truths: Sequence[Truth], budget_w: float, t0_ns: int, t1_ns: int, *, control: bool = True, grid_ms: int = 10
) -> OverBudget:
    """Return how a fleet kept to a budget; ``control=False`` asks how it would have without caps and pauses."""
    over = [
        power - budget_w
        for power in fleet_w(truths, t0_ns, t1_ns, control=control, grid_ms=grid_ms)
        if power > budget_w
    ]
    return OverBudget(max(over, default=0.0), sum(over) * grid_ms / 1e3, len(over) * grid_ms / 1e3)


def work_lost(truths: Sequence[Truth], t0_ns: int, t1_ns: int) -> float:
    """Return the share of demanded work that was not done, 0 to 1."""
    sums = [truth.work(t0_ns, t1_ns) for truth in truths]
    demanded = sum(due for _, due in sums)
    return 1.0 - sum(done for done, _ in sums) / demanded if demanded else 0.0


def common_span_ns(truths: Sequence[Truth]) -> tuple[int, int]:
    """Return the first and the last moment that every log covers."""
    return max(truth.mono_ns[0] for truth in truths), min(truth.mono_ns[-1] for truth in truths)
