"""From open jobs and what is known of places to a problem, and from a plan back to pieces. Pure.

A place is a zone. What its intensity forecast does not reach is filled with the annual average, which is said. Room is
what the zone's nodes offer in job slots, and what is left of its power budget beside everything that is no job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.series import slot_means
from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.book import active
from evenwatt_collector.jobs.model import Option, Piece
from evenwatt_collector.plan.problem import At, Clock, Job, Place, Problem, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evenwatt_collector.carbon.series import Steps
    from evenwatt_collector.carbon.site import SiteFacts
    from evenwatt_collector.jobs.model import JobRecord
    from evenwatt_collector.plan.problem import Floats, Objective, Plan, Planned

MARGIN: Final = 0.05
"""Share of a budget that is kept free of planned work (control.md: kept for arrivals)."""
LEAST_BAND: Final = 0.02
"""A forecast is not surer than that, as a share of its value (our choice)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceNow:
    """A zone as it stands."""

    name: str
    facts: SiteFacts
    steps: Steps | None
    """Its grid's intensity: what was measured, and forecasts ahead; None if nothing was ever heard."""
    band: Mapping[str, object] | None
    """The forecast's document with its quantiles, as ``Forecasting.documents`` has it; None without one."""
    slots: float
    """Runs that its live nodes can have at once, in all."""
    power_free_w: float = inf
    """What is left of its budget for jobs, those that run among them."""
    price_per_kwh: float | None = None


def make_clock(now_s: float, slot_s: float, horizon_s: float) -> Clock:
    """Return slots on round times: the one that runs, and those ahead."""
    start_s = now_s // slot_s * slot_s
    return Clock(start_s=start_s, slot_s=slot_s, slots=max(1, round(horizon_s / slot_s)), now_s=now_s)


def make_place(now: PlaceNow, clock: Clock) -> Place:
    """Return a zone with its intensity by slot, its band and its room."""
    edges = clock.start_s + clock.slot_s * np.arange(clock.slots + 1, dtype=np.float64)
    found: Floats = np.full(clock.slots, np.nan)
    if now.steps is not None and len(now.steps.g_per_kwh):
        found = slot_means(now.steps.edges, now.steps.g_per_kwh, edges)
        if np.isnan(found[0]):  # the slot that runs may be known from now on only
            reading = now.steps.at(clock.now_s)
            found[0] = reading.g_per_kwh if reading else np.nan
    unknown = np.isnan(found)
    known_slots = int(np.argmax(unknown)) if unknown.any() else clock.slots
    median = np.where(unknown, now.facts.fallback_g_per_kwh, found)
    low, high = _band(now.band, edges)
    return Place(
        name=now.name,
        intensity_g_per_kwh=median,
        low_g_per_kwh=median * np.minimum(low, 1 - LEAST_BAND),
        high_g_per_kwh=median * np.maximum(high, 1 + LEAST_BAND),
        pue=now.facts.pue,
        slots_free=np.full(clock.slots, now.slots),
        power_free_w=None if now.power_free_w == inf else np.full(clock.slots, max(0.0, now.power_free_w)),
        price_per_kwh=None if now.price_per_kwh is None else np.full(clock.slots, now.price_per_kwh),
        known_slots=known_slots,
    )


def make_job(
    record: JobRecord,
    places: Iterable[str],
    now_s: float,
    kwh_per_gb: float,
    gb_per_s: float,
    reserve: float,
    slots: float,
) -> Job:
    """Return what is left of a job, as planning sees it.

    Args:
        record: The job.
        places: Zones that could run it, by their nodes and the job's own bounds.
        now_s: Unix time.
        kwh_per_gb: Energy of moving a gigabyte to another zone.
        gb_per_s: How fast it is moved.
        reserve: Share by which such jobs take longer than said.
        slots: Of a node that a run takes; 0 for work that others run in their own room.
    """
    spec, running = record.spec, active(record)
    allowed = list(places)
    if running and not spec.interruptible:
        allowed = [running[0].zone]
    gb, data_zone = (spec.data.gb, spec.data.zone) if spec.data else (0.0, "")
    kept_at = next((run.zone for run in reversed(record.runs) if run.kept), None)
    if kept_at in allowed:
        allowed = [kept_at]  # what it has saved lies there
    at = {
        zone: At(
            power_w=record.power_w,
            transfer_kwh=0.0 if zone == data_zone else gb * kwh_per_gb,
            transfer_s=0.0 if zone == data_zone or gb_per_s <= 0 else gb / gb_per_s,
        )
        for zone in allowed
    }
    left_s = progress.left_s(record)
    return Job(
        id=record.id,
        length_s=left_s,
        at=at,
        earliest_s=max(record.earliest_s, record.submitted_s),
        deadline_s=inf if record.deadline_s is None else record.deadline_s,
        interruptible=spec.interruptible,
        restart_s=spec.checkpoint_s,
        least_run_s=spec.least_run_s,
        speedup=tuple(spec.speedup),
        slots=slots,
        priority=spec.priority,
        after=tuple(spec.after),
        home=spec.home or "",
        running=_running(record, now_s, left_s),
        reserve=reserve,
    )


