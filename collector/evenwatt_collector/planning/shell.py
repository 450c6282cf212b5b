"""Plans, and what follows from them: starts and stops of runs, decisions that are kept, lists that are published.

The event loop owns everything; only the planner works in a thread, on a problem that nobody changes. If any of this
fails, watts are steered and joules counted as before: planning is an advice to the fleet, never a condition for it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.feedback.guard import BASELINE
from evenwatt_collector.issuer import Order
from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.admission import RefusedError
from evenwatt_collector.jobs.book import QUIET_S, Book
from evenwatt_collector.jobs.desk import ConflictError
from evenwatt_collector.jobs.hosts import Start
from evenwatt_collector.jobs.logs import LogPiece
from evenwatt_collector.jobs.model import Decision, JobRecord, JobState
from evenwatt_collector.jobs.times import duration_s
from evenwatt_collector.plan.alternatives import explain
from evenwatt_collector.plan.planner import Planner
from evenwatt_collector.planning.capping import Capping
from evenwatt_collector.planning.closing import Closing
from evenwatt_collector.planning.deciding import Deciding
from evenwatt_collector.planning.desk import Desk
from evenwatt_collector.planning.keeping import Keeping, snapshot
from evenwatt_collector.planning.listening import Listening
from evenwatt_collector.planning.lists import job_rows
from evenwatt_collector.planning.news import JobNews
from evenwatt_collector.planning.places import hosts, places
from evenwatt_collector.planning.problems import beside, pieces
from evenwatt_collector.planning.publishing import Lists
from evenwatt_collector.planning.serving import Serving
from evenwatt_collector.storage import DatabaseError
from evenwatt_collector.storage.jobs import append_log, find_records, records_to_plan, save_decisions, save_records
from evenwatt_collector.waiting import pause
from evenwatt_daemon import get_logger
from evenwatt_wire.command import Op

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from evenwatt_collector.jobs.hosts import Host, Stop
    from evenwatt_collector.plan.problem import Explained, Plan, Problem
    from evenwatt_collector.planning.surroundings import Surroundings
    from evenwatt_wire import Ack, RunReport

STEP_S: Final = 1.0
_SOONEST_S: Final = 2.0
"""Plans are made at most this often, however much happens."""
_KEPT_S: Final = 86_400.0
"""Ended jobs stay in memory for so long, for those that wait for them."""
_DECIDED_AT_ONCE: Final = 200
"""Decisions made and kept after one plan; the others when somebody asks."""
_ASKED_KEPT: Final = 10_000
_REFUSED_S: Final = 60.0


class Planning:
    """All jobs of one collector.

    Args:
        around: What it looks at and speaks through.
    """

    def __init__(self, around: Surroundings) -> None:
        self._log: Any = get_logger("planning")
        self._around, self._settings = around, around.settings.jobs
        self.book = Book(lambda: secrets.token_hex(6), _quiet_s, _limit_s)
        self.capping = Capping(around)
        self.closing, self.serving = Closing(around, self.capping.curve), Serving(around)
        self.deciding = Deciding(around, self.closing, self.capping)
        self._keeping, self._lists = Keeping(around.keeper, self._not_stored), Lists(around)
        self._listening, self._news = Listening(), JobNews()
        self._planner = Planner(self.deciding.objective)
        self.desk = Desk(self, around)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.problem: Problem | None = None
        self.plan: Plan | None = None
        """The latest; None before the first."""
        self._asked: dict[tuple[str, str, int], str] = {}
        self._planned_s = -1e18
        self._replanning: asyncio.Task[None] | None = None
        self._refused: dict[str, tuple[str, float]] = {}
        """Jobs that were asked for over MQTT and refused: why, and until when that is told."""
        self._trouble: str | None = None

    @property
    def dispatching(self) -> bool:
        """Whether runs are started on nodes; else jobs are planned and advised only."""
        return self._settings.enabled and self._around.signs

    def troubles(self) -> list[str]:
        """Return what is wrong, in words."""
        return [
            *([f"jobs: {self._trouble}"] if self._trouble else []),
            *self.closing.troubles(),
            *self.serving.troubles(),
        ]

    def document(self) -> dict[str, Any]:
        """Return jobs, services and the policy in force, for the status document."""
        records = self.book.jobs.values()
        counts = Counter(record.state.value for record in records)
        return {
            "jobs": job_rows(records),
            "services": self.serving.rows(),
            "planning": {
                "dispatching": self.dispatching,
                "made_s": self.plan.made_s if self.plan else None,
                "solver": self.plan.solver if self.plan else "",
                "by_state": {state.value: counts[state.value] for state in JobState},
                "late": sum(record.late for record in records if record.open),
                "policy": self.closing.guard.active,
                "trouble": "; ".join(self.troubles()),
            },
        }

    async def prepare(self) -> None:
        """Take up what is known from before; called once, before ``run``."""
        try:
            records = await self._keeping.ask(records_to_plan)
            waited_for = sorted({id_ for record in records for id_ in record.spec.after})
            ended = await self._keeping.ask(lambda c: find_records(c, waited_for))
            self.book.load([*ended.values(), *records])
            self._news.know(self.book.jobs)
            await self._keeping.ask(self.capping.restore)
            await self._keeping.ask(self.serving.restore)
            await self.closing.prepare()
        except (DatabaseError, msgspec.DecodeError) as error:
            self._complain("what is kept of jobs cannot be read", error)

    async def run(self, stop: asyncio.Event) -> None:
        """Plan, start and stop until ``stop``. Runs go on after that: nodes bound them."""
        while not stop.is_set():
            try:
                await self._round()
            except Exception as error:  # noqa: BLE001  (a fault of ours must not end what keeps the jobs)
                self._complain("this round of planning failed", error)
                self._around.caps_w.clear()  # nobody watches over them now
            await pause(stop, STEP_S)
        if self._replanning is not None:
            self._replanning.cancel()
        self._around.caps_w.clear()
        self.save()
        self.capping.save()

    # --- what is heard --------------------------------------------------------------------------------------------

    def on_run(self, zone: str, told: RunReport) -> None:
        """Take what a node says of a run."""
        factor = self._around.emissions.factor(zone)
        now_s = time.time()
        if not self.book.report(told, now_s, factor.g_per_j):
            return
        self.capping.on_run(told)
        record = self.book.jobs.get(told.job)
        run = next((run for run in record.runs if run.id == told.run), None) if record is not None else None
        if record is None or run is None:
            return
        self.closing.look(self.book, now_s, [record])
        if told.log:
            run.log_end = max(run.log_end, told.log_start + len(told.log))
            piece = LogPiece(job=record.id, run=told.run, start=told.log_start, at_s=now_s, text=told.log)
            self._keeping.store(lambda c: append_log(c, [piece]))

    def on_ack(self, zone: str, ack: Ack) -> bool:
        """Take a node's answer to a start or stop; False if it answers something else."""
        run = self._asked.pop((zone, ack.node, ack.seq), None)
        if run is None:
            return False
        self.book.answered(run, ack.code.value, ack.detail, time.time())
        return True

    def on_submit(self, _zone: str, payload: bytes) -> None:
        """Take a signed submission; raises ``CommandError`` for one that fails a check."""
        try:
            self.desk.take_submission(payload)
        except RefusedError as error:
            self._log.warning("a submitted job was refused", why=str(error))

    def spawn(self, id_: str, work: Coroutine[Any, Any, Any]) -> None:
        """Do something that was asked of a job over MQTT; what goes wrong is logged, and listed for a while."""

        async def guarded() -> None:
            try:
                await work
            except (RefusedError, ConflictError, LookupError, DatabaseError) as error:
                self._log.warning("what was asked over MQTT was refused", job=id_, why=str(error))
                self._refused[id_] = (str(error), time.monotonic() + _REFUSED_S)

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what is asked --------------------------------------------------------------------------------------------

    def hosts(self) -> list[Host]:
        """Return every node that offers to run work."""
        return hosts(self._around, time.monotonic())

    async def decide_now(self, id_: str) -> None:
        """Make a job's decision if there is none yet."""
        record = self.book.jobs.get(id_)
        problem, plan = self.problem, self.plan
        if record is None or record.decision is not None or record.runs or problem is None or plan is None:
            return
        if id_ in plan.jobs:
            await self._decide(problem, plan, [id_])

    async def advise(self, record: JobRecord) -> Decision:
        """Return what would be decided about a job that nobody has submitted.

        Raises:
            LookupError: no place can take it.
        """
        known, wall_s = self.hosts(), time.time()
        records = self.book.open()
        now = places(self._around, known, records, wall_s)
        problem, _ = self.deciding.problem(records, known, now, wall_s)
        one, unplaced = self.deciding.problem([record], known, now, wall_s)
        if record.id in unplaced:
            raise LookupError(unplaced[record.id])
        problem = beside(problem, self.plan, one.jobs[record.id])

        def work() -> Explained:
            return explain(problem, record.id, Planner(self.deciding.objective).plan(problem).jobs[record.id])

        return self.deciding.decision(record, await asyncio.to_thread(work), problem)

    # --- rounds ---------------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        wall_s, now_s = time.time(), time.monotonic()
        known = hosts(self._around, now_s)
        self._plan_soon(known, now_s, wall_s)
        if self.dispatching:
            since_s = self._listening.look(wall_s, now_s, self._around.reachable)
            self._act(self.book.step(wall_s, known, since_s))
        self.capping.step(self.book.open(), wall_s)
        self.closing.look(self.book, wall_s)
        await self.serving.step(self.book)
        self.save()
        self._keeping.retry()
        self._refused = {id_: said for id_, said in self._refused.items() if said[1] > now_s}
        refused = {id_: why for id_, (why, _) in self._refused.items()}
        self._lists.tell(self.book.jobs.values(), refused, now_s, wall_s)
        self.book.forget(wall_s - _KEPT_S)
        self._well()

    def _plan_soon(self, known: list[Host], now_s: float, wall_s: float) -> None:
        """Begin to plan when it is time: what is planned goes on meanwhile, however long that takes."""
        if self._replanning is not None:
            if not self._replanning.done():
                return
            done, self._replanning = self._replanning, None
            self._planned_s = now_s
            done.result()
        since_s = now_s - self._planned_s
        if since_s >= self._settings.replan_s or (self.book.replan and since_s >= _SOONEST_S):
            self._replanning = asyncio.get_running_loop().create_task(self._replan(known, wall_s), name="replan")

    async def _replan(self, known: list[Host], wall_s: float) -> None:
        self.book.replan = False
        records = self.book.open()
        now = places(self._around, known, records, wall_s)
        problem, unplaced = self.deciding.problem(records, known, now, wall_s)
        plan = await asyncio.to_thread(self._planner.replan, problem)
        self.problem, self.plan = problem, plan
        wall_s = time.time()
        said = {
            id_: (pieces(planned, self.book.jobs[id_], wall_s), planned.late, planned.why)
            for id_, planned in plan.jobs.items()
            if id_ in self.book.jobs and not self._by_baseline(self.book.jobs[id_])
        }
        before = {id_: list(self.book.jobs[id_].pieces) for id_ in said}
        said |= {
            id_: ([], self.book.jobs[id_].deadline_s is not None, why)
            for id_, why in unplaced.items()
            if id_ in self.book.jobs
        }
        self.book.take_plan(said)
        changed = [id_ for id_ in before if self._is_news(self.book.jobs[id_], before[id_])]
        changed.sort(key=self._begins_s)
        await self._decide(problem, plan, changed[:_DECIDED_AT_ONCE])

    def _is_news(self, record: JobRecord, before: list[Any]) -> bool:
        """A decision is kept until the job has begun; then it is what the job is held against."""
        decision = record.decision
        if decision is None:
            return True
        outdated = decision.version != self.closing.guard.active or decision.chosen.start_s != _start_s(record)
        return not record.runs and (record.pieces != before or outdated)

    def _by_baseline(self, record: JobRecord) -> bool:
        """Whether a job runs by the baseline: then no plan moves or pauses it any more."""
        decision = record.decision
        if decision is None or decision.policy != BASELINE or not record.pieces:
            return False
        return bool(record.runs) or decision.version == self.closing.guard.active

    def _begins_s(self, id_: str) -> float:
        return _start_s(self.book.jobs[id_]) or inf

    async def _decide(self, problem: Problem, plan: Plan, ids: list[str]) -> None:
        if not ids:
            return

        def work() -> dict[str, Explained]:
            return {id_: explain(problem, id_, plan.jobs[id_], plan) for id_ in ids if plan.jobs[id_].segments}

        made = await asyncio.to_thread(work)
        decisions = []
        for id_, explained in made.items():
            record = self.book.jobs.get(id_)
            if record is None or record.runs:
                continue
            decision = self.closing.policy(record, self.deciding.decision(record, explained, problem))
            if decision.policy == "baseline":
                self.book.take_plan(
                    {id_: (pieces(explained.baseline, record, time.time()), record.late, decision.chosen.why)}
                )
            record.decision = decision
            self.book.changed.add(id_)
            decisions.append(decision)
        if decisions:
            self._keeping.store(lambda c: save_decisions(c, decisions))

    # --- what goes out --------------------------------------------------------------------------------------------

    def _act(self, actions: list[Start | Stop]) -> None:
        """Send stops at once, and starts once their runs are on the disk: who forgot a run would start another."""
        starts = []
        for action in actions:
            if isinstance(action, Start):
                starts.append(action)
            else:
                self._send(action)
        if starts:
            task = asyncio.get_running_loop().create_task(self._begin(starts))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _begin(self, starts: list[Start]) -> None:
        records = snapshot({id_: self.book.jobs[id_] for id_ in (one.order.job for one in starts)}.values())
        stored = False
        try:
            await self._keeping.ask(lambda c: save_records(c, records))
            stored = True
        except DatabaseError as error:
            self._not_stored(error, [])
        for start in starts:
            if stored and self.book.wanted(start.order.run):
                self._send(start)
            else:  # it was cancelled or given up meanwhile, or would be forgotten: it was never asked of the node
                self.book.withdraw(start.order.run, time.time())

    def _send(self, action: Start | Stop) -> None:
        seq = self._around.steering.take_seq()
        if isinstance(action, Start):
            run = action.order.run
            order = Order(action.node, seq, 0.0, f"job {action.order.name}", Op.START, job=action.order)
        else:
            run = action.run
            order = Order(action.node, seq, 0.0, action.reason, Op.STOP, action.run, keep=action.keep)
        if len(self._asked) > _ASKED_KEPT:
            self._asked.clear()
        if isinstance(action, Start):
            self._asked[action.zone, action.node, seq] = run
        self._around.order(action.zone, order)

    def save(self) -> None:
        """Keep what has changed, as it is now: the keeper writes it a little later."""
        ids = [id_ for id_ in self.book.changed if id_ in self.book.jobs]
        self.book.changed.clear()
        if ids:
            self._around.decided(self._news.look(ids, self.book.jobs, time.time()))
            records = snapshot(self.book.jobs[id_] for id_ in ids)
            self._keeping.store(lambda c: save_records(c, records), again=ids)

    def _not_stored(self, error: BaseException, ids: list[str]) -> None:
        self._complain("jobs cannot be stored; they are kept and tried again", error)
        self.book.changed.update(ids)

    def _complain(self, what: str, error: BaseException) -> None:
        words = (
            f"{what}: {type(error).__name__}: {error}" if not isinstance(error, DatabaseError) else f"{what}: {error}"
        )
        if self._trouble != words:
            self._log.error(what, why=str(error), kind=type(error).__name__)
        self._trouble = words

    def _well(self) -> None:
        self._trouble = None if not self.book.changed and not self._keeping.waiting else self._trouble


def _start_s(record: JobRecord) -> float | None:
    return record.pieces[0].start_s if record.pieces else None


def _quiet_s(record: JobRecord) -> float:
    return duration_s(record.spec.quiet) if record.spec.quiet else QUIET_S


def _limit_s(record: JobRecord) -> float:
    return duration_s(record.spec.max_run) if record.spec.max_run else 2 * progress.left_s(record) + 600
