"""What outcomes teach about lengths, powers, lateness and ranges, by workload. Pure; kept as one JSON document.

**Length and power.** What an owner states is corrected by the median of actual to stated over the last runs, which one
odd run does not move. With few runs it is drawn towards 1: ``exp(m n / (n + k))`` with the median m of n logarithms and
k = 2, as if two runs had gone exactly as stated. Without a statement, the median of the lengths themselves counts;
where the work is counted in units, the median of seconds per unit. Ratios are to what the owner states and never to
what was predicted, so that a correction does not correct itself.

**Reserve.** The share by which a job may take longer than estimated, with 95 % confidence: that quantile of the last
runs against the estimate (split conformal, Lei et al. 2018); of fewer than 19 the largest, and no less than the prior.

**Ranges.** The width of predicted ranges is steered by the misses (adaptive conformal inference, Gibbs and Candes 2021,
in multiplicative form, with steps that shrink: Angelopoulos, Barber, Bates 2024): each outcome outside widens, each
inside narrows, so that in the long run 90 % lie inside, whatever made them miss. They begin as wide as length and power
are known: a factor of 2 either way where one is assumed, 25 % where it is stated, the spread of the runs where it is
learned. From 20 outcomes on they are to be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  (msgspec reads the state by it)
from math import ceil, exp, hypot, log, sqrt
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from evenwatt_collector.feedback.errors import errors
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from evenwatt_collector.jobs.model import Outcome

VERSION: Final = 1
RUNS: Final = 40
"""Runs that count: a workload that changes is learned anew within as many."""
SHRINK: Final = 2.0
"""How many runs a statement weighs as much as; our choice."""
COVERED: Final = 0.90
LATE: Final = 0.95
"""Share of jobs that the reserve has to be enough for."""
RESERVE: Final = 0.25
"""What is kept free before a deadline while nothing is known; our choice."""
MOST_RESERVE: Final = 2.0
_STEPS: Final = (0.6, 0.04)
"""First and least change of a width's logarithm per miss."""
_WIDEST: Final = log(20.0)
_LEAST_HALF: Final = 0.01
"""Of the prediction: a range of no width could not be widened."""
_MOST_WORKLOADS: Final = 5_000
_SEEN: Final = 5_000
_TOLD: Final = 19
"""Runs from which a 5 % tail can be told."""
_FEW: Final = log(1 + RESERVE)
"""Half of a range, as a logarithm, until then."""


_ASSUMED, _STATED = log(2.0), log(1.25)
"""Half of the range of an assumed and of a stated power or length, as logarithms; our choices."""
TRUSTED: Final = 20
"""Outcomes from which the share inside their ranges says something."""


class Estimate(Struct, frozen=True, kw_only=True):
    """A figure, its 90 % range, and of how many runs it is."""

    value: float
    low: float
    high: float
    runs: int


class Memory(Struct, kw_only=True):
    """What is kept of one workload: natural logarithms of the last runs, the newest last."""

    length: list[float] = []
    """Of seconds at full power on one slot."""
    length_to_stated: list[float] = []
    length_per_unit: dict[str, list[float]] = {}
    power: list[float] = []
    """Of watts: energy at the machine over length."""
    power_to_stated: list[float] = []
    width: float = 0.0
    """Logarithm of the factor on predicted ranges."""
    judged: int = 0
    """Outcomes that had a range."""
    held: int = 0
    """Of those: inside of it."""


class State(Struct, kw_only=True):
    """All of it."""

    version: int = VERSION
    workloads: dict[str, Memory] = {}
    everything: Memory = msgspec.field(default_factory=Memory)
    """Widths over all workloads, for those of which little is known."""
    seen: list[str] = []
    """Jobs that have been learned from lately: an outcome that is weighed anew teaches nothing twice."""


