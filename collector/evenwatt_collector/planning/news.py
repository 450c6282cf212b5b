"""What of jobs is worth a line: plans, changes of plans, starts, stops, ends. Pure: wall time is an argument.

A job is held against what was told of it last. Of many at once the first few are told one by one, the others as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from evenwatt_collector.decided import Decided, DecisionKind
from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.book import active
from evenwatt_collector.jobs.model import ENDS, JobState
from evenwatt_collector.models.amounts import mass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from evenwatt_collector.jobs.model import Decision, JobRecord

ONE_BY_ONE: Final = 6
"""Of one kind at once (our choice)."""
_MOVED_S: Final = 1.0
_FORGOTTEN: Final = 1_000
"""So many more are remembered than there are jobs, before those that are gone are dropped."""


@dataclass(frozen=True, slots=True)
class _Told:
    state: JobState
    start_s: float | None
    zone: str
    late: bool
    runs: int
    ended: bool


class JobNews:
    """What was told of jobs."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    def know(self, jobs: Mapping[str, JobRecord]) -> None:
        """Take jobs from before: what they were decided to do is no news."""
        self._told = {id_: _standing(record) for id_, record in jobs.items()}

    def look(self, changed: Iterable[str], jobs: Mapping[str, JobRecord], wall_s: float) -> list[Decided]:
        """Return what is news.

        Args:
            changed: Ids of jobs in which something has changed.
            jobs: All jobs in memory.
            wall_s: Unix time.
        """
        said: list[Decided] = []
        for id_ in changed:
            record = jobs.get(id_)
            if record is None or record.spec.service is not None:
                continue
            said += self._of_job(record, wall_s)
        if len(self._told) > len(jobs) + _FORGOTTEN:
            self._told = {id_: told for id_, told in self._told.items() if id_ in jobs}
        return list(_few(said))

    def _of_job(self, record: JobRecord, wall_s: float) -> Iterator[Decided]:
        before, now = self._told.get(record.id), _standing(record)
        if record.decision is None and not record.runs and record.open and not record.why:
            return  # nothing is decided yet
        if before == now or (before is not None and before.ended):
            return
        self._told[record.id] = now
        for kind, words in _news(record, before, now):
            zone = now.zone or (record.runs[-1].zone if record.runs else "")
            nodes = [f"{run.zone}:{run.node}" for run in active(record) if run.node]
            yield Decided(
                kind=kind, wall_s=wall_s, zone=zone, nodes=nodes, job=record.id, name=record.spec.name, words=words
            )


def _standing(record: JobRecord) -> _Told:
    running = active(record)
    piece = record.pieces[0] if record.pieces else None
    going = bool(running)
    return _Told(
        state=record.state,
        start_s=None if going or piece is None else piece.start_s,
        zone=running[0].zone if going else piece.zone if piece else "",
        late=record.late and record.open,
        runs=len(record.runs),
        ended=record.state in ENDS,
    )


def _news(record: JobRecord, before: _Told | None, now: _Told) -> Iterator[tuple[DecisionKind, str]]:
    name = record.spec.name
    if now.ended:
        yield DecisionKind.END, f"{name} {_end(record)}"
    elif now.state is JobState.RUNNING and (before is None or before.state is not JobState.RUNNING):
        yield DecisionKind.START, f"{name} runs{_where(record)}{_expected(record)}"
    elif before is not None and before.state in {JobState.RUNNING, JobState.STOPPING} and now.state is JobState.WAITING:
        again = f", goes on {_at(now.start_s)} in {now.zone}" if now.start_s is not None else ""
        yield DecisionKind.STOP, f"{name} has stopped, {progress.done_share(record):.0%} done{again}"
    elif now.start_s is not None and (before is None or (before.start_s is None and not before.runs)):
        yield DecisionKind.PLAN, f"{name} is planned {_at(now.start_s)} in {now.zone}{_expected(record)}{_late(now)}"
    elif now.start_s is not None and before is not None and _is_elsewhere(before, now):
        was = f", instead of {_at(before.start_s)} in {before.zone}" if before.start_s is not None else ""
        yield DecisionKind.SHIFT, f"{name} moves to start {_at(now.start_s)} in {now.zone}{was}{_late(now)}"
    elif now.late and (before is None or not before.late):
        yield DecisionKind.SHIFT, f"{name} will miss its deadline: {record.why or 'there is no room in time'}"


def _is_elsewhere(before: _Told, now: _Told) -> bool:
    if before.start_s is None or now.start_s is None:
        return before.start_s is not now.start_s and not before.runs
    return abs(now.start_s - before.start_s) > _MOVED_S or now.zone != before.zone


def _where(record: JobRecord) -> str:
    run = next(iter(active(record)), None)
    return "" if run is None else f" on {run.node}" if run.node else f" in {run.zone}"


def _expected(record: JobRecord) -> str:
    decision = record.decision
    if decision is None:
        return ""
    return f": {mass(decision.chosen.grams)} of CO2e expected{_saving(decision)}"


def _saving(decision: Decision) -> str:
    at_once_g, chosen_g = decision.baseline.grams, decision.chosen.grams
    share = 1 - chosen_g / at_once_g if at_once_g > 0 else 0.0
    if abs(share) < 0.005:
        return ", as at once"
    return f", {abs(share):.0%} {'less' if share > 0 else 'more'} than at once"


def _end(record: JobRecord) -> str:
    if record.state is not JobState.DONE:
        return f"{'has failed' if record.state is JobState.FAILED else 'is cancelled'}: {record.why}"
    outcome = record.outcome
    if outcome is None:
        return f"is done: {mass(progress.grams(record))} of CO2e"
    late = ", after its deadline" if outcome.late else ""
    saved = f"{mass(abs(outcome.saved_g))} {'less' if outcome.saved_g >= 0 else 'more'} than at once at full power"
    return f"is done{late}: {mass(outcome.grams)} of CO2e, {saved}"


def _late(now: _Told) -> str:
    return "; it will miss its deadline" if now.late else ""


def _at(wall_s: float | None) -> str:
    return "" if wall_s is None else f"at {datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _few(said: list[Decided]) -> Iterator[Decided]:
    """Yield the first of each kind, then what the others come to."""
    for kind in dict.fromkeys(one.kind for one in said):
        same = [one for one in said if one.kind is kind]
        yield from same[:ONE_BY_ONE]
        rest = same[ONE_BY_ONE:]
        if rest:
            words = f"{len(rest)} more jobs {_PLURALS[kind]} at the same time"
            yield Decided(kind=kind, wall_s=rest[-1].wall_s, count=len(rest), words=words)


_PLURALS: Final = {
    DecisionKind.PLAN: "were planned",
    DecisionKind.SHIFT: "were planned anew",
    DecisionKind.START: "began",
    DecisionKind.STOP: "were stopped",
    DecisionKind.END: "ended",
}
