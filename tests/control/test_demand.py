import numpy as np
import pytest

from evenwatt_collector.control import Observations
from evenwatt_collector.control.demand import KNOWN_S, Appetite


class Eater:
    """One node and what it is thought to want."""

    def __init__(self):
        self.appetite = Appetite(1)
        self.seen = Observations(1)
        self.seen.floor_w[:], self.seen.ceiling_w[:] = 60, 500

    def __call__(self, cap_w, now_s, *, power_w=87.0, peak_w=87.0, window_peak_w=None):
        self.seen.power_w[:], self.seen.peak_w[:] = power_w, peak_w
        self.seen.window_peak_w[:] = peak_w if window_peak_w is None else window_peak_w
        found = self.appetite.demand(self.seen, np.array([0]), np.array([float(cap_w)]), float(now_s))
        return found.recent_w[0], found.full_w[0], bool(found.hidden[0])


def test_below_the_cap_demand_is_the_peak_with_headroom():
    recent, full, hidden = Eater()(400, 0, power_w=150, peak_w=200, window_peak_w=150)
    assert recent == pytest.approx(170)
    assert full == pytest.approx(225)
    assert not hidden


def test_demand_stays_between_floor_and_ceiling():
    assert Eater()(400, 0, power_w=10, peak_w=10)[1] == 60
    assert Eater()(600, 0, power_w=300, peak_w=490)[1] == 500


def test_a_node_at_its_cap_wants_everything_also_for_two_windows_after_a_raise():
    eater = Eater()
    assert eater(100, 0, power_w=98, peak_w=99)[2]
    assert eater(300, 1.9, power_w=98, peak_w=99)[2]
    assert not eater(300, 2.1, power_w=98, peak_w=99)[2]


def test_a_node_that_is_cut_below_what_it_was_seen_to_want_wants_that_for_a_while():
    eater = Eater()
    eater(400, 0, power_w=150, peak_w=150)
    for now_s in (1, 10, KNOWN_S - 0.1):
        recent, full, hidden = eater(120, now_s, power_w=118, peak_w=120)
        assert (recent, full) == (pytest.approx(170), pytest.approx(170))
        assert not hidden
    assert eater(120, KNOWN_S + 0.1, power_w=118, peak_w=120)[2]  # now it is let up, to look


def test_a_node_at_a_cap_above_what_it_wanted_wants_more_than_that():
    eater = Eater()
    eater(400, 0, power_w=150, peak_w=150)
    assert eater(170, 1, power_w=168, peak_w=170)[2]


def test_a_node_just_below_its_cap_may_be_held_there_by_it_and_tells_nothing():
    eater = Eater()
    eater(232, 0, power_w=216, peak_w=217)
    assert eater(215, 1, power_w=206, peak_w=208)[2]  # its limit bites 4 % below the cap; that is no wish


def test_a_burst_at_the_cap_counts_though_the_mean_is_low():
    assert Eater()(300, 0, power_w=120, peak_w=296)[1] == 500


def test_a_peak_above_the_cap_is_from_before_it():
    _, full, hidden = Eater()(150, 0, power_w=90, peak_w=250)
    assert not hidden
    assert full == pytest.approx(280)


def test_what_is_over_is_no_longer_recent_after_three_seconds():
    eater = Eater()
    eater(500, 0, power_w=300, peak_w=300, window_peak_w=300)
    after = [eater(500, now, peak_w=300, window_peak_w=87) for now in (2.9, 3.0)]
    assert after[0][0] == pytest.approx(335)
    assert after[1][0] < 101
    assert after[1][1] == pytest.approx(335)


def test_who_arrives_anew_has_no_past():
    eater = Eater()
    eater(100, 0, power_w=98, peak_w=99, window_peak_w=99)
    eater.appetite.forget(np.array([0]))
    assert eater(300, 1, power_w=80, peak_w=80) == (pytest.approx(93), pytest.approx(93), False)
