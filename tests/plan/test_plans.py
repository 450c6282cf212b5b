"""What must hold of every plan, whatever is asked."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenwatt_collector.plan.planner import Planner
from evenwatt_collector.plan.problem import Clock
from tests.plan.making import START_S, check, job, one_job, place, problem, problems, spans

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(problems())
def test_plans_hold(asked):
    check(asked, Planner().plan(asked))


@FEW
@given(problems())
def test_same_problem_same_plan(asked):
    planner = Planner()
    plan = planner.plan(asked)
    assert planner.replan(asked) is plan
    again = replace(asked, jobs={name: replace(one) for name, one in asked.jobs.items()})
    assert planner.replan(again).jobs == plan.jobs
    assert Planner().plan(asked).jobs == plan.jobs


@FEW
@given(problems(jobs=5), st.data())
def test_kept_plans_hold(asked, data):
    planner = Planner()
    planner.plan(asked)
    for _ in range(4):
        asked = data.draw(changed(asked))
        check(asked, planner.replan(asked), kept=True)


@st.composite
def changed(draw, asked):
    what = draw(st.sampled_from(("job", "new", "gone", "forecast", "room", "now", "roll")))
    jobs, places, clock = dict(asked.jobs), dict(asked.places), asked.clock
    names = sorted(jobs)
    if what == "job" and names:
        name = draw(st.sampled_from(names))
        jobs[name] = replace(jobs[name], length_s=jobs[name].length_s * draw(st.floats(0.3, 1.5)))
    elif what == "new":
        jobs["new"] = draw(one_job("new", sorted(places), clock.slots))
    elif what == "gone" and names:
        del jobs[draw(st.sampled_from(names))]
    elif what == "forecast":
        shape = draw(st.lists(st.floats(0.5, 2), min_size=clock.slots, max_size=clock.slots))
        places = {n: replace(p, intensity_g_per_kwh=p.intensity_g_per_kwh * shape,
                             low_g_per_kwh=p.low_g_per_kwh * shape, high_g_per_kwh=p.high_g_per_kwh * shape)
                  for n, p in places.items()}  # fmt: skip
    elif what == "room":
        places = {n: replace(p, slots_free=None if p.slots_free is None else p.slots_free * draw(st.floats(0.2, 1.5)))
                  for n, p in places.items()}  # fmt: skip
    elif what == "now":
        clock = replace(clock, now_s=clock.now_s + draw(st.floats(0, clock.slot_s)))
    else:
        start_s = clock.start_s + clock.slot_s
        clock = Clock(start_s=start_s, slot_s=clock.slot_s, slots=clock.slots,
                      now_s=start_s + draw(st.floats(0, clock.slot_s - 1)))  # fmt: skip
    return replace(asked, jobs=jobs, places=places, clock=clock)


def test_a_forecast_that_trembles_moves_nothing():
    rng = np.random.default_rng(5)
    levels = 300 + 200 * np.sin(np.arange(48) / 4)
    jobs = [job(f"j{i}", 2.5, due=40, interruptible=i % 2 == 0) for i in range(12)]
    planner = Planner()
    plan = planner.plan(problem([place(intensity=levels)], jobs))
    for _ in range(20):
        trembling = levels * rng.normal(1, 0.005, len(levels))
        again = planner.replan(problem([place(intensity=trembling)], jobs))
        assert all(again.jobs[name].segments == plan.jobs[name].segments for name in plan.jobs)


def test_a_forecast_that_turns_moves_work():
    levels = np.r_[np.full(8, 300.0), np.full(4, 100.0), np.full(8, 300.0)]
    planner = Planner()
    plan = planner.plan(problem([place(intensity=levels)], [job(length=2)]))
    assert spans(plan.jobs["a"]) == [(8.0, 10.0)]
    again = planner.replan(
        problem([place(intensity=levels[::-1] * np.r_[np.ones(12), np.full(8, 0.1)])], [job(length=2)])
    )
    assert spans(again.jobs["a"]) == [(12.0, 14.0)]


def test_what_runs_and_cannot_stop_stays():
    from evenwatt_collector.plan.problem import Segment

    running = Segment(place="here", start_s=START_S - 5000, end_s=START_S + 3600, width=1)
    one = job(length=3, running=running, due=10)
    plan = Planner().plan(problem([place(intensity=[500.0] * 6 + [10.0] * 6)], [one], now=100.0))
    (segment,) = plan.jobs["a"].segments
    assert segment.start_s == START_S - 5000
    assert segment.end_s == pytest.approx(START_S + 100 + 3 * 1800)
    assert not plan.jobs["a"].late


def test_an_interruptible_one_stops_if_that_pays_for_the_restart():
    from evenwatt_collector.plan.problem import Segment

    running = Segment(place="here", start_s=START_S - 5000, end_s=START_S + 3600, width=1)
    levels = [500.0] * 4 + [100.0] * 8
    for restart_s, starts in ((300.0, 4.0), (40_000.0, 0.0)):
        one = job(length=2, running=running, interruptible=True, restart_s=restart_s, due=11)
        plan = Planner().plan(problem([place(intensity=levels)], [one]))
        assert spans(plan.jobs["a"])[0][0] == starts