class Learned:
    """What has been learned.

    Args:
        state: From :meth:`document`, of a run before; None: nothing.

    Raises:
        Failure: it is not one that this version can read.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self._state = State() if state is None else _read(state)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        made: dict[str, Any] = msgspec.to_builtins(self._state)
        return made

    @property
    def workloads(self) -> list[str]:
        """Workloads of which something is known."""
        return sorted(self._state.workloads)

    # --- what is known --------------------------------------------------------------------------------------------

    def length(
        self, workload: str, stated_s: float | None = None, work: tuple[str, float] | None = None
    ) -> Estimate | None:
        """Return how long a job takes, in seconds at full power on one slot; None if nothing is known.

        Args:
            workload: Its workload.
            stated_s: What its owner says.
            work: Unit and amount of the work, if it is counted.
        """
        memory = self._state.workloads.get(workload)
        if memory is None:
            return None
        if stated_s:
            return _corrected(memory.length_to_stated, stated_s)
        per_unit = memory.length_per_unit.get(work[0], []) if work else []
        if work and per_unit:
            return _median(per_unit, work[1])
        return _median(memory.length, 1.0)

    def power_w(self, workload: str, stated_w: float | None = None) -> Estimate | None:
        """Return what a job adds to a node's power, in watts on one slot; None if nothing is known."""
        memory = self._state.workloads.get(workload)
        if memory is None:
            return None
        return _corrected(memory.power_to_stated, stated_w) if stated_w else _median(memory.power, 1.0)

    def reserve(self, workload: str) -> float:
        """Return the share of its estimated length that a job may need more, to be kept free before its deadline."""
        memory = self._state.workloads.get(workload)
        off = _residuals(memory) if memory else []
        rank = ceil(LATE * (len(off) + 1))
        if rank <= len(off):
            return min(MOST_RESERVE, max(0.0, exp(off[rank - 1]) - 1))
        return min(MOST_RESERVE, max(RESERVE, exp(off[-1]) - 1 if off else 0.0))

    def interval(
        self, workload: str, grams: float, low_g: float, high_g: float, known: str = ""
    ) -> tuple[float, float]:
        """Return a predicted range, given by intensities alone, as wide as outcomes have shown that it has to be.

        ``known`` is how length and power are known, as in ``JobRecord.estimate``: ``length stated, power assumed``.
        """
        factor, least = self.widen(workload), _LEAST_HALF * abs(grams)
        less, more = self._spread(workload, known)
        below = max(least, hypot(grams - low_g, grams * (1 - exp(-less))))
        above = max(least, hypot(high_g - grams, grams * (exp(more) - 1)))
        return max(0.0, grams - factor * below), grams + factor * above

    def trust(self, workload: str) -> str:
        """Say that ranges are not to be trusted yet; empty once outcomes enough have been held against them."""
        own = self._state.workloads.get(workload, Memory())
        if own.judged >= TRUSTED:
            return ""
        said = f"{own.held} of {own.judged} inside" if own.judged else "no outcome was held against one"
        return f"its range is not to be trusted yet: {said}"

    def _spread(self, workload: str, known: str) -> tuple[float, float]:
        """Return how far energy may lie below and above what is foreseen, as logarithms, by what is said of it."""
        below, above = [], []
        for part in known.split(", "):
            what, _, how = part.partition(" ")
            runs = self.length(workload) if what == "length" else self.power_w(workload)
            if how.startswith("learned") and runs is not None:
                below.append(log(runs.value / runs.low))
                above.append(log(runs.high / runs.value))
            elif how:
                below.append(_ASSUMED if how.startswith("assumed") else _STATED)
                above.append(below[-1])
        return hypot(*below), hypot(*above)

    def widen(self, workload: str) -> float:
        """Return the factor on predicted ranges; with few outcomes mostly that of all workloads together."""
        own = self._state.workloads.get(workload, Memory())
        weight = own.judged / (own.judged + 10.0)
        return exp(weight * own.width + (1 - weight) * self._state.everything.width)

    # --- learning -------------------------------------------------------------------------------------------------

    def observe(self, outcome: Outcome) -> None:
        """Learn from what came of a job; once."""
        state = self._state
        if outcome.job in state.seen:
            return
        state.seen.append(outcome.job)
        del state.seen[:-_SEEN]
        memory = state.workloads.setdefault(outcome.workload, Memory())
        _learn_length(memory, outcome)
        inside = errors(outcome).inside
        if inside is not None:
            for judged in (memory, state.everything):
                _steer(judged, inside=inside)
        if len(state.workloads) > _MOST_WORKLOADS:
            state.workloads.pop(next(iter(state.workloads)))


def _learn_length(memory: Memory, outcome: Outcome) -> None:
    length_s = outcome.length_s
    if length_s <= 0:
        return
    _add(memory.length, length_s)
    for unit, amount in outcome.units.items():
        if amount > 0:
            _add(memory.length_per_unit.setdefault(unit, []), length_s / amount)
    if outcome.stated_length_s > 0:
        _add(memory.length_to_stated, length_s / outcome.stated_length_s)
    power_w = outcome.counterfactual_energy_j / length_s
    if power_w > 0:
        _add(memory.power, power_w)
        if outcome.stated_power_w > 0:
            _add(memory.power_to_stated, power_w / outcome.stated_power_w)


def _add(values: list[float], value: float) -> None:
    values.append(log(value))
    del values[:-RUNS]


def _steer(memory: Memory, *, inside: bool) -> None:
    first, least = _STEPS
    step = max(least, first / sqrt(memory.judged + 1))
    missed = 0.0 if inside else 1.0
    memory.width = min(_WIDEST, max(-_WIDEST, memory.width + step * (missed - (1 - COVERED))))
    memory.judged += 1
    memory.held += inside


def _residuals(memory: Memory) -> list[float]:
    """Return by how much runs were longer than they are estimated at now: logarithms, ascending."""
    stated = memory.length_to_stated
    if stated:
        centre = median(stated) * len(stated) / (len(stated) + SHRINK)
        return sorted(value - centre for value in stated)
    logs = max([memory.length, *memory.length_per_unit.values()], key=lambda known: (len(known), -_wide(known)))
    return sorted(value - median(logs) for value in logs)


def _wide(logs: list[float]) -> float:
    return max(logs) - min(logs) if logs else 0.0


def _corrected(logs: list[float], stated: float) -> Estimate | None:
    if not logs:
        return None
    n = len(logs)
    return _estimate(logs, median(logs) * n / (n + SHRINK), stated)


def _median(logs: list[float], scale: float) -> Estimate | None:
    return _estimate(logs, median(logs), scale) if logs else None


def _estimate(logs: list[float], centre: float, scale: float) -> Estimate:
    """Return a figure; its range is of the 5 % and 95 % quantile of the runs, or of 25 % where there are few."""
    n, ordered = len(logs), sorted(logs)
    low, high = ordered[max(0, ceil(0.05 * (n + 1)) - 1)], ordered[min(n, ceil(0.95 * (n + 1))) - 1]
    if n < _TOLD:
        low, high = min(low, centre - _FEW), max(high, centre + _FEW)
    return Estimate(
        value=scale * exp(centre), low=scale * exp(min(low, centre)), high=scale * exp(max(high, centre)), runs=n
    )


def _read(state: Mapping[str, Any]) -> State:
    try:
        found = msgspec.convert(dict(state), State)
    except msgspec.ValidationError as error:
        raise Failure(f"what was learned cannot be read ({error}); it begins anew if it is removed") from None
    if found.version != VERSION:
        raise Failure(
            f"what was learned is of version {found.version}, expected {VERSION}; it begins anew if it is removed"
        )
    return found
