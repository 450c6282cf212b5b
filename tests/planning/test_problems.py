"""From jobs and grids to a problem: what is known of intensity, what is filled in, what room there is."""

from __future__ import annotations

import numpy as np
import pytest

from evenwatt_collector.carbon.series import Basis, Kind, Reading, Standing, resolve
from evenwatt_collector.carbon.site import SiteFacts
from evenwatt_collector.jobs.model import JobRecord, Run
from evenwatt_collector.jobs.spec import Data, JobSpec
from evenwatt_collector.plan.planner import Planner
from evenwatt_collector.plan.problem import Objective
from evenwatt_collector.planning.problems import (
    PlaceNow,
    beside,
    make_clock,
    make_job,
    make_place,
    make_problem,
    pieces,
)
from evenwatt_wire.jobs import RunState

NOW = 1_795_000_000.0


def steps(*values, start_s=NOW // 3600 * 3600, step_s=3600, ahead_s=96 * 3600):
    readings = [
        Reading(
            grid="DE", start_s=int(start_s + i * step_s), end_s=int(start_s + (i + 1) * step_s), g_per_kwh=value,
            kind=Kind.AVERAGE, basis=Basis.LIFECYCLE, source="s", standing=Standing.FORECAST, issued_s=0, recorded_s=0,
        )
        for i, value in enumerate(values)
    ]  # fmt: skip
    return resolve(readings, NOW - 3 * 86_400, NOW + ahead_s)


def place(name="z", **keys):
    facts = SiteFacts(grid="DE", fallback_g_per_kwh=333.0, pue=1.2)
    return PlaceNow(**({"name": name, "facts": facts, "steps": None, "band": None, "slots": 2.0} | keys))


def record(id_="a" * 12, **keys):
    spec = JobSpec(name="train", template="train", **keys)
    made = JobRecord(id=id_, spec=spec, submitted_s=NOW, by="x", length_s=3600.0, power_w=1000.0)
    made.deadline_s = NOW + 24 * 3600
    return made


def job(made, zones=("z",), slots=1.0, **keys):
    wanted = {"now_s": NOW, "kwh_per_gb": 0.06, "gb_per_s": 0.1, "reserve": 0.0, "slots": slots} | keys
    return make_job(made, zones, **wanted)


def test_slots_take_the_mean_of_what_is_forecast_and_the_rest_is_a_stated_fallback():
    clock = make_clock(NOW, 1800.0, 6 * 3600.0)
    found = make_place(place(steps=steps(100.0, 200.0)), clock)
    known = found.known_slots
    assert known < clock.slots
    assert set(found.intensity_g_per_kwh[:known]) <= {100.0, 200.0}
    assert set(found.intensity_g_per_kwh[known:]) == {333.0}
    assert (found.low_g_per_kwh <= found.intensity_g_per_kwh).all()
    assert (found.high_g_per_kwh >= found.intensity_g_per_kwh).all()


def test_a_grid_of_which_nothing_is_known_is_all_fallback():
    found = make_place(place(), make_clock(NOW, 1800.0, 3600.0))
    assert found.known_slots == 0
    assert found.intensity_g_per_kwh.tolist() == [333.0, 333.0]


def test_the_band_of_a_forecast_is_laid_around_whoevers_median_counts():
    start_s = NOW // 3600 * 3600
    band = {"start_s": start_s, "step_s": 3600, "quantiles": {"0.05": [80.0, 50.0], "0.5": [100.0, 100.0],
                                                               "0.95": [110.0, 300.0]}}  # fmt: skip
    clock = make_clock(start_s, 3600.0, 2 * 3600.0)
    found = make_place(place(steps=steps(200.0, 400.0), band=band), clock)
    assert found.low_g_per_kwh.tolist() == [160.0, 200.0]
    assert found.high_g_per_kwh.tolist() == pytest.approx([220.0, 1200.0])


@pytest.mark.parametrize("band", [{}, {"quantiles": None}, {"quantiles": {"0.05": [1.0], "0.5": [], "0.95": [1.0]}},
                                  {"start_s": NOW, "step_s": 3600, "quantiles": {"0.05": [float("nan")], "0.5": [0.0],
                                                                                 "0.95": [1.0]}}])  # fmt: skip
def test_a_damaged_band_is_no_band(band):
    found = make_place(place(steps=steps(200.0), band=band), make_clock(NOW, 1800.0, 3600.0))
    assert np.isfinite(found.low_g_per_kwh).all()
    assert np.isfinite(found.high_g_per_kwh).all()


def test_what_runs_stays_where_it_is_and_what_it_saved_draws_it_back():
    made = record()
    made.runs.append(Run(id="r" * 12, zone="y", node="n", asked_s=NOW - 600, attempt=1, state=RunState.RUNNING))
    made.runs[0].started_s, made.runs[0].duration_s = NOW - 600, 600.0
    found = job(made, ("y", "z"))
    assert list(found.at) == ["y"]
    assert found.running is not None
    assert found.running.start_s == NOW - 600
    assert found.length_s == 3000.0
    made.runs[0].state, made.runs[0].ended_s, made.runs[0].kept = RunState.STOPPED, NOW, True
    assert list(job(made, ("y", "z")).at) == ["y"]
    made.runs[0].kept = False
    assert list(job(made, ("y", "z")).at) == ["y", "z"]


def test_data_costs_energy_and_time_to_every_place_but_its_own():
    found = job(record(data=Data(gb=100.0, zone="z")), ("z", "y"))
    assert (found.at["z"].transfer_kwh, found.at["z"].transfer_s) == (0.0, 0.0)
    assert (found.at["y"].transfer_kwh, found.at["y"].transfer_s) == (6.0, 1000.0)


def test_one_more_job_finds_the_room_that_is_left_and_moves_nobody():
    clock = make_clock(NOW, 3600.0, 12 * 3600.0)
    here = place(steps=steps(*[300.0] * 4, 50.0, *[300.0] * 8), slots=1.0)
    first = job(record())
    problem = make_problem(clock, [here], [first], Objective())
    plan = Planner().plan(problem)
    taken = plan.jobs[first.id].segments[0]
    assert (taken.start_s - clock.start_s) // 3600 == 4
    second = job(record("b" * 12))
    found = Planner().plan(beside(problem, plan, second)).jobs[second.id].segments[0]
    assert found.end_s <= taken.start_s or found.start_s >= taken.end_s
    free = job(record("c" * 12), slots=0.0)
    assert Planner().plan(beside(problem, plan, free)).jobs[free.id].segments[0].start_s == taken.start_s


def test_a_piece_that_has_begun_keeps_its_beginning():
    made = record(interruptible=True)
    clock = make_clock(NOW, 3600.0, 12 * 3600.0)
    made.runs.append(Run(id="r" * 12, zone="z", node="n", asked_s=NOW - 600, attempt=1, state=RunState.RUNNING))
    made.runs[0].started_s = NOW - 600
    found = job(made)
    plan = Planner().plan(make_problem(clock, [place(steps=steps(*[100.0] * 12))], [found], Objective()))
    assert pieces(plan.jobs[found.id], made, NOW)[0].start_s == NOW - 600
