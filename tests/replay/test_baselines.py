"""The published rules do what their papers and manuals say, step by step."""

import numpy as np
import pytest

from evenwatt_cli.replay.baselines import BASELINES, Dynamo, EarSoft, Pi, Polca, Slurm, Uncapped, UniformStatic
from evenwatt_cli.replay.loops import Direct, Reading
from evenwatt_cli.replay.network import Conditions
from evenwatt_cli.replay.plant import Plant
from evenwatt_cli.replay.scenarios import make_scenario
from evenwatt_cli.replay.telemetry import Meters
from tests.replay.test_replay_plant import fleet


def four(priorities=(5, 5, 5, 5)):
    spec = fleet([100.0] * 4, [500.0] * 4, [200.0] * 4)
    spec.priority[:] = priorities
    return spec


def asked(rule, power_w, budget_w=1600.0, spec=None, now_s=0.0):
    power_w = np.array(power_w, dtype=float)
    return rule.step(Reading(power_w, power_w, spec or four(), budget_w, now_s))


def test_uncapped_does_nothing_and_static_shares_the_first_budget_for_ever():
    assert asked(Uncapped(), [500] * 4) is None
    rule = UniformStatic()
    assert asked(rule, [100] * 4).tolist() == [400.0] * 4
    assert asked(rule, [500] * 4, budget_w=800.0).tolist() == [400.0] * 4


def test_slurm_takes_half_a_range_from_the_idle_and_gives_a_fifth_to_the_busy():
    rule = Slurm()
    assert asked(rule, [400, 400, 400, 400]).tolist() == [400.0] * 4
    caps_w = asked(rule, [100, 399, 399, 399])
    assert caps_w[0] == pytest.approx(250.0)  # 400 less 50 % of its range of 300 W
    assert caps_w[1:] == pytest.approx([450.0] * 3)  # 150 W among three, each at most 60 W
    assert caps_w.sum() <= 1600.0


def test_slurm_never_hands_out_more_than_it_has():
    rng, rule = np.random.default_rng(1), Slurm()
    for _ in range(200):
        budget_w = rng.uniform(1000, 1900)
        assert asked(rule, rng.uniform(100, 500, 4), budget_w).sum() <= budget_w + 1e-6


def test_ear_caps_all_above_90_percent_and_lifts_below_40():
    rule = EarSoft()
    assert np.isinf(asked(rule, [350] * 4)).all()
    assert asked(rule, [370] * 4).tolist() == [400.0] * 4
    assert asked(rule, [200] * 4).tolist() == [400.0] * 4
    assert np.isinf(asked(rule, [150] * 4)).all()


def test_dynamo_cuts_the_least_important_first_the_highest_buckets_first_to_95_percent():
    rule, spec = Dynamo(), four((8, 8, 2, 2))
    caps_w = asked(rule, [400, 400, 450, 350], spec=spec)  # 1600: at the budget, so down to 1520
    assert np.isinf(caps_w[:2]).all()
    kept_w = np.minimum(caps_w, [400, 400, 450, 350])
    assert 1500.0 <= kept_w.sum() <= 1520.0
    assert caps_w[3] == np.inf  # the 80 W come out of the higher bucket
    assert asked(rule, kept_w, spec=spec).tolist() == caps_w.tolist()  # between the bands caps stay
    assert np.isinf(asked(rule, [350] * 4, spec=spec)).all()  # below 90 %


def test_dynamo_goes_on_to_the_important_when_the_others_are_at_their_floors():
    caps_w = asked(Dynamo(), [500, 500, 500, 500], 1200.0, four((8, 8, 2, 2)))
    assert caps_w[2:].tolist() == [200.0, 200.0]
    assert np.minimum(caps_w, 500.0).sum() <= 0.95 * 1200.0


