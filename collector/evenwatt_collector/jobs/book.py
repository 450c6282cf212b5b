"""Every open job and what has to be done about it next. Pure: time, reports and the fleet are given.

A job's states are drawn at :class:`~evenwatt_collector.jobs.model.JobState`. A run counts until its node has said how
it ended, or has been silent for the job's ``quiet`` time: only then is another one started, since two runs of one job
at a time can spoil its data. A report that comes later than that is still booked, energy is never dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final

from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.hosts import Room, Start, Stop, order, slots
from evenwatt_collector.jobs.model import JobRecord, JobState, Piece, Run
from evenwatt_wire.jobs import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from evenwatt_collector.jobs.desk import ExternalReport
    from evenwatt_collector.jobs.hosts import Host
    from evenwatt_wire.jobs import RunReport

EARLY_S: Final = 1.0
"""A piece may begin that much before its time: steps are a second apart."""
REPEAT_S: Final = 10.0
"""A stop that nothing came of is sent again, and so is a start: a node starts a run once, however often it is told."""
QUIET_S: Final = 300.0
REFUSED_S: Final = 60.0
"""A node that refused a run is not asked again for so long."""
BACKOFF_S: Final = (10.0, 60.0, 300.0)
"""Wait before the second, third and every later attempt after a failure."""
_STARTS: Final = 200
"""Started in a step, at most: the loop is for others too, and the rest is a second late."""
_NEVER: Final = ("value:", "template:", "limit:")
"""Refusals that no waiting changes: the node's owner does not allow it."""
_STARTED_BEFORE: Final = "run-exists:"
"""What a node answers that was told twice."""
_ALIVE: Final = frozenset({None, RunState.RUNNING, RunState.STOPPING})


@dataclass(slots=True)
class _Memory:
    """What need not outlive a restart."""

    start_sent_s: dict[str, float] = field(default_factory=dict)
    resent: set[str] = field(default_factory=set)
    stop_sent_s: dict[str, float] = field(default_factory=dict)
    unwanted: dict[str, Run] = field(default_factory=dict)
    """Runs that were taken for lost, and live: another run has their work by now."""
    refused_until_s: dict[tuple[str, str], float] = field(default_factory=dict)
    not_before_s: dict[str, float] = field(default_factory=dict)


