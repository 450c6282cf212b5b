"""Figures of series whose figures can be told by hand."""

import numpy as np
import pytest

from evenwatt_cli.replay.measure import Judge
from tests.replay.test_replay_plant import fleet

DT_S = 0.1


def judged(power_w, budget_w=1000.0, **work):
    judge = Judge(fleet([100.0, 100.0], [600.0, 600.0], [200.0, 200.0]), DT_S)
    budgets_w = np.broadcast_to(budget_w, len(power_w))
    for power, budget in zip(power_w, budgets_w, strict=True):
        judge.take(float(power), float(budget))
    return judge.measures(**({"done": 1.0, "demanded": 1.0} | work))


def test_violation_is_an_integral_and_not_a_mean():
    power_w = np.full(100, 900.0)
    power_w[40:43] = 1200.0  # 0.3 s: a mean over a second would be 990 W and see nothing
    found = judged(power_w)
    assert found.over_budget_ws == pytest.approx(60.0)
    assert found.worst_overshoot_pct == pytest.approx(20.0)
    assert found.seconds_above == pytest.approx(0.3)
    assert found.settle_s == pytest.approx(0.3)
    assert found.peak_w == 1200.0
    assert found.peak_to_average == pytest.approx(1200.0 / 909.0)
    assert found.energy_kwh == pytest.approx(9090.0 / 3.6e6)


def test_a_budget_that_falls_is_judged_by_what_it_is_then():
    found = judged(np.full(40, 900.0), np.where(np.arange(40) < 20, 1000.0, 800.0))
    assert found.over_budget_ws == pytest.approx(200.0)
    assert found.worst_overshoot_pct == pytest.approx(12.5)
    assert found.settle_s == pytest.approx(2.0)  # never: until the end


def test_settling_needs_a_whole_second_at_the_target():
    power_w = np.full(100, 900.0)
    power_w[20:30] = 1100.0
    power_w[30:35] = 960.0  # below the target, but for half a second only
    power_w[35:50] = 980.0  # below the budget and above the target of 97 %
    assert judged(power_w).settle_s == pytest.approx(3.0)


def test_ramp_is_the_rise_within_a_second():
    found = judged(np.arange(200) * 3.0, 1e6)
    assert found.ramp_p99_w_per_s == pytest.approx(30.0)
    assert judged(np.arange(200)[::-1] * 3.0, 1e6).ramp_p99_w_per_s == 0.0


def test_work_lost_is_what_was_asked_for_and_not_done():
    assert judged(np.full(10, 1.0), done=75.0, demanded=100.0).work_lost_pct == pytest.approx(25.0)
    assert judged(np.full(10, 1.0), done=0.0, demanded=0.0).work_lost_pct == 0.0


def looks(caps, load=(1.0, 1.0), most_w=float("nan")):
    judge = Judge(fleet([100.0, 100.0], [600.0, 600.0], [200.0, 200.0]), DT_S)
    for cap_w in caps:
        judge.look(np.array(cap_w), np.array(load), most_w, 1000.0)
    for _ in range(36_000 // 10):
        judge.take(500.0, 1000.0)
    return judge.measures(1.0, 1.0)


def test_equal_shares_are_fair_and_one_for_all_is_not():
    assert looks([(400.0, 400.0)]).jain == pytest.approx(1.0)
    assert looks([(600.0, 200.0)]).jain == pytest.approx(0.5)
    assert looks([(600.0, 200.0)], load=(1.0, 0.0)).jain == 1.0  # who asks for nothing is not wronged


def test_a_cap_that_turns_counts_and_one_that_moves_on_or_trembles_does_not():
    runs_per_h = 10.0  # each of six minutes
    assert looks([(400.0, 400.0), (500.0, 400.0), (600.0, 400.0)]).reversals_per_h == 0.0
    up_and_down = [(400.0, 400.0), (500.0, 400.0), (400.0, 400.0), (500.0, 400.0)]
    assert looks(up_and_down).reversals_per_h == pytest.approx(2 / 2 * runs_per_h)
    assert looks([(400.0, 400.0), (404.0, 400.0), (400.0, 400.0), (404.0, 400.0)]).reversals_per_h == 0.0


def test_the_bound_is_the_highest_and_the_caps_where_nobody_keeps_one():
    assert looks([(400.0, 400.0)], most_w=950.0).max_lease_to_budget == pytest.approx(0.95)
    assert looks([(400.0, 400.0), (300.0, 400.0)]).max_lease_to_budget == pytest.approx(0.8)
