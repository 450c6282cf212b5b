"""Workloads that change: noticed, forgotten, learned anew; workloads that do not: left in peace."""

import random

import pytest

from evenwatt_collector.tuning import CapLearner, Settings
from evenwatt_collector.tuning.drift import Watch
from tests.tuning.machine import CAPS_W, Bench, Board

HOUR_S = 3600.0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Board(demand_w=280), Board(demand_w=150, unit_s=0.3)),
        (Board(demand_w=150), Board(demand_w=290)),
        (Board(fixed=0.7), Board(fixed=0.0, unit_s=0.25)),
    ],
)
def test_a_new_version_of_the_model_is_noticed_and_learned(before, after):
    bench = Bench(CapLearner(Settings(caps_w=CAPS_W)), before)
    bench.run(HOUR_S)
    assert bench.learner.relearned == 0
    assert before.regret(bench.trace.held_w) <= 0.03
    bench.board = after
    bench.run(120)
    assert bench.learner.relearned >= 1
    bench.run(2 * HOUR_S)
    assert after.regret(bench.trace.held_w) <= 0.03
    assert bench.learner.relearned <= 2
    assert bench.trace.explored <= 0.05 * bench.trace.units


@pytest.mark.parametrize("noise", [0.005, 0.03, 0.08])
def test_a_workload_that_stays_is_not_taken_for_another(noise):
    bench = Bench(CapLearner(Settings(caps_w=CAPS_W)), Board(), noise=noise)
    bench.run(4 * HOUR_S, window_s=4.0)
    assert bench.learner.relearned == 0


def test_what_changes_slowly_is_followed_by_forgetting():
    settings = Settings(caps_w=CAPS_W, half_life_s=HOUR_S)
    bench = Bench(CapLearner(settings), Board(demand_w=290))
    for step in range(40):
        bench.board = Board(demand_w=290 - 4 * step)
        bench.run(HOUR_S / 3, window_s=5.0)
    assert bench.board.regret(bench.trace.held_w) <= 0.03
    assert bench.trace.explored <= 0.05 * bench.trace.units


def test_a_hiccup_is_no_change():
    watch = Watch()
    assert not watch.add(3.0, 5.0, 0.001)
    assert not any(watch.add(0.0, 1.0, 0.001) for _ in range(100))
    assert watch.up == 0


@pytest.mark.parametrize("change", [0.12, -0.12, 0.3])
def test_a_lasting_change_is_seen_within_a_minute_or_so(change):
    dice = random.Random(1)
    watch = Watch()
    assert not any(watch.add(dice.gauss(0, 0.03), 1.0, 0.0009) for _ in range(20_000))
    seen = next(i for i in range(1000) if watch.add(change + dice.gauss(0, 0.03), 1.0, 0.0009))
    assert seen <= 60
