"""Weeks of outcomes: sums, ranges, trends, and what may not be claimed."""

from __future__ import annotations

from datetime import UTC, datetime
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.feedback.trend import ENOUGH, trend
from evenwatt_collector.feedback.weeks import WEEK_S, by_workload, improvement, saved, week_name
from tests.feedback.made import DAY, T0, outcome

NOW = T0 + 4 * WEEK_S + DAY


def at(day, number=0, **more):
    return outcome(int(day * 100) + number, ended_s=T0 + DAY * day, **more)


def test_weeks_are_those_of_iso_8601_in_utc():
    found = improvement([at(0), at(6.999), at(7.0)], NOW, weeks=5)
    assert [week.week for week in found.weeks] == ["2026-W45", "2026-W46", "2026-W47", "2026-W48", "2026-W49"]
    assert [week.saved.jobs for week in found.weeks] == [2, 1, 0, 0, 0]
    assert found.weeks[0].start_s == T0
    assert found.weeks[0].end_s == found.weeks[1].start_s
    # The first days of a year may be of the last week of the year before.
    assert week_name(datetime(2027, 1, 2, tzinfo=UTC)) == "2026-W53"
    year_end = datetime(2027, 1, 1, 12, tzinfo=UTC).timestamp()
    assert improvement([], year_end, weeks=1).weeks[0].week == "2026-W53"


def test_savings_are_ratios_of_sums_and_bad_jobs_are_in_them():
    found = saved([at(0, 1, grams=10.0, counterfactual_g=20.0), at(0, 2, grams=1200.0, counterfactual_g=1000.0)])
    assert found.saved_g == pytest.approx(-190)
    assert found.saved_pct == pytest.approx(100 * -190 / 1020)


def test_ranges_of_one_curve_do_not_average_away():
    apart = {"counterfactual_low_g": 90.0, "counterfactual_high_g": 120.0}
    same = saved([at(0, i, **apart) for i in range(100)])
    assert same.saved_g - same.low_g == pytest.approx(10 * 10)
    assert same.high_g - same.saved_g == pytest.approx(20 * 10)
    learned = saved([at(0, i, counterfactual_how="learned", **apart) for i in range(100)])
    assert learned.saved_g - learned.low_g == pytest.approx(10 * 100)
    assert learned.low_pct == pytest.approx(100 * (2000 - 1000) / (10_000 - 1000))


def test_a_job_without_a_range_is_not_taken_as_sure():
    unsure = saved([at(0, 1)])
    assert unsure.saved_g - unsure.low_g == pytest.approx(20)


def test_nothing_is_said_of_nothing():
    found = improvement([], NOW)
    assert len(found.weeks) == 8
    assert found.total.saved.saved_pct is None
    assert found.total.predicted.coverage is None
    assert found.error_trend["grams"].verdict == "too few to tell"
    assert found.controls.saved_pct is None


def test_what_was_foreseen_badly_is_told_apart():
    jobs = [
        at(i, grams=80.0, predicted_g=40.0, predicted_low_g=30.0, predicted_high_g=50.0, predicted_energy_kwh=0.5,
           length_s=7200.0, predicted_length_s=3600.0)
        for i in range(10)
    ]  # fmt: skip
    found = improvement(jobs, NOW, weeks=5).total.predicted
    assert found.mape_pct["grams"] == pytest.approx(50)
    assert found.bias_pct["length"] == pytest.approx(100)
    assert found.mape_pct["intensity"] == pytest.approx(0, abs=1e-9)
    assert found.coverage == 0
    assert found.wrong == {"length": 10}


def noisy(sizes, seed=0):
    random = np.random.default_rng(seed)
    for i, size in enumerate(sizes):
        grams = 100.0 * exp(size * float(random.standard_normal()))
        yield at(i * 28 / len(sizes), i % 100, grams=grams, predicted_g=100.0)


def test_an_error_that_falls_is_seen_and_one_that_stays_is_not():
    falling = improvement(noisy(np.geomspace(0.5, 0.05, 120)), NOW, weeks=5).error_trend["grams"]
    assert falling.verdict == "falling"
    assert falling.confidence > 0.99
    assert falling.slope < 0
    rising = improvement(noisy(np.geomspace(0.05, 0.5, 120)), NOW, weeks=5).error_trend["grams"]
    assert rising.verdict == "rising"
    few = improvement(noisy([0.2] * (ENOUGH - 1)), NOW, weeks=5).error_trend["grams"]
    assert (few.verdict, few.confidence, few.slope) == ("too few to tell", None, None)
    wrong = sum(
        improvement(noisy([0.2] * 100, seed), NOW, weeks=5).error_trend["grams"].verdict != "no change seen"
        for seed in range(100)
    )
    assert wrong <= 7  # 99 % sure, of either direction: 2 are to be expected


def test_ties_are_no_trend():
    assert trend([(float(i), 1.0) for i in range(50)]).verdict == "no change seen"
    assert trend([(1.0, float(i)) for i in range(50)]).verdict == "too few to tell"
    assert trend([(float(i), -float(i)) for i in range(5000)]).slope == pytest.approx(-1)


def test_controls_say_it_without_a_model():
    random = np.random.default_rng(1)
    jobs = [
        at(i / 50, i % 40, grams=100.0 * (1.0 if i % 10 == 0 else 0.7) * exp(0.1 * float(random.standard_normal())),
           predicted_baseline_g=100.0, policy="baseline" if i % 10 == 0 else "carbon")
        for i in range(600)
    ]  # fmt: skip
    found = improvement(jobs, NOW, weeks=5).controls
    assert found.jobs == 60
    assert found.low_pct < 30 < found.high_pct
    assert found.high_pct - found.low_pct < 6
    assert improvement(jobs[:30], NOW, weeks=5).controls.saved_pct is None


grams = st.floats(0.01, 1e6)


@given(st.lists(st.tuples(st.floats(0, 27.9), grams, grams, st.sampled_from(["a", "b", "c"])), max_size=40))
def test_weeks_and_workloads_add_up_to_the_whole_and_no_job_is_left_out(jobs):
    made = [
        outcome(i, g, g0, ended_s=T0 + DAY * day, workload=name, counterfactual_low_g=0.9 * g0,
                counterfactual_high_g=1.2 * g0)
        for i, (day, g, g0, name) in enumerate(jobs)
    ]  # fmt: skip
    found = improvement(made, NOW, weeks=5)
    assert found.total.saved.jobs == len(made)
    assert found.total.saved.saved_g == pytest.approx(sum(one.saved_g for one in made), rel=1e-9, abs=1e-6)
    for parts in (found.weeks, [one.total for one in by_workload(made, NOW, 5)]):
        assert sum(part.saved.jobs for part in parts) == len(made)
        assert sum(part.saved.saved_g for part in parts) == pytest.approx(found.total.saved.saved_g, rel=1e-9, abs=1e-6)
    assert found.total.saved.low_g <= found.total.saved.saved_g <= found.total.saved.high_g


@given(st.lists(st.tuples(grams, grams), min_size=1, max_size=20), st.floats(1.01, 10))
def test_a_worse_job_is_never_a_better_week(jobs, times):
    made = [outcome(i, g, g0) for i, (g, g0) in enumerate(jobs)]
    worse = [outcome(0, jobs[0][0] * times, jobs[0][1]), *made[1:]]
    assert saved(worse).saved_pct <= saved(made).saved_pct
