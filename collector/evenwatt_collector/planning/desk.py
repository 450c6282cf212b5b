"""Answers what is asked about jobs over HTTP and MQTT: takes them, gives them up, shows and explains them."""

from __future__ import annotations

import asyncio
import heapq
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import structs

from evenwatt_collector.jobs.admission import admit
from evenwatt_collector.jobs.desk import (
    Advice,
    ConflictError,
    ExternalReport,
    JobPage,
    JobQuery,
    PlaceView,
    PlannedView,
    PlanView,
)
from evenwatt_collector.jobs.known import Known
from evenwatt_collector.jobs.learned import learn
from evenwatt_collector.jobs.model import JobState, Piece
from evenwatt_collector.jobs.submission import SubmissionDesk, Submitted
from evenwatt_collector.models.variants import service_id
from evenwatt_collector.planning.keeping import snapshot
from evenwatt_collector.planning.telling import explanation
from evenwatt_collector.storage.jobs import decisions_of, find_records, log_of, page_of_records, save_records
from evenwatt_collector.storage.samples import samples
from evenwatt_wire.jobs import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from evenwatt_collector.jobs.admission import Admitted
    from evenwatt_collector.jobs.desk import Explanation
    from evenwatt_collector.jobs.learned import Learned
    from evenwatt_collector.jobs.logs import LogPiece
    from evenwatt_collector.jobs.model import JobRecord
    from evenwatt_collector.jobs.reading import Entry
    from evenwatt_collector.planning.shell import Planning
    from evenwatt_collector.planning.surroundings import Surroundings
    from evenwatt_collector.storage import Connection

T = TypeVar("T")

_ENDED_SHOWN: Final = 50
_LEARNED_S: Final = 300.0
_ADVICE: Final = "advice:asked"
_STATES: Final = {"started": RunState.RUNNING, "ended": RunState.ENDED, "failed": RunState.FAILED}