def make_problem(clock: Clock, places: Iterable[PlaceNow], jobs: Sequence[Job], objective: Objective) -> Problem:
    """Return the problem of all open jobs."""
    return Problem(
        clock=clock,
        places={place.name: make_place(place, clock) for place in places},
        jobs={job.id: job for job in jobs},
        objective=objective,
    )


def beside(problem: Problem, plan: Plan | None, job: Job) -> Problem:
    """Return the problem of one more job: everything else stays where it is planned, and takes its room."""
    places = {}
    for name, place in problem.places.items():
        slots, power_w = np.zeros(problem.clock.slots), np.zeros(problem.clock.slots)
        for planned in plan.jobs.values() if plan else ():
            other = problem.jobs.get(planned.job)
            for part in planned.segments if other else ():
                if other is not None and part.place == name:
                    share = part.width * _overlap(problem.clock, part.start_s, part.end_s)
                    slots += other.slots * share
                    power_w += other.at[name].power_w * share
        places[name] = replace(
            place,
            slots_free=None if place.slots_free is None else np.maximum(0.0, place.slots_free - slots),
            power_free_w=None if place.power_free_w is None else np.maximum(0.0, place.power_free_w - power_w),
        )
    return replace(problem, places=places, jobs={job.id: job})


def _overlap(clock: Clock, start_s: float, end_s: float) -> Floats:
    """Return 1 for each slot that a stretch touches: room is kept for the whole slot."""
    edges = clock.start_s + clock.slot_s * np.arange(clock.slots + 1)
    touched: Floats = ((edges[1:] > start_s) & (edges[:-1] < end_s)).astype(np.float64)
    return touched


def pieces(planned: Planned, record: JobRecord, now_s: float) -> list[Piece]:
    """Return a plan's segments as pieces; one that has begun keeps its beginning."""
    made = [
        Piece(zone=part.place, start_s=part.start_s, end_s=part.end_s, width=part.width) for part in planned.segments
    ]
    running = active(record)
    if running and made and made[0].start_s <= now_s:
        began_s = min(run.started_s or run.asked_s for run in running)
        made[0] = Piece(
            zone=made[0].zone, start_s=min(began_s, made[0].start_s), end_s=made[0].end_s, width=made[0].width
        )
    return made


def option(planned: Planned, name: str, *, feasible: bool, why: str) -> Option:
    """Return one thing that could be done, as it is kept and shown."""
    zones = [part.place for part in planned.segments]
    return Option(
        name=name,
        zone=zones[0] if zones else "",
        start_s=planned.start_s if planned.segments else None,
        end_s=planned.end_s if planned.segments else None,
        grams=planned.grams,
        low_g=planned.low_g,
        high_g=planned.high_g,
        cost=planned.cost,
        energy_kwh=planned.energy_kwh,
        feasible=feasible,
        why=why,
    )


def _running(record: JobRecord, now_s: float, left_s: float) -> Segment | None:
    running = active(record)
    if not running:
        return None
    began_s = min(now_s, *(run.started_s or run.asked_s for run in running))
    width = len(running)
    speed = record.spec.speedup[min(width, len(record.spec.speedup)) - 1]
    return Segment(place=running[0].zone, start_s=began_s, end_s=now_s + left_s / speed, width=width)


def _band(band: Mapping[str, object] | None, edges: Floats) -> tuple[Floats, Floats]:
    """Return the forecast's lower and upper quantile as shares of its median, by slot; 1 where there is none."""
    ones: Floats = np.ones(len(edges) - 1)
    quantiles = band.get("quantiles") if band else None
    if band is None or not isinstance(quantiles, dict):
        return ones, ones
    rows = [np.asarray(quantiles.get(key, []), dtype=np.float64) for key in ("0.05", "0.5", "0.95")]
    if not len(rows[1]) or len({len(row) for row in rows}) > 1:
        return ones, ones
    start_s, step_s = float(str(band["start_s"])), float(str(band["step_s"]))
    at = np.clip(((edges[:-1] + edges[1:]) / 2 - start_s) // step_s, 0, len(rows[1]) - 1).astype(np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = rows[0] / rows[1], rows[2] / rows[1]
    return (
        np.nan_to_num(np.clip(low, 0.0, 1.0), nan=1.0)[at],
        np.nan_to_num(np.clip(high, 1.0, 10.0), nan=1.0, posinf=10.0)[at],
    )
