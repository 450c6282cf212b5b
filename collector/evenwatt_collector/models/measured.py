"""What a unit of a variant's work costs, from tasks that ran here: means with their interval. Pure.

A *piece* is what one run did on one UTC day: joules, units, seconds. The mean is the ratio of the sums, which is what
an average unit has cost; its interval is that of a ratio estimator by linearisation (Cochran: Sampling Techniques, 3rd
ed. 1977, section 6.3), with Student's t for the few pieces there are. Pieces of one run are taken as independent.

Energy is what is attributed to the tasks: dynamic energy and their share of idle energy (docs/attribution.md). Latency
is measured if tasks count the seconds that their units took under the unit ``latency_s``; else the time per unit of the
run stands for it, as if units came one after another, and is marked ``estimated``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum, sqrt
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LATENCY: Final = "latency_s"
"""Unit under which tasks count the seconds that their units took, summed."""
FEW: Final = 5
"""With fewer pieces a figure is said to rest on few."""
STALE_S: Final = 28 * 86_400.0
"""What nothing newer confirms is said to be stale (our choice: four weeks)."""
_T_95: Final = (
    6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753, 1.746,
    1.740, 1.734, 1.729, 1.725, 1.721, 1.717, 1.714, 1.711, 1.708, 1.706, 1.703, 1.701, 1.699, 1.697,
)  # fmt: skip
"""95 % quantiles of Student's t for 1 to 30 degrees of freedom: two-sided 90 %, as everywhere here."""
_NORMAL_95: Final = 1.645


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one run of a task did within a stretch of time on one node."""

    label: str
    """The task's ``model``."""
    phase: str
    run: str
    zone: str
    node: str
    end_s: float
    """Up to when, Unix time."""
    energy_j: float
    idle_j: float
    """Of ``energy_j``: its share of idle energy."""
    metered_j: float
    """Of ``energy_j``: counted or sampled by hardware."""
    duration_s: float
    units: dict[str, float]


class Estimate(Struct, frozen=True, kw_only=True):
    """A mean and its 90 % interval; None where one piece says nothing of the spread."""

    mean: float
    low: float | None = None
    high: float | None = None
    pieces: int = 1

    @property
    def relative(self) -> float | None:
        """Half of the interval, relative to the mean."""
        return None if self.high is None or self.mean <= 0 else (self.high - self.mean) / self.mean


class Measured(Struct, frozen=True, kw_only=True):
    """What a unit of a variant costs on one node, or on all nodes of a kind (then ``node`` is empty)."""

    label: str
    unit: str
    zone: str = ""
    node: str = ""
    kind: str = ""
    joules_per_unit: Estimate
    latency_s: Estimate | None = None
    latency_measured: bool = False
    """False: it is seconds per unit of the runs, an estimate."""
    units_per_s: Estimate | None = None
    runs: int
    units: float
    last_s: float
    """End of the newest piece, Unix time."""
    idle_share: float
    """Of the joules: idle energy."""
    metered_share: float
    """Of the joules: counted or sampled by hardware."""

    def caveats(self, now_s: float) -> list[str]:
        """Return what has to be said beside the figure."""
        found = []
        if self.joules_per_unit.pieces < FEW:
            pieces = self.joules_per_unit.pieces
            found.append(f"rests on {pieces} piece{'s' if pieces > 1 else ''} of work only")
        if now_s - self.last_s > STALE_S:
            found.append(f"stale: last ran {(now_s - self.last_s) / 86_400:.0f} days ago")
        if self.metered_share < 1 - 1e-9:
            found.append(f"{1 - self.metered_share:.0%} of its energy is estimated, not metered")
        if self.latency_s is not None and not self.latency_measured:
            found.append("latency is estimated: time per unit, as if one came after another")
        return found


def measure(pieces: Sequence[Piece], unit: str, *, zone: str = "", node: str = "", kind: str = "") -> Measured | None:
    """Return what pieces of one variant come to; None if none of them did anything in ``unit``."""
    # A piece that used energy and did nothing yet belongs to the sum, as long as others did something.
    done = fsum(piece.units.get(unit, 0.0) for piece in pieces)
    energy_j = fsum(piece.energy_j for piece in pieces)
    if done <= 0 or energy_j <= 0:
        return None
    units = [piece.units.get(unit, 0.0) for piece in pieces]
    seconds = [piece.duration_s for piece in pieces]
    told = [piece for piece in pieces if piece.units.get(LATENCY, 0.0) > 0 and piece.units.get(unit, 0.0) > 0]
    if told:
        latency = ratio([piece.units[LATENCY] for piece in told], [piece.units[unit] for piece in told])
    else:
        latency = ratio(seconds, units)
    return Measured(
        label=pieces[0].label,
        unit=unit,
        zone=zone,
        node=node,
        kind=kind,
        joules_per_unit=_known(ratio([piece.energy_j for piece in pieces], units)),
        latency_s=latency,
        latency_measured=bool(told),
        units_per_s=ratio(units, seconds),
        runs=len({piece.run for piece in pieces}),
        units=done,
        last_s=max(piece.end_s for piece in pieces),
        idle_share=fsum(piece.idle_j for piece in pieces) / energy_j,
        metered_share=fsum(piece.metered_j for piece in pieces) / energy_j,
    )


def ratio(above: Sequence[float], below: Sequence[float]) -> Estimate | None:
    """Return the ratio of two sums with its 90 % interval; None if either sum is 0."""
    whole, count = fsum(below), len(below)
    if whole <= 0 or fsum(above) <= 0:
        return None
    mean = fsum(above) / whole
    if count < 2:
        return Estimate(mean=mean)
    residuals = (a - mean * b for a, b in zip(above, below, strict=True))
    variance = fsum(r * r for r in residuals) / (count - 1)
    half = student_95(count - 1) * sqrt(variance / count) / (whole / count)
    return Estimate(mean=mean, low=max(0.0, mean - half), high=mean + half, pieces=count)


def student_95(freedom: int) -> float:
    """Return the 95 % quantile of Student's t."""
    return _T_95[freedom - 1] if freedom <= len(_T_95) else _NORMAL_95


def grouped(pieces: Iterable[Piece], phases: Iterable[str]) -> dict[str, list[Piece]]:
    """Return pieces of some phases by label."""
    wanted, found = frozenset(phases), dict[str, list[Piece]]()
    for piece in pieces:
        if piece.phase in wanted:
            found.setdefault(piece.label, []).append(piece)
    return found


def _known(found: Estimate | None) -> Estimate:
    if found is None:
        raise ValueError("sums that are not positive have no ratio")
    return found