class Desk:
    """The jobs desk of one collector (``jobs.desk.JobsDesk``)."""

    def __init__(self, planning: Planning, around: Surroundings) -> None:
        self._planning, self._around = planning, around
        self._submissions = SubmissionDesk(around.keys, around.settings.fleet)
        self._learned: Mapping[str, Learned] = {}
        self._learned_s = -1e18

    # --- taking and giving up -------------------------------------------------------------------------------------

    async def submit(self, entries: Sequence[Entry], by: str, *, check_only: bool = False) -> Admitted:
        """Take jobs, all or none of them."""
        named = {entry.id for entry in entries} | {id_ for entry in entries for id_ in entry.spec.after}
        existing = await self._find(sorted(named))
        admitted = admit(
            entries,
            await self._known(services=any(entry.spec.service for entry in entries)),
            existing,
            by=by,
            assumed_power_w=self._around.settings.jobs.power_w,
        )
        if not check_only:
            book = self._planning.book
            new = [record for record in admitted.records if record.id in admitted.new]
            await self._ask(lambda c: save_records(c, new))  # an answer promises that they are kept
            book.load([record for id_, record in existing.items() if id_ not in book.jobs])
            for record in new:
                book.submit(record)
                self._around.note("job-submitted", {"job": record.id, "by": by})
        return admitted

    async def cancel(self, job: str, by: str) -> JobRecord:
        """Give a job up."""
        record = await self.job(job)
        if record.open:
            self._planning.book.cancel(job, time.time(), f"cancelled by {by}")
            self._around.note("job-cancelled", {"job": job, "by": by})
            kept = snapshot([record])
            await self._ask(lambda c: save_records(c, kept))  # an answer promises that it stays cancelled
        return record

    async def report_external(self, job: str, report: ExternalReport, _by: str) -> JobRecord:
        """Take what somebody else's scheduler says of a job."""
        record = await self.job(job)
        if not record.spec.external:
            raise ConflictError(
                f"job {job} is run by nodes here, which report themselves; only external jobs are told of"
            )
        if not record.open:
            raise ConflictError(f"job {job} has {record.state.value} already")
        report = structs.replace(report, zone=self._zone_of(record, report.zone))
        self._planning.book.tell_external(job, _STATES[report.state], report, time.time(), self._factor)
        self._planning.save()
        return record

    def _zone_of(self, record: JobRecord, told: str | None) -> str:
        """Return where an external job runs: as told, planned or stated, or where everything is."""
        if record.runs and record.runs[-1].ended_s is None:
            return told or record.runs[-1].zone
        stated = [
            told or "",
            *(piece.zone for piece in record.pieces[:1]),
            record.spec.home or "",
            *record.spec.zones[:1],
        ]
        known = sorted(self._around.zones())
        zone = next(filter(None, stated), known[0] if len(known) == 1 else "")
        if zone not in known:
            found = f"zone {zone!r} is not known" if zone else "nothing says in which zone it runs"
            raise ConflictError(f"{found}; report 'zone' as well, one of {', '.join(known) or 'none yet'}")
        return zone

    def take_submission(self, payload: bytes) -> None:
        """Take a signed submission that came over MQTT; what becomes of it is published with the jobs.

        Raises:
            CommandError: it fails a check.
            RefusedError: its job cannot be read.
        """
        asked = self._submissions.take(payload, time.time_ns() // 1_000_000)
        if isinstance(asked, Submitted):
            self._planning.spawn(asked.entry.id, self.submit([asked.entry], asked.by))
        else:
            self._planning.spawn(asked.job, self.cancel(asked.job, asked.by))

    # --- showing --------------------------------------------------------------------------------------------------

    async def jobs(self, query: JobQuery) -> JobPage:
        """Return a page of jobs, those in memory as they stand now."""
        page = await self._ask(lambda c: page_of_records(c, query))
        now = self._planning.book.jobs
        return JobPage(jobs=[now.get(record.id, record) for record in page.jobs], cursor=page.cursor)

    async def job(self, job: str) -> JobRecord:
        """Return a job."""
        found = (await self._find([job])).get(job)
        if found is None:
            raise LookupError(f"there is no job {job!r}; `evenwatt jobs --all` lists those that are known")
        return found

    async def logs(self, job: str, run: str | None = None) -> list[LogPiece]:
        """Return what is kept of a job's log, or of one run's."""
        record = await self.job(job)
        if run is not None and run not in {known.id for known in record.runs}:
            raise LookupError(f"job {job} has no run {run!r}")
        return await self._ask(lambda c: log_of(c, job, run))

    async def explain(self, job: str) -> Explanation:
        """Return why a job is where and when it is."""
        record = await self.job(job)
        await self._planning.decide_now(job)
        decisions = await self._ask(lambda c: decisions_of(c, job))
        if record.decision is not None and record.decision not in decisions:
            decisions = [record.decision, *decisions]
        told = explanation(record, decisions, time.time(), self._service(record))
        caps = self._planning.capping.words(record)
        return structs.replace(told, lines=[*told.lines, *caps])

    def _service(self, record: JobRecord) -> dict[str, Any] | None:
        """Return what a service should run, if it is one that is followed."""
        if record.spec.service is None or record.state is not JobState.RUNNING:
            return None
        name = service_id(record.spec.name)
        return next((row for row in self._planning.serving.rows() if row["service"] == name), None)

    async def advise(self, entry: Entry, by: str) -> Advice:
        """Return what would be decided about a job; nothing is kept."""
        if entry.spec.template is None and not entry.spec.external:  # who asks will run it in their own way
            entry = replace(entry, spec=structs.replace(entry.spec, external=_ADVICE))
        assumed_w = self._around.settings.jobs.power_w
        admitted = admit(
            [entry], await self._known(services=entry.spec.service is not None), {}, by=by, assumed_power_w=assumed_w
        )
        record = admitted.records[0]
        decision = await self._planning.advise(record)
        return Advice(job=record, decision=decision, warnings=[problem.text for problem in admitted.warnings])

    async def plan(self) -> PlanView:
        """Return the plan as it stands."""
        planning, now_s = self._planning, time.time()
        problem, plan = planning.problem, planning.plan
        if problem is None or plan is None:
            settings = self._around.settings.jobs
            return PlanView(
                made_s=now_s,
                now_s=now_s,
                start_s=now_s,
                slot_s=settings.slot_s,
                slots=0,
                dispatching=planning.dispatching,
                places=[],
                jobs=[],
                notes=["no plan has been made yet"],
            )
        clock = problem.clock
        return PlanView(
            made_s=plan.made_s,
            now_s=now_s,
            start_s=clock.start_s,
            slot_s=clock.slot_s,
            slots=clock.slots,
            dispatching=planning.dispatching,
            places=[
                PlaceView(
                    zone=place.name,
                    intensity_g_per_kwh=place.intensity_g_per_kwh.tolist(),
                    low_g_per_kwh=place.low_g_per_kwh.tolist(),
                    high_g_per_kwh=place.high_g_per_kwh.tolist(),
                    known_slots=min(place.known_slots, clock.slots),
                    source=planning.deciding.source(place.name, problem),
                    pue=place.pue,
                    slots_free=None if place.slots_free is None else place.slots_free.tolist(),
                    power_free_w=None if place.power_free_w is None else place.power_free_w.tolist(),
                )
                for place in problem.places.values()
            ],
            jobs=[_view(record, planning) for record in planning.book.open()],
            ended=[_view(record, planning) for record in _latest_ended(planning.book.jobs.values())],
            solver=plan.solver,
            notes=list(plan.notes),
        )

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _find(self, ids: Sequence[str]) -> dict[str, JobRecord]:
        held = {id_: self._planning.book.jobs[id_] for id_ in ids if id_ in self._planning.book.jobs}
        missing = [id_ for id_ in ids if id_ not in held]
        stored: dict[str, JobRecord] = await self._ask(lambda c: find_records(c, missing)) if missing else {}
        return stored | held

    async def _known(self, *, services: bool) -> Known:
        if time.monotonic() - self._learned_s > _LEARNED_S:
            self._learned_s = time.monotonic()
            self._learned = learn(await self._ask(lambda c: samples(c, time.time())))
        planning = self._planning
        return Known(
            now_s=time.time(),
            zones=frozenset(self._around.zones()),
            hosts=tuple(planning.hosts()),
            jobs={id_: record.state for id_, record in planning.book.jobs.items()},
            learned=self._learned,
            tasks=await planning.serving.tasks() if services else None,
            dispatching=planning.dispatching,
        )

    def _factor(self, zone: str) -> float:
        return self._around.emissions.factor(zone).g_per_j

    async def _ask(self, job: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self._around.keeper.ask(job))


def _view(record: JobRecord, planning: Planning) -> PlannedView:
    planned = planning.plan.jobs.get(record.id) if planning.plan else None
    ahead = planned if record.open else None
    return PlannedView(
        job=record.id,
        name=record.spec.name,
        state=record.state,
        pieces=record.pieces,
        grams=ahead.grams if ahead else 0.0,
        low_g=ahead.low_g if ahead else 0.0,
        high_g=ahead.high_g if ahead else 0.0,
        deadline_s=record.deadline_s,
        late=record.late if record.open else bool(record.outcome and record.outcome.late),
        why=record.why,
        power_w=record.power_w,
        ran=[
            Piece(zone=run.zone, start_s=run.started_s, end_s=run.ended_s)
            for run in record.runs
            if run.started_s is not None and run.ended_s is not None
        ],
    )


def _latest_ended(records: Iterable[JobRecord]) -> list[JobRecord]:
    ended = [record for record in records if record.ended_s is not None and record.runs]
    return heapq.nlargest(_ENDED_SHOWN, ended, key=lambda record: record.ended_s or 0.0)
