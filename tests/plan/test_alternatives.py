"""A decision, what stood beside it, and what would change it."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from evenwatt_collector.plan.alternatives import explain
from evenwatt_collector.plan.planner import Planner
from evenwatt_collector.plan.problem import At, Objective
from tests.plan.making import SLOT_S, START_S, job, place, problem, problems, spans

LEVELS = [400.0] * 6 + [100.0] * 2 + [300.0] * 2 + [90.0] * 2 + [350.0] * 8


def explained(asked, name="a"):
    plan = Planner().plan(asked)
    return explain(asked, name, plan.jobs[name], plan)


def test_everything_stands_beside_it():
    at = {"here": At(power_w=1000.0), "there": At(power_w=800.0, transfer_kwh=0.1, transfer_s=600)}
    one = job(length=3, at=at, interruptible=True, speedup=(1.0, 1.7), due=18)
    found = explained(problem([place(intensity=LEVELS), place("there", [600.0] * 20)], [one]))
    names = [alternative.name for alternative in found.alternatives]
    assert names == ["now", "chosen", "contiguous", "split", "place:here", "place:there", "width:1", "width:2"]
    assert found.baseline.grams == pytest.approx(600.0)
    assert spans(found.baseline) == [(0.0, 3.0)]
    assert all(found.chosen.grams <= other.planned.grams * (1 + 1e-6) for other in found.alternatives if other.feasible)
    (chosen,) = (alternative for alternative in found.alternatives if alternative.name == "chosen")
    assert chosen.why.startswith("it saves ")
    assert "chance" in chosen.why
    assert not any("it saves" in words for words in found.would_change)


def test_what_is_not_possible_says_why():
    found = explained(problem([place(intensity=LEVELS)], [job(length=3, due=9)]))
    by_name = {alternative.name: alternative for alternative in found.alternatives}
    assert by_name["split"].why == "it cannot be interrupted"
    assert not by_name["split"].feasible
    assert any("a deadline" in words for words in found.would_change)


def test_a_job_that_runs_at_once_says_when_it_would_wait():
    found = explained(problem([place(intensity=[200.0] * 2 + [230.0] * 8)], [job(length=2, due=8)]))
    assert spans(found.chosen) == [(0.0, 2.0)]
    (words,) = [words for words in found.would_change if words.startswith("above")]
    assert words.startswith("above 230 g/kWh now (expected: 200)")


def test_lengths_are_said_in_units_that_fit_them():
    asked = problem([place(intensity=[400.0] * 6 + [100.0] * 14)], [job(length=3, due=15)])
    found = explained(asked)
    words = " ".join([*found.would_change, *(alternative.why for alternative in found.alternatives)])
    assert "over the next 1 h 30 min (expected: 400)" in words
    assert not re.search(r"\d\.\d+ h\b", words)


def test_room_taken_by_others_counts():
    jobs = [job("a", 2, due=20), job("b", 2, due=20)]
    found = explained(problem([place(intensity=LEVELS, slots=1.0)], jobs), "b")
    assert found.chosen.segments
    assert {alternative.name for alternative in found.alternatives} >= {"now", "chosen", "contiguous"}


def test_a_job_that_cannot_run_is_explained_too():
    found = explained(problem([place(intensity=LEVELS)], [job(at={"mars": At(power_w=1.0)})]))
    assert "run nowhere" in found.would_change[0]


def test_what_must_end_before_another_jobs_deadline_says_by_how_much_it_would_not():
    jobs = [job("first", length=4), job("second", due=0, after=("first",))]
    asked = problem([place(intensity=[0.0] * 15)], jobs)
    plan = Planner().plan(asked)
    assert all(one.why for one in explain(asked, "first", plan.jobs["first"], plan).alternatives)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(problems(jobs=3))
def test_any_job_can_be_explained(asked):
    plan = Planner().plan(asked)
    for name in asked.jobs:
        found = explain(asked, name, plan.jobs[name], plan)
        assert found.chosen is plan.jobs[name]
        for alternative in found.alternatives:
            assert np.isfinite(alternative.planned.grams)
            assert alternative.why


def test_risk_keeps_what_the_interval_does_not_support():
    """A gain of 10 % under an interval of +-20 %: taken by the median, left by the careful."""
    levels = [300.0] * 4 + [270.0] * 4
    for risk, start in ((0.0, 4.0), (1.0, 0.0)):
        asked = problem([place(intensity=levels, spread=0.2)], [job(length=2)], Objective(risk=risk))
        assert spans(Planner().plan(asked).jobs["a"])[0][0] == start


def test_risk_takes_what_the_interval_does_support():
    asked = problem([place(intensity=[300.0] * 4 + [100.0] * 4, spread=0.2)], [job(length=2)], Objective(risk=1.0))
    assert spans(Planner().plan(asked).jobs["a"])[0][0] == 4.0


def test_cost_counts_at_the_price_of_a_gram():
    levels, price = [300.0] * 4 + [200.0] * 4, [0.1] * 4 + [0.5] * 4
    for worth, start in ((0.0, 4.0), (0.001, 0.0), (1.0, 4.0)):
        asked = problem([place(intensity=levels, price=price)], [job(length=2)], Objective(price_per_g=worth))
        planned = Planner().plan(asked).jobs["a"]
        assert spans(planned)[0][0] == start
        assert planned.cost == pytest.approx(0.5 if start else 0.1)


def test_moving_pays_for_the_transfer():
    at = {"here": At(power_w=1000.0), "there": At(power_w=1000.0, transfer_kwh=0.5, transfer_s=SLOT_S)}
    for level, where in ((250.0, "here"), (100.0, "there")):
        asked = problem([place(intensity=[300.0] * 9), place("there", [level] * 9)], [job(length=2, at=at)])
        planned = Planner().plan(asked).jobs["a"]
        assert planned.segments[0].place == where
        if where == "there":
            assert planned.grams == pytest.approx(150.0)
            assert planned.energy_kwh == pytest.approx(1.5)
            assert planned.start_s >= START_S + SLOT_S
