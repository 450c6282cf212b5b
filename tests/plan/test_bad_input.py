"""What cannot be: contained, and said."""

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest

from evenwatt_collector.plan.planner import Planner
from evenwatt_collector.plan.problem import At, Clock, Problem
from tests.plan.making import SLOT_S, START_S, check, job, place, problem, spans


def plan_of(places, jobs, **kwargs):
    return Planner().plan(problem(places, jobs, **kwargs))


def test_cycles_are_named_and_the_others_planned():
    jobs = [job("a", after=("c",)), job("b", after=("a",)), job("c", after=("b",)), job("d", after=("c",)), job("e")]
    plan = plan_of([place(intensity=[5.0] * 4)], jobs)
    assert "waits for itself" in plan.jobs["a"].why
    assert "which can never start" in plan.jobs["d"].why
    assert any("wait for each other" in note for note in plan.notes)
    assert all(plan.jobs[name].late and not plan.jobs[name].segments for name in "abcd")
    assert plan.jobs["e"].segments


def test_an_impossible_deadline_is_planned_as_soon_as_possible():
    planned = plan_of([place(intensity=[500.0, 400.0, 300.0, 1.0, 1.0, 1.0])], [job(length=3, due=2)]).jobs["a"]
    assert planned.late
    assert spans(planned) == [(0.0, 3.0)]
    assert "takes 1.50 h at the least and there are 1.00 h" in planned.why


def test_no_room_before_the_deadline_is_said():
    jobs = [job("a", 2, due=2, priority=9), job("b", 2, due=3)]
    plan = plan_of([place(intensity=[5.0] * 8, slots=1.0)], jobs)
    assert not plan.jobs["a"].late
    assert plan.jobs["b"].late
    assert spans(plan.jobs["b"]) == [(2.0, 4.0)]
    assert "no room" in plan.jobs["b"].why


def test_room_is_made_for_a_deadline_whatever_the_priority():
    """The urgent one comes late and with the lowest priority; the one in its way has time."""
    jobs = [job("easy", 2, due=8, priority=9), job("tight", 2, due=3, priority=0, earliest_s=START_S + SLOT_S)]
    plan = plan_of([place(intensity=[500.0, 5.0, 5.0, 400.0, 400.0, 400.0, 400.0, 400.0], slots=1.0)], jobs)
    assert not any(planned.late for planned in plan.jobs.values())


def test_what_waits_can_still_be_on_time():
    """The first of a chain leaves time for the second although the clean hours come late."""
    jobs = [job("a", 2, due=8), job("b", 3, due=8, after=("a",))]
    asked = problem([place(intensity=[500.0] * 6 + [1.0] * 2)], jobs)
    plan = Planner().plan(asked)
    check(asked, plan)
    assert not any(planned.late for planned in plan.jobs.values())


def test_a_forecast_that_ends_is_not_taken_for_nothing():
    values = np.r_[np.full(6, 300.0), np.full(14, nan)]
    plan = plan_of([place(intensity=values)], [job(length=2, due=18)])
    assert spans(plan.jobs["a"])[0][1] <= 6.0
    assert plan.jobs["a"].grams == pytest.approx(300.0)
    assert any("no intensity" in note for note in plan.notes)
    long = plan_of([place(intensity=values)], [job(length=10, due=18)]).jobs["a"]
    assert not long.late
    assert long.grams == pytest.approx(1500.0)


def test_beyond_the_last_slot_the_mean_counts():
    planned = plan_of([place(intensity=[100.0, 300.0])], [job(length=6)]).jobs["a"]
    assert not planned.late
    assert planned.grams >= 0.5 * (100 + 5 * 200) - 1e-6


def test_nothing_known_is_assumed_and_said():
    plan = plan_of([place(intensity=[nan] * 4)], [job()])
    assert plan.jobs["a"].grams == pytest.approx(240.0)
    assert any("assumed" in note for note in plan.notes)


def test_an_unknown_place_is_never_chosen_for_being_unknown():
    at = {"here": At(power_w=1000.0), "dark": At(power_w=1000.0)}
    plan = plan_of([place(intensity=[400.0] * 4), place("dark", [nan] * 4)], [job(at=at)])
    assert plan.jobs["a"].segments[0].place == "here"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"length_s": nan}, "length is nan"),
        ({"length_s": -1.0}, "length is -1.0"),
        ({"earliest_s": inf}, "earliest start is inf"),
        ({"at": {}}, "run nowhere"),
        ({"at": {"mars": At(power_w=1.0)}}, "run nowhere"),
        ({"at": {"here": At(power_w=nan)}}, "run nowhere"),
        ({"at": {"here": At(power_w=1.0, speed=0.0)}}, "run nowhere"),
    ],
)
def test_jobs_that_cannot_be(wrong, said):
    plan = plan_of([place(intensity=[5.0] * 4)], [replace(job(), **wrong), job("b")])
    assert said in plan.jobs["a"].why
    assert plan.jobs["a"].late
    assert not plan.jobs["a"].segments
    assert plan.jobs["b"].segments


def test_negative_intensity_and_wrong_pue_are_said():
    plan = plan_of([replace(place(intensity=[-5.0, 5.0]), pue=0.5)], [job()])
    assert plan.jobs["a"].grams == 0.0
    assert any("below 0" in note for note in plan.notes)
    assert any("PUE" in note for note in plan.notes)


def test_empty():
    asked = Problem(clock=Clock(start_s=0.0, slot_s=60.0, slots=3, now_s=0.0), places={}, jobs={})
    assert Planner().plan(asked).jobs == {}
    plan = Planner().plan(replace(asked, jobs={"a": job()}))
    assert "no places" in plan.jobs["a"].why


def test_nothing_left_is_done():
    planned = plan_of([place(intensity=[5.0] * 4)], [job(length=0.0)]).jobs["a"]
    assert not planned.late
    assert not planned.segments


def test_a_clock_without_slots_is_refused():
    with pytest.raises(ValueError, match="clock of 0 slots"):
        Planner().plan(
            replace(problem([place(intensity=[1.0])], []), clock=Clock(start_s=0, slot_s=60, slots=0, now_s=0))
        )


def test_reserve_keeps_time_before_the_deadline():
    levels = [500.0] * 6 + [1.0] * 4
    for reserve, last in ((0.0, 10.0), (0.5, 8.0)):
        planned = plan_of([place(intensity=levels)], [job(length=4, due=10, reserve=reserve)]).jobs["a"]
        assert spans(planned)[-1][1] == pytest.approx(last)


def test_days_are_as_long_as_any_when_clocks_change():
    """Only Unix time counts: a plan over the end of summer time is the plan of any other day, moved."""
    levels = 300 + 200 * np.sin(np.arange(96) / 7)
    plans = []
    for start_s in (1_761_436_800.0, 1_760_832_000.0):  # 2025-10-26 and a week before
        asked = problem([place(intensity=levels)], [job(length=7, earliest_s=start_s, interruptible=True)])
        asked = replace(asked, clock=replace(asked.clock, start_s=start_s, now_s=start_s))
        segments = Planner().plan(asked).jobs["a"].segments
        plans.append([(s.start_s - start_s, s.end_s - start_s) for s in segments])
    assert plans[0] == plans[1]
