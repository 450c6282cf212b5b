"""The law from watts to a share, on plants of every curve: it converges, holds, and never leaves its range."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evenwatt_agent.actuators.follow import Ends, Follower

LEAST = 0.3


class Plant:
    """``power = idle + span * load * share^n``, seen some bins late."""

    def __init__(self, idle_w, span_w, n, late_bins):
        self.idle_w, self.span_w, self.n = idle_w, span_w, n
        self.load = 1.0
        self._seen = [self.power_w(1.0)] * late_bins

    def power_w(self, share):
        return self.idle_w + self.span_w * self.load * share**self.n

    def bin(self, share):
        self._seen.append(self.power_w(share))
        return self._seen.pop(0)


plants = st.builds(Plant, st.floats(2, 100), st.floats(20, 500), st.floats(0.6, 3.0), st.integers(0, 2))


def run(plant, follower, bins, noise=0.0, seed=0):
    dice = random.Random(seed)
    powers = []
    for _ in range(bins):
        power_w = plant.bin(follower.share)
        powers.append(power_w)
        follower.step(power_w * (1 + noise * dice.uniform(-1, 1)))
    return powers


@given(plants, st.floats(0.2, 0.98), st.floats(0.2, 2.0), st.integers(0, 9))
def test_a_steady_load_is_brought_under_its_goal_and_close_to_it(plant, where, guess, seed):
    """Whatever the curve, and however wrong the first estimate of the ends is."""
    low_w, high_w = plant.power_w(LEAST), plant.power_w(1.0)
    goal_w = low_w + where * (high_w - low_w)
    follower = Follower(LEAST, Ends(0.4 * guess * high_w, guess * high_w), wait_bins=2)
    follower.aim(goal_w, high_w)
    run(plant, follower, 150, noise=0.01, seed=seed)
    powers = run(plant, follower, 40, noise=0.01, seed=seed + 1)
    assert max(powers) <= 1.04 * goal_w
    assert min(powers) >= 0.93 * goal_w


@given(plants, st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 1), st.integers(1, 8)), max_size=20))
def test_the_share_never_leaves_its_range(plant, orders):
    follower = Follower(LEAST, Ends(50, 100), wait_bins=1)
    for goal_w, load, bins in orders:
        plant.load = load
        follower.aim(goal_w, plant.power_w(follower.share))
        for _ in range(bins):
            follower.step(plant.bin(follower.share))
            assert LEAST <= follower.share <= 1.0


@given(plants, st.floats(0.3, 0.9))
def test_a_burst_from_idle_meets_a_limit_that_holds(plant, where):
    """With known ends and a curve that is not concave, the line is above the power at every share."""
    plant.n = max(1.0, plant.n)
    low_w, high_w = plant.power_w(LEAST), plant.power_w(1.0)
    follower = Follower(LEAST, Ends(low_w, high_w), wait_bins=2)
    goal_w = low_w + where * (high_w - low_w)
    assume(plant.idle_w < 0.7 * goal_w)  # else idling looks like work, and the first bins of a burst correct it
    plant.load = 0.0
    follower.aim(goal_w, plant.idle_w)
    run(plant, follower, 20)
    plant.load = 1.0
    assert plant.power_w(follower.share) <= goal_w * (1 + 1e-9)


def test_the_gaps_of_a_bursty_load_do_not_open_it():
    plant = Plant(60, 200, 1.0, 1)
    follower = Follower(LEAST, Ends(100, 260), wait_bins=2)
    follower.aim(180, 260)
    run(plant, follower, 50)
    held = follower.share
    for _ in range(5):
        plant.load = 0.0
        run(plant, follower, 30)
        plant.load = 1.0
        powers = run(plant, follower, 14)
        assert max(powers) <= 1.1 * 180, "a burst may come in the moment of a raise by a tenth"
        assert max(powers[9:]) <= 1.03 * 180
    assert follower.share == pytest.approx(held, rel=0.05)


def test_a_higher_goal_gives_the_work_its_speed_back():
    plant = Plant(60, 200, 2.0, 1)
    follower = Follower(LEAST, Ends(100, 260), wait_bins=2)
    follower.aim(150, 260)
    run(plant, follower, 30)
    follower.aim(260, 150)
    assert follower.share == 1.0


def test_more_power_than_was_thought_possible_is_learned():
    ends = Ends(40, 96)
    follower = Follower(LEAST, ends, wait_bins=1)
    follower.aim(96, 90)  # at the ceiling that was estimated, nothing is limited
    plant = Plant(60, 220, 1.5, 0)
    run(plant, follower, 5)
    assert ends.ceiling_w == pytest.approx(280)
    follower.aim(200, 280)
    run(plant, follower, 40)
    assert plant.power_w(follower.share) <= 1.03 * 200