class Book:
    """All open jobs of a collector, and those that ended since it began.

    Args:
        new_id: Makes ids of runs: 12 hexadecimal digits.
        quiet_s: Says how long a job's runs may be silent.
        limit_s: Says after how long a run of a job is stopped.
    """

    def __init__(
        self,
        new_id: Callable[[], str],
        quiet_s: Callable[[JobRecord], float] = lambda _: QUIET_S,
        limit_s: Callable[[JobRecord], float] = lambda record: 2 * progress.left_s(record) + 600,
    ) -> None:
        self._new_id, self._quiet_s, self._limit_s = new_id, quiet_s, limit_s
        self.jobs: dict[str, JobRecord] = {}
        self.changed: set[str] = set()
        """Ids whose records have to be stored; the caller clears it."""
        self.replan = False
        """Something happened that plans rest on; the caller clears it."""
        self._of_run: dict[str, str] = {}
        self._memory = _Memory()

    # --- what happens ---------------------------------------------------------------------------------------------

    def load(self, records: Iterable[JobRecord]) -> None:
        """Take up what was stored."""
        for record in records:
            self.jobs[record.id] = record
            for run in record.runs:
                self._of_run[run.id] = record.id
        self.replan = True

    def submit(self, record: JobRecord) -> None:
        """Take a new job; one that is known is left as it is."""
        if record.id not in self.jobs:
            self.jobs[record.id] = record
            self._touch(record, replan=True)

    def cancel(self, id_: str, now_s: float, why: str) -> None:
        """Give a job up. What runs is stopped first.

        Raises:
            LookupError: there is no such job.
        """
        record = self._find(id_)
        if not record.open or record.cancelling:
            return
        record.cancelling, record.why = True, why
        if not active(record):
            self._end(record, JobState.CANCELLED, now_s, why)
        self._touch(record, replan=True)

    def answered(self, run_id: str, code: str, detail: str, now_s: float) -> None:
        """Take a node's answer to a start: a refusal frees the run at once, anything else is left to its reports."""
        record, run = self._run(run_id)
        if record is None or run is None or run.state is not None:
            return
        if code != "rejected" or detail.startswith(_STARTED_BEFORE):
            run.heard_s = now_s
            self._touch(record)
            return
        self._memory.refused_until_s[record.id, run.node] = now_s + REFUSED_S
        if detail.startswith(_NEVER):
            self._memory.refused_until_s[record.id, run.node] = inf
        run.state, run.ended_s, run.detail = RunState.FAILED, now_s, f"refused by {run.node}: {detail}"
        record.why = run.detail
        resent = self._memory.resent  # of what was asked for twice, the first may have been taken
        for earlier in [one for one in record.runs if one is not run and _refused(one) and one.id not in resent]:
            record.runs.remove(earlier)  # only the latest is told of: a node may refuse each minute for weeks
            self._of_run.pop(earlier.id, None)
        self._after_end(record, run, now_s, failed=False)

    def report(self, told: RunReport, now_s: float, g_per_j: float) -> bool:
        """Book what a node says of a run; return False for a run that is not ours, or that says nothing new."""
        record, run = self._run(told.run)
        if record is None or run is None or run.node != told.node or told.seq <= run.seq:
            return False
        gained_j = max(0.0, told.energy_j - run.energy_j)
        run.grams += gained_j * g_per_j
        run.energy_j += gained_j
        run.seq, run.heard_s, run.duration_s = told.seq, now_s, max(run.duration_s, told.duration_s)
        run.units |= dict(told.units)
        run.started_s = run.started_s if run.started_s is not None else now_s - told.duration_s
        progress.trace(run, now_s)
        over = run.ended_s is not None and not self._found_again(record, run, told.state)
        if not over:
            run.state, run.exit_code, run.kept, run.detail = told.state, told.exit_code, told.kept, told.detail
        if not over and told.state not in _ALIVE:
            run.ended_s = now_s
            self._after_end(record, run, now_s, failed=told.state in {RunState.FAILED, RunState.LOST})
        elif not over and record.open:
            stopping = record.state is JobState.STOPPING or told.state is RunState.STOPPING
            record.state = JobState.STOPPING if stopping else JobState.RUNNING
        self._touch(record)
        return True

    def _found_again(self, record: JobRecord, run: Run, state: RunState) -> bool:
        """A run that was given up lives: take it back if nothing else has its work, else see that it ends."""
        if state not in _ALIVE or run.state not in {RunState.LOST, RunState.FAILED}:
            self._memory.unwanted.pop(run.id, None)
            return False
        if record.open and not active(record):
            run.ended_s = None
            return True
        self._memory.unwanted[run.id] = run
        return False

    def tell_external(
        self, id_: str, state: RunState, told: ExternalReport, now_s: float, g_per_j: Callable[[str], float]
    ) -> JobRecord:
        """Take what somebody else's scheduler says of an external job.

        Args:
            id_: The job.
            state: What ``told`` says, as a run's.
            told: The rest.
            now_s: Unix time.
            g_per_j: What a joule weighs now, by zone.

        Raises:
            LookupError: there is no such job.
        """
        record = self._find(id_)
        at_s = now_s if told.at_s is None else min(told.at_s, now_s)
        run = record.runs[-1] if record.runs and record.runs[-1].ended_s is None else None
        if run is not None and run.started_s is not None:
            at_s = max(at_s, run.started_s)
        elif told.duration_s is None:
            at_s = max(at_s, record.submitted_s)
        if run is None:
            zone = told.zone or (record.pieces[0].zone if record.pieces else record.spec.home or "")
            run = Run(id=self._new_id(), zone=zone, node=told.node, asked_s=at_s, attempt=len(record.runs) + 1)
            run.started_s = at_s - (told.duration_s or 0.0)
            record.runs.append(run)
        gained_j = max(0.0, (told.energy_j or 0.0) - run.energy_j)
        run.energy_j, run.grams = run.energy_j + gained_j, run.grams + gained_j * g_per_j(run.zone)
        run.state, run.heard_s, run.units = state, now_s, run.units | told.units
        run.duration_s = at_s - (run.started_s or at_s) if told.duration_s is None else told.duration_s
        run.exit_code, run.detail = told.exit_code, told.detail
        progress.trace(run, at_s)
        if state in _ALIVE:
            record.state = JobState.RUNNING
        else:
            run.ended_s = at_s
            self._after_end(record, run, at_s, failed=state in {RunState.FAILED, RunState.LOST})
        self._touch(record, replan=True)
        return record

    def take_plan(self, pieces: Mapping[str, tuple[list[Piece], bool, str]]) -> None:
        """Take new pieces, whether they end late, and why; of jobs that have ended meanwhile nothing is taken."""
        for id_, (planned, late, why) in pieces.items():
            record = self.jobs.get(id_)
            if record is None or not record.open:
                continue
            if (planned, late, why) != (record.pieces, record.late, record.why):
                moved = bool(record.pieces) and _starts(planned) != _starts(record.pieces)
                record.moves += moved
                record.pieces, record.late, record.why = planned, late, why
                self.changed.add(id_)

    def withdraw(self, run_id: str, now_s: float) -> None:
        """Take back a run whose start was never sent."""
        record, run = self._run(run_id)
        if record is None or run is None or run.heard_s is not None:
            return
        record.runs.remove(run)
        self._of_run.pop(run_id)
        self._memory.start_sent_s.pop(run_id, None)
        self._memory.not_before_s[record.id] = now_s + BACKOFF_S[0]
        if record.cancelling and not active(record):
            self._end(record, JobState.CANCELLED, now_s, record.why)
        elif record.open and not active(record):
            record.state = JobState.WAITING
        self._touch(record, replan=True)

    def wanted(self, run_id: str) -> bool:
        """Whether a run should still be started: its job was not cancelled, and it was not given up meanwhile."""
        record, run = self._run(run_id)
        return record is not None and run is not None and run.ended_s is None and not record.cancelling

    # --- what is to be done ---------------------------------------------------------------------------------------

    def step(
        self, now_s: float, hosts: Iterable[Host], listening_since_s: Callable[[str], float] = lambda _: -inf
    ) -> list[Start | Stop]:
        """Return what has to be sent now. Call it every second.

        Args:
            now_s: Unix time.
            hosts: Nodes that offer to run work.
            listening_since_s: Since when a zone's nodes can have been heard without a break: who was not listening
                cannot say that a run is silent.
        """
        known = {(host.zone, host.node): host for host in hosts}
        self._notice_silence(now_s, listening_since_s)
        free = {key: host.slots for key, host in known.items()}
        for record in self.jobs.values():
            for run in active(record):
                host = known.get((run.zone, run.node))
                if host is not None:
                    free[run.zone, run.node] -= slots(host, record)
        actions: list[Start | Stop] = [
            Stop(run.zone, run.node, self._of_run[run.id], run.id, keep=False, reason="its work is done elsewhere")
            for run in self._memory.unwanted.values()
            if self._may_stop(run, now_s)
        ]
        room, started = Room(known.values(), free), 0
        for record in sorted((r for r in self.jobs.values() if r.open), key=_order):
            actions += self._stops(record, now_s)
            if record.open and not record.cancelling:
                actions += self._starts_again(record, now_s, known, free)
            if record.open and record.spec.template and not record.cancelling and started < _STARTS:
                fresh = list(self._starts(record, now_s, room))
                started += len(fresh)
                actions += fresh
        return actions

    def _notice_silence(self, now_s: float, listening_since_s: Callable[[str], float]) -> None:
        for record in list(self.jobs.values()):
            for run in active(record) if record.open and not record.spec.external else ():
                since_s = run.heard_s if run.heard_s is not None else run.asked_s
                since_s = max(since_s, listening_since_s(run.zone))
                if now_s - since_s > self._quiet_s(record):
                    run.state, run.ended_s = RunState.LOST, now_s
                    run.detail = f"nothing heard of it from {run.node} for {now_s - since_s:.0f} s"
                    self._after_end(record, run, now_s, failed=True)

    def _stops(self, record: JobRecord, now_s: float) -> Iterator[Stop]:
        running = active(record)
        wanted = 0 if record.cancelling else _width(record, now_s)
        if record.cancelling:
            over, keep, reason = running, False, record.why
        elif record.spec.interruptible and len(running) > wanted and progress.left_s(record) > 0:
            over, keep, reason = running[wanted:], True, f"its piece is over; {record.why}"
        else:
            over, keep, reason = [run for run in running if run.state is RunState.STOPPING], True, record.why
        for run in over:
            if not self._may_stop(run, now_s):
                continue
            if len(over) == len(running):
                record.state = JobState.STOPPING
            self._touch(record)
            yield Stop(run.zone, run.node, record.id, run.id, keep, reason)

    def _may_stop(self, run: Run, now_s: float) -> bool:
        if now_s - self._memory.stop_sent_s.get(run.id, -inf) < REPEAT_S:
            return False
        self._memory.stop_sent_s[run.id] = now_s
        return True

    def _starts(self, record: JobRecord, now_s: float, room: Room) -> Iterator[Start]:
        if record.state is JobState.STOPPING or now_s < self._memory.not_before_s.get(record.id, -inf):
            return
        missing = self._missing(record, now_s)
        if missing:
            return
        piece = _piece(record, now_s + EARLY_S)
        if piece is None:
            return
        for _ in range(piece.width - len(active(record))):
            host = self._host(record, piece, room, now_s)
            if host is None and self._is_refused_everywhere(record, room):
                said = record.runs[-1].detail if record.runs else ""
                self._end(record, JobState.FAILED, now_s, f"no node that offers its template will run it: {said}")
                return
            if host is None:
                why = f"waits for a node of {piece.zone} with template {record.spec.template!r} and room"
                self._wait(record, f"{why}; {record.runs[-1].detail}" if _refused(*record.runs[-1:]) else why)
                return
            room.take(host, record)
            yield self._start(record, host, now_s)

    def _starts_again(
        self,
        record: JobRecord,
        now_s: float,
        known: Mapping[tuple[str, str], Host],
        free: Mapping[tuple[str, str], int],
    ) -> Iterator[Start]:
        """A start that was never answered may have been lost, or never sent by who was killed."""
        if record.spec.template is None:
            return
        for run in active(record):
            host = known.get((run.zone, run.node))
            sent_s = self._memory.start_sent_s.get(run.id, -inf)
            if run.state is not None or run.heard_s is not None or now_s - sent_s < REPEAT_S:
                continue
            if host is not None and host.live and free[run.zone, run.node] >= 0:
                self._memory.start_sent_s[run.id] = now_s
                self._memory.resent.add(run.id)
                yield Start(run.zone, run.node, order(record, run, self._limit_s(record)))

    def _start(self, record: JobRecord, host: Host, now_s: float) -> Start:
        attempt = record.runs[-1].attempt + 1 if record.runs else 1
        run = Run(id=self._new_id(), zone=host.zone, node=host.node, asked_s=now_s, attempt=attempt)
        told = order(record, run, self._limit_s(record))
        record.runs.append(run)
        self._of_run[run.id] = record.id
        self._memory.start_sent_s[run.id] = now_s
        record.state = JobState.STARTING if record.state is JobState.WAITING else record.state
        self._touch(record)
        return Start(host.zone, host.node, told)

    def _host(self, record: JobRecord, piece: Piece, room: Room, now_s: float) -> Host | None:
        """Return the node with the most room, the one of the run before first: what it has saved lies there."""
        before = [run.node for run in record.runs if run.kept][-1:]
        if before and not record.spec.shared_state and not self._is_given_up(record, before[0], room, now_s):
            return next((host for host in room.fitting(record, piece.zone) if host.node in before), None)
        fitting = [
            host
            for host in room.fitting(record, piece.zone)
            if now_s >= self._memory.refused_until_s.get((record.id, host.node), -inf)
        ]
        if before and any(host.node in before for host in fitting):
            return next(host for host in fitting if host.node in before)
        return max(fitting, key=lambda host: (room.free[host.zone, host.node], host.node), default=None)

    def _is_given_up(self, record: JobRecord, node: str, room: Room, now_s: float) -> bool:
        """Whether what was saved on a node is lost: it has been away for too long. Then all is done again."""
        ended_s = max(run.ended_s or now_s for run in record.runs)
        due_s = max(ended_s, min((piece.start_s for piece in record.pieces if piece.end_s > ended_s), default=now_s))
        if room.is_live(node) or now_s - due_s <= self._quiet_s(record):
            return False
        for run in record.runs:
            run.kept = False
        record.done_s = 0.0
        self._touch(record, replan=True)
        return True

    def _is_refused_everywhere(self, record: JobRecord, room: Room) -> bool:
        if active(record) or not _refused(*record.runs[-1:]):
            return False
        refused_s = [self._memory.refused_until_s.get((record.id, host.node)) for host in room.suiting(record)]
        return bool(refused_s) and all(until_s == inf for until_s in refused_s)

    def _missing(self, record: JobRecord, now_s: float) -> list[str]:
        """Return ids of jobs that have to succeed first; a job whose condition cannot come true any more fails."""
        missing = []
        for id_ in record.spec.after:
            other = self.jobs.get(id_)
            if other is None or other.state in {JobState.FAILED, JobState.CANCELLED}:
                state = "is not known" if other is None else f"has {other.state.value}"
                self._end(record, JobState.FAILED, now_s, f"job {id_}, which had to succeed first, {state}")
                return [id_]
            if other.state is not JobState.DONE:
                missing.append(id_)
        if missing:
            self._wait(record, f"waits for {', '.join(missing)}")
        return missing

    def _after_end(self, record: JobRecord, run: Run, now_s: float, *, failed: bool) -> None:
        """A run has ended: what of it is kept, and what follows for its job."""
        if not record.open:
            return
        record.done_s = min(record.length_s, record.done_s + progress.kept_s(record, run))
        rest = active(record)
        if failed:
            record.failures += 1
            wait_s = BACKOFF_S[min(record.failures, len(BACKOFF_S)) - 1]
            self._memory.not_before_s[record.id] = now_s + wait_s
        if run.state is RunState.ENDED and not rest:
            self._end(record, JobState.DONE, now_s, "done")
        elif record.cancelling and not rest:
            self._end(record, JobState.CANCELLED, now_s, record.why)
        elif record.failures > record.spec.retries and not rest:
            said = run.detail or f"exit code {run.exit_code}"
            self._end(
                record, JobState.FAILED, now_s, f"failed {record.failures} times; the last time on {run.node}: {said}"
            )
        elif not rest:
            record.state = JobState.WAITING
        self._touch(record, replan=True)

    def _end(self, record: JobRecord, state: JobState, now_s: float, why: str) -> None:
        record.state, record.ended_s, record.why, record.pieces = state, now_s, why, []
        self._touch(record, replan=True)

    def _wait(self, record: JobRecord, why: str) -> None:
        if record.why != why:
            record.why = why
            self._touch(record)

    # --- looking --------------------------------------------------------------------------------------------------

    def open(self) -> list[JobRecord]:
        """Return jobs with something left to do."""
        return [record for record in self.jobs.values() if record.open]

    def forget(self, before_s: float) -> None:
        """Let go of jobs that ended before; they are in the database. What others wait for stays."""
        needed = {id_ for record in self.jobs.values() if record.open for id_ in record.spec.after}
        for record in list(self.jobs.values()):
            if record.ended_s is not None and record.ended_s < before_s and record.id not in needed:
                del self.jobs[record.id]
                for run in record.runs:
                    self._of_run.pop(run.id, None)
                    self._memory.start_sent_s.pop(run.id, None)
                    self._memory.resent.discard(run.id)
                    self._memory.stop_sent_s.pop(run.id, None)
                    self._memory.unwanted.pop(run.id, None)
                self._memory.not_before_s.pop(record.id, None)
        self._memory.refused_until_s = {
            key: until_s for key, until_s in self._memory.refused_until_s.items() if key[0] in self.jobs
        }

    def _find(self, id_: str) -> JobRecord:
        record = self.jobs.get(id_)
        if record is None:
            raise LookupError(f"no job {id_!r} is open here; `evenwatt jobs --all` lists those that ended")
        return record

    def _run(self, run_id: str) -> tuple[JobRecord | None, Run | None]:
        record = self.jobs.get(self._of_run.get(run_id, ""))
        run = next((run for run in record.runs if run.id == run_id), None) if record else None
        return record, run

    def _touch(self, record: JobRecord, *, replan: bool = False) -> None:
        self.changed.add(record.id)
        self.replan |= replan


def active(record: JobRecord) -> list[Run]:
    """Return runs that go on, as far as is known."""
    return [run for run in record.runs if run.ended_s is None]


def _refused(run: Run | None = None) -> bool:
    """Whether a run is one that its node did not take."""
    return run is not None and run.started_s is None and run.detail.startswith("refused by ")


def _piece(record: JobRecord, now_s: float) -> Piece | None:
    """Return the piece that should be running; one that began and was not finished in time goes on."""
    begun = [piece for piece in record.pieces if piece.start_s <= now_s]
    if not begun:
        return None
    last = begun[-1]
    return last if last.end_s > now_s or last is record.pieces[-1] else None


def _width(record: JobRecord, now_s: float) -> int:
    piece = _piece(record, now_s)
    return piece.width if piece else 0


def _starts(pieces: list[Piece]) -> list[tuple[str, float]]:
    return [(piece.zone, piece.start_s) for piece in pieces]


def _order(record: JobRecord) -> tuple[float, float, str]:
    return -record.spec.priority, record.deadline_s if record.deadline_s is not None else inf, record.id
