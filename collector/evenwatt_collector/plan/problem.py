"""What a plan is made from, and what it is: time in slots, places with their intensity, work with its bounds. Pure.

Times are Unix seconds; a slot is the piece of time over which intensity and room are constant. Every array of a place
has one value a slot. What the forecast does not reach is filled by whoever makes the problem, and counted in
``known_slots``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

J_PER_KWH: Final = 3.6e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The slots: ``slots`` of ``slot_s`` seconds from ``start_s`` on. Now is ``now_s``, within the first slot."""

    start_s: float
    slot_s: float
    slots: int
    now_s: float

    @property
    def end_s(self) -> float:
        """End of the last slot."""
        return self.start_s + self.slot_s * self.slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where work can run: a zone, or nodes of a zone that are alike."""

    name: str
    intensity_g_per_kwh: Floats
    """Median forecast, shape (slots,)."""
    low_g_per_kwh: Floats
    """5 % quantile; equal to the median where nothing is uncertain."""
    high_g_per_kwh: Floats
    """95 % quantile."""
    pue: float = 1.0
    slots_free: Floats | None = None
    """Job slots free for planned work in each slot of time; None: no limit."""
    power_free_w: Floats | None = None
    """Power left for planned work in each slot of time; None: no limit."""
    price_per_kwh: Floats | None = None
    """What a kilowatt-hour costs, in the fleet's currency."""
    known_slots: int = 2**31
    """So many slots are forecast; the rest is a stated fallback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """What running at a place takes: differs by machine, model variant, where the data lies."""

    power_w: float
    """Power that the job adds, at full speed on one slot."""
    speed: float = 1.0
    """Work done a second, against the job's stated ``length_s``."""
    transfer_kwh: float = 0.0
    """Energy of moving its data there, weighed at the place's intensity when it starts."""
    transfer_s: float = 0.0
    """Time that takes before work begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A piece of work as planning sees it: what is left of it now."""

    id: str
    length_s: float
    """Work left, in seconds at speed 1."""
    at: Mapping[str, At]
    """By the name of every place that is allowed."""
    earliest_s: float
    deadline_s: float = inf
    interruptible: bool = False
    restart_s: float = 0.0
    """Seconds lost (at full power) for each piece after the first: saving, loading, warming up."""
    least_run_s: float = 0.0
    """A piece is at least so long, unless it is the last."""
    speedup: tuple[float, ...] = (1.0,)
    """Speed on 1, 2, ... slots at once, against one; concave. Its length is the most it can use."""
    slots: float = 1.0
    """Job slots that it takes for each unit of width."""
    priority: int = 5
    """9 is placed first."""
    after: tuple[str, ...] = ()
    """Jobs that must have ended first."""
    home: str = ""
    """Place where it would run if nobody planned; default: the first of ``at``."""
    running: Segment | None = None
    """What it runs in now; it began in the past."""
    reserve: float = 0.0
    """Share by which it may take longer than said: kept free before the deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of a job: from when to when, where, how wide."""

    place: str
    start_s: float
    end_s: float
    width: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is minimised: grams + cost / ``price_per_g`` (0: cost does not count)."""

    price_per_g: float = 0.0
    """What a gram of CO2e is worth, in the fleet's currency; at 0 only grams count."""
    risk: float = 0.0
    """0 counts with the median; 1 with the upper quantile of what it moves to and the lower one of what it leaves."""
    least_gain: float = 0.02
    """A plan is changed only for more than this share of the job's grams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Everything."""

    clock: Clock
    places: Mapping[str, Place]
    jobs: Mapping[str, Job]
    objective: Objective = field(default_factory=Objective)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is meant for one job."""

    job: str
    segments: tuple[Segment, ...]
    """In order of time; empty if it cannot be placed."""
    grams: float
    """Expected, by the median forecast, PUE and transfers included."""
    low_g: float
    high_g: float
    cost: float
    energy_kwh: float
    """At the site: times PUE."""
    late: bool = False
    """It ends after its deadline, or could not be placed at all."""
    why: str = ""
    """In words: what decided."""

    @property
    def start_s(self) -> float:
        """When it begins; infinite if never."""
        return self.segments[0].start_s if self.segments else inf

    @property
    def end_s(self) -> float:
        """When it is done."""
        return self.segments[-1].end_s if self.segments else inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan for all jobs."""

    made_s: float
    jobs: Mapping[str, Planned]
    solver: str
    """How it was made: ``exact``, ``prices``, ``greedy``."""
    notes: tuple[str, ...] = ()
    """What a person should know: cycles, forecasts that end early, places without room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Something else that could be done with a job."""

    name: str
    """``now`` (at once, at home, at full power: the baseline), ``chosen``, ``contiguous``, ``split``, ``place:NAME``,
    ``width:N``."""
    planned: Planned
    feasible: bool
    why: str
    """Why it was not chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A decision and what stood beside it."""

    chosen: Planned
    baseline: Planned
    """At once, at home, at full power."""
    alternatives: tuple[Alternative, ...]
    would_change: tuple[str, ...]
    """What would change the decision, in words with figures."""
