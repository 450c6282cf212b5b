"""What the learner is told and what it says. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import exp, inf, isfinite, log
from typing import TYPE_CHECKING

from evenwatt_collector.tuning.objective import Objective
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A stretch of a task under one cap, from cumulative counters.

    Best cut where the task reports progress: a window that ends in the middle of a unit counts it wrongly, and is
    seen as noise.
    """

    cap_w: float
    """As read back from the device."""
    units: float
    """Done in the stretch."""
    energy_j: float
    seconds: float
    at_s: float
    """When it ended."""
    latency_s: float | None = None
    """As the workload's SLO counts it, such as the 95 % quantile over the stretch."""
    clean: bool = True
    """False: the cap was changed, the zone was throttling below it, or something else shared the device."""

    @property
    def usable(self) -> bool:
        """Whether figures are such that they can be learned from."""
        figures = (self.cap_w, self.units, self.energy_j, self.seconds, self.at_s)
        return all(map(isfinite, figures)) and min(self.cap_w, self.energy_j, self.seconds) > 0 and self.units >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What the workload's owner asked for. None: no such bound."""

    max_slowdown: float | None = None
    """Time per unit against that at the ceiling; 1.1 lets it take 10 % longer."""
    least_units_per_s: float | None = None
    max_latency_s: float | None = None

    def __post_init__(self) -> None:
        if self.max_slowdown is not None and self.max_slowdown < 1:
            raise Failure(f"max_slowdown is {self.max_slowdown:g}; expected 1 (as fast as at the ceiling) or more")
        for name in ("least_units_per_s", "max_latency_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise Failure(f"{name} is {value:g}; expected more than 0, or leave it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of one workload on one kind of device.

    Raises:
        Failure: no caps, or caps that are not positive.
    """

    caps_w: tuple[float, ...]
    """Caps that may be tried; see :func:`grid`. Kept in ascending order."""
    objective: Objective = field(default_factory=Objective)
    slo: Slo = field(default_factory=Slo)
    explore_share: float = 0.045
    """Of the work, at most so much is done while exploring (plus the end of a measurement that has begun)."""
    horizon_s: float = 3600.0
    """How long the work is taken to be, at the ceiling, as long as nobody says: the budget of exploring is a share of
    it. It grows with the work done, so that over longer work a better cap can still be looked for."""
    warmup_s: float = 3.0
    """After a change of cap so much is not measured: clocks, temperatures and averaged readings settle."""
    precision: float = 0.01
    """Relative standard error that a measurement aims at."""
    tolerance: float = 0.01
    """A cap that may save less than this is not worth trying."""
    doubt: float = 0.02
    """A cap is tried if it saves more than ``tolerance`` with at least this probability."""
    half_life_s: float = 7 * 86_400.0
    """What was measured so long ago counts half."""

    def __post_init__(self) -> None:
        caps = tuple(sorted(set(self.caps_w)))
        if not caps or not all(isfinite(cap) and cap > 0 for cap in caps):
            raise Failure(f"caps_w is {list(self.caps_w)}; expected at least one cap in W, each above 0")
        if not 0 <= self.explore_share <= 0.5:
            raise Failure(f"explore_share is {self.explore_share:g}; expected 0 (never explore) to 0.5")
        for name in ("horizon_s", "precision", "tolerance", "doubt", "half_life_s"):
            if not getattr(self, name) > 0:
                raise Failure(f"{name} is {getattr(self, name):g}; expected more than 0")
        object.__setattr__(self, "caps_w", caps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """How things stand when a cap is asked for."""

    intensity_g_per_kwh: float = 0.0
    capping: bool = False
    """The zone is throttling: nothing is tried."""
    shared: bool = False
    """Something else runs on the device: nothing is tried."""
    floor_w: float = 0.0
    ceiling_w: float = inf
    """What the zone, the node's owner and the device allow now."""
    remaining_units: float | None = None
    """Work still to do, if known: the budget of exploring is a share of all the work then."""
    deadline_s: float | None = None
    """When ``remaining_units`` must be done."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 90 % interval; ``measured`` or predicted."""

    value: float
    low: float
    high: float
    measured: bool

    @classmethod
    def of_log(cls, mean: float, sd: float, *, measured: bool) -> Estimate:
        """Of something whose logarithm is normal."""
        wide = min(1.645 * sd, log(1e6))
        return cls(exp(mean), exp(mean - wide), exp(mean + wide), measured)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cap and what is expected of it; None where nothing is known yet."""

    cap_w: float
    cost: Estimate | None = None
    energy_j_per_unit: Estimate | None = None
    units_per_s: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The cap to set now."""

    cap_w: float
    why: str
    exploring: bool
    chosen: Candidate
    runner_up: Candidate | None
    """What would be set if this one were not there; of a trial: what it is compared with."""
    cost_unit: str
    settled: bool
    """Nothing is left that is worth trying, or there is no budget for it."""


def grid(floor_w: float, ceiling_w: float, step_w: float = 0.0) -> tuple[float, ...]:
    """Return caps from ceiling to floor, ascending.

    Args:
        floor_w: Of the device or its owner.
        ceiling_w: Likewise.
        step_w: At least so far apart; they are never closer than 4 % of the ceiling, below which no difference in
            energy can be told from noise.

    Raises:
        Failure: the floor is not below the ceiling, or not above 0.
    """
    if not 0 < floor_w <= ceiling_w < inf:
        raise Failure(f"floor is {floor_w:g} W, ceiling {ceiling_w:g} W; expected 0 < floor <= ceiling")
    step = max(step_w, 0.04 * ceiling_w)
    count = int((ceiling_w - floor_w) / step + 1e-9)
    caps = [ceiling_w - i * step for i in range(count + 1)]
    if caps[-1] - floor_w > 0.5 * step:
        caps.append(floor_w)
    return tuple(sorted(caps))


def below(caps_w: Sequence[float], cap_w: float) -> float | None:
    """Return the next lower cap of an ascending row; None if there is none."""
    lower = [low for low, high in pairwise((*caps_w, inf)) if low < cap_w <= high]
    return lower[-1] if lower else None