def test_polca_locks_the_low_class_after_40_s_and_brakes_all_after_5():
    rule, spec = Polca(), four((8, 8, 2, 2))
    caps = [asked(rule, [335] * 4, spec=spec, now_s=float(t)) for t in range(42)]  # 84 %
    assert caps[39] is None or np.isinf(caps[39]).all()
    assert np.isinf(caps[41][:2]).all()
    assert caps[41][2:] == pytest.approx(100 + 400 * (1275 / 1410) ** 2)
    braked = [asked(rule, [410] * 4, spec=spec, now_s=50.0 + t) for t in range(7)]
    assert np.isinf(braked[4][0])
    assert braked[6].tolist() == [200.0] * 4  # 288 MHz is below what the devices can do


def test_polca_does_not_take_the_silence_under_its_own_brake_for_a_low_load():
    rule, spec = Polca(), four((8, 8, 2, 2))
    for t in range(50):
        asked(rule, [380] * 4, spec=spec, now_s=float(t))
    asked(rule, [420] * 4, spec=spec, now_s=50.0)
    after = [asked(rule, [200] * 4, spec=spec, now_s=51.0 + t) for t in range(8)][-1]
    assert np.isfinite(after).all()
    assert after[0] == pytest.approx(100 + 400 * (1305 / 1410) ** 2)


def test_pi_settles_at_95_percent_without_winding_up():
    rule, power_w = Pi(), np.full(4, 500.0)
    for _ in range(60):
        power_w = np.minimum(500.0, asked(rule, power_w))
    assert power_w.sum() == pytest.approx(0.95 * 1600.0, rel=1e-3)
    for _ in range(600):
        asked(rule, [100] * 4)
    busy_w = np.full(4, 500.0)
    for _ in range(15):
        busy_w = np.minimum(500.0, asked(rule, busy_w))
    assert busy_w.sum() < 1600.0


@pytest.mark.parametrize("rule", BASELINES, ids=lambda rule: rule.name)
def test_each_holds_a_steady_fleet_or_says_honestly_that_it_cannot(rule):
    """On work that is always full, every rule but no rule brings the fleet's mean to within the budget."""
    dt_s, scenario = 0.1, make_scenario("surge", 20, 0.1, 1, seconds=10)
    loop = Direct(rule, scenario.fleet, dt_s, Conditions(), 1)
    plant, meters = Plant(scenario.fleet, dt_s), Meters(20, dt_s, 1)
    total_w = []
    for k in range(3000):
        loop.arrive(k, k * dt_s)
        loop.act(k, k * dt_s, scenario.limits_w(scenario.budget.base_w))
        caps_w = loop.caps_w(k * dt_s)
        windows = meters.take(k, plant.step(np.ones(20), caps_w, loop.paused(k * dt_s)), caps_w, loop.paused(0.0))
        if windows is not None:
            loop.hear(k, windows)
        total_w.append(plant.mean_w.sum())
    share = np.mean(total_w[1500:]) / scenario.budget.base_w
    assert share > 1.3 if rule is Uncapped else 0.5 < share <= 1.0 + 1e-6


def test_a_rule_whose_collector_died_leaves_its_last_caps_and_starts_anew():
    loop = Direct(Pi, four(), 0.1, Conditions(loss=0.0, delay_s=(0.0, 0.1)), 1)
    loop.act(0, 0.0, np.array([1200.0]))
    loop.arrive(1, 0.1)
    before_w = loop.caps_w(0.1).copy()
    assert np.isfinite(before_w).all()
    loop.kill_collector()
    for k in range(2, 60):
        loop.arrive(k, k * 0.1)
        loop.act(k, k * 0.1, np.array([900.0]))
    assert loop.caps_w(6.0).tolist() == before_w.tolist()
    loop.start_collector(6.0)
    for k in range(60, 100):
        loop.arrive(k, k * 0.1)
        loop.act(k, k * 0.1, np.array([900.0]))
    assert loop.caps_w(10.0).sum() < before_w.sum()
