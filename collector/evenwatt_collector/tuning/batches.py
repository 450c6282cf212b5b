"""Batch size and power cap together, for work that is run again and again. Pure.

Batch sizes compare only if a unit of work is worth the same in all of them: a sample served, or a share of the way to
a trained model. That is for the workload's owner to say; nothing here knows how many more epochs a larger batch needs.

The search is that of Zeus (NSDI 2023, 4.3 and 4.4): the usual size first, then smaller ones as long as they help, then
larger ones; a run that costs more than twice the best is not worth ending. Within a size the cap is learned as ever; a
batch size costs what its best cap so far costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.tuning.learner import CapLearner
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evenwatt_collector.tuning.records import Candidate, Context, Settings

STOP_AT: Final = 2.0
"""Zeus's beta: a run is given up at so many times the least cost."""
_WORSE: Final = 0.03
"""A direction is left at a size that costs more than the one before by this and by the uncertainty of both."""


class _Kept(msgspec.Struct):
    learners: dict[int, dict[str, Any]] = {}
    failed: list[int] = []


@dataclass(frozen=True, slots=True)
class BatchChoice:
    """The batch size of the next run."""

    batch: int
    why: str
    exploring: bool
    best: Candidate | None
    """What is known of the best size and its cap; None: nothing yet."""


class BatchTuner:
    """Of one recurring workload on one kind of device.

    Args:
        batches: Sizes that the workload offers.
        usual: The one that it has without us.
        settings: For learning caps, the same for all sizes.
        state: What :meth:`state` gave.

    Raises:
        Failure: the usual size is not among those offered.
        ValueError: ``state`` is no such document.
    """

    def __init__(self, batches: Sequence[int], usual: int, settings: Settings, state: object = None) -> None:
        self._batches = sorted(set(batches))
        if usual not in self._batches:
            raise Failure(f"usual batch size is {usual}, offered are {self._batches}; expected one of those")
        kept = _Kept() if state is None else msgspec.convert(state, _Kept, str_keys=True)
        self._usual, self._failed = usual, set(kept.failed)
        self._learners = {batch: CapLearner(settings, kept.learners.get(batch)) for batch in self._batches}

    def learner(self, batch: int) -> CapLearner:
        """Return the learner that a run of this size observes and asks."""
        return self._learners[batch]

    def fail(self, batch: int) -> None:
        """Take note that a size cannot do it: out of memory, or the goal was not reached."""
        self._failed.add(batch)

    def propose(self, now_s: float, context: Context) -> BatchChoice:
        """Return the size of the next run."""
        asked = {size: self._learners[size].best(now_s, context) for size in self._batches if size not in self._failed}
        known = {size: of_size for size, of_size in asked.items() if of_size is not None}
        best = min(known, key=lambda batch: _log_cost(known[batch])) if known else None
        found = None if best is None else known[best]
        if self._usual not in known and self._usual not in self._failed:
            return BatchChoice(self._usual, f"the usual size first: {self._usual}", exploring=True, best=found)
        at = self._batches.index(self._usual)
        for way, row in (("smaller", reversed(self._batches[:at])), ("larger", self._batches[at + 1 :])):
            untried = self._untried(row, known)
            if untried is not None:
                return BatchChoice(untried, f"the next {way} size: {untried}", exploring=True, best=found)
        if best is None:
            return BatchChoice(self._usual, "no size has succeeded: the usual one", exploring=False, best=None)
        return BatchChoice(best, f"least per unit of {len(known)} sizes: {best}", exploring=False, best=found)

    def worth_ending(self, batch: int, now_s: float, context: Context) -> bool:
        """Whether a run should go on: not if even its best cap costs more than twice what another size does."""
        mine = self._learners[batch].best(now_s, context)
        others = [learner.best(now_s, context) for size, learner in self._learners.items() if size != batch]
        costs = [_log_cost(other) for other in others if other is not None]
        return mine is None or not costs or _log_cost(mine) <= min(costs) + log(STOP_AT)

    def state(self) -> dict[str, Any]:
        """Return all that must survive a restart, as JSON-able data."""
        learners = {batch: learner.state() for batch, learner in self._learners.items()}
        kept: dict[str, Any] = msgspec.to_builtins(_Kept(learners, sorted(self._failed)), str_keys=True)
        return kept

    def _untried(self, row: Iterable[int], known: dict[int, Candidate]) -> int | None:
        """Return the next size in a direction; None if that is known to lead nowhere."""
        before = known.get(self._usual)
        for batch in row:
            if batch in self._failed:
                return None
            if batch not in known:
                return batch
            if before is not None and _clearly_worse(known[batch], before):
                return None
            before = known[batch]
        return None


def _log_cost(best: Candidate) -> float:
    return log(best.cost.value) if best.cost is not None else float("inf")


def _clearly_worse(one: Candidate, other: Candidate) -> bool:
    if one.cost is None or other.cost is None:
        return False
    return one.cost.low > other.cost.high * (1 + _WORSE)
