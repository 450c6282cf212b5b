"""A desk that keeps jobs in a database and runs none: what the API answers is real, only planning is not there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from evenwatt_collector.jobs.admission import admit
from evenwatt_collector.jobs.desk import (
    Advice,
    ConflictError,
    Explanation,
    PlaceView,
    PlannedView,
    PlanView,
)
from evenwatt_collector.jobs.model import JobState, Piece, Run
from evenwatt_collector.storage import jobs as store
from evenwatt_wire.jobs import RunState
from tests.jobs.made import HOUR, NOW_S, decision, known

STATES = {"started": JobState.RUNNING, "ended": JobState.DONE, "failed": JobState.FAILED}


@dataclass
class StoredDesk:
    connection: object
    around: object = field(default_factory=known)
    asked_by: list = field(default_factory=list)
    broken: Exception | None = None

    async def submit(self, entries, by, *, check_only=False):
        self.asked_by.append(by)
        if self.broken:
            raise self.broken
        named = [entry.id for entry in entries] + [id_ for entry in entries for id_ in entry.spec.after]
        existing = store.find_records(self.connection, named)
        admitted = admit(entries, self.around, existing, by=by, assumed_power_w=100.0)
        if not check_only:
            store.save_records(self.connection, [record for record in admitted.records if record.id in admitted.new])
        return admitted

    async def cancel(self, job, by):
        self.asked_by.append(by)
        record = await self.job(job)
        if record.open:
            record.state, record.ended_s, record.why = JobState.CANCELLED, NOW_S, f"cancelled by {by}"
            store.save_records(self.connection, [record])
        return record

    async def jobs(self, query):
        return store.page_of_records(self.connection, query)

    async def job(self, job):
        found = store.find_records(self.connection, [job])
        if job not in found:
            raise LookupError(f"there is no job {job!r}")
        return found[job]

    async def logs(self, job, run=None):
        await self.job(job)
        return store.log_of(self.connection, job, run)

    async def report_external(self, job, report, by):
        self.asked_by.append(by)
        record = await self.job(job)
        if not record.spec.external:
            raise ConflictError(f"job {job} is not external")
        record.state = STATES[report.state]
        if not record.runs:
            record.runs.append(Run(id="e" * 12, zone=report.zone or "hall", node=report.node, asked_s=NOW_S, attempt=1))
        run = record.runs[0]
        run.state = {"started": RunState.RUNNING, "ended": RunState.ENDED, "failed": RunState.FAILED}[report.state]
        run.units, run.energy_j = dict(report.units), report.energy_j or 0.0
        record.ended_s = None if record.open else NOW_S
        store.save_records(self.connection, [record])
        return record

    async def plan(self):
        jobs = [
            PlannedView(
                job=record.id,
                name=record.spec.name,
                state=record.state,
                pieces=[Piece(zone="hall", start_s=NOW_S + HOUR, end_s=NOW_S + HOUR + record.length_s)],
                grams=40.0,
                low_g=30.0,
                high_g=55.0,
                deadline_s=record.deadline_s,
            )
            for record in store.open_records(self.connection)
        ]
        curve = [100.0 + 10 * (i % 24) for i in range(48)]
        place = PlaceView(
            zone="hall",
            intensity_g_per_kwh=curve,
            low_g_per_kwh=curve,
            high_g_per_kwh=curve,
            known_slots=40,
            slots_free=[4.0] * 48,
            power_free_w=[1200.0] * 48,
            source="DE by file",
        )
        return PlanView(
            made_s=NOW_S, now_s=NOW_S + 60, start_s=NOW_S, slot_s=1800.0, slots=48, dispatching=True, places=[place],
            jobs=jobs, solver="exact",
        )  # fmt: skip

    async def explain(self, job):
        record = await self.job(job)
        found = store.decisions_of(self.connection, job)
        return Explanation(job=record, decisions=found, lines=[f"{len(found)} decisions"])

    async def advise(self, entry, by):
        admitted = admit([entry], replace(self.around, dispatching=True), {}, by=by, assumed_power_w=100.0)
        record = admitted.records[0]
        return Advice(job=record, decision=decision(record.id), warnings=[p.text for p in admitted.warnings])
