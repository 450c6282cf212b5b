import pytest

from evenwatt_collector.control.demand import Appetite
from tests.control.model import seen


def test_below_the_cap_demand_is_the_peak_with_headroom():
    demand = Appetite().demand(seen("a", power_w=150, peak_w=200, window_peak_w=150), 400, 0)
    assert demand.recent_w == pytest.approx(170)
    assert demand.full_w == pytest.approx(225)
    assert not demand.hidden


def test_demand_stays_between_floor_and_ceiling():
    assert Appetite().demand(seen("a", power_w=10, peak_w=10), 400, 0).full_w == 60
    assert Appetite().demand(seen("a", power_w=300, peak_w=490), 600, 0).full_w == 500


def test_a_node_at_its_cap_wants_everything_also_for_two_windows_after_a_raise():
    appetite = Appetite()
    assert appetite.demand(seen("a", power_w=98, peak_w=99), 100, 0).hidden
    assert appetite.demand(seen("a", power_w=98, peak_w=99), 300, 1.9).hidden
    assert not appetite.demand(seen("a", power_w=98, peak_w=99), 300, 2.1).hidden


def test_a_burst_at_the_cap_counts_though_the_mean_is_low():
    assert Appetite().demand(seen("a", power_w=120, peak_w=296), 300, 0).full_w == 500


def test_a_peak_above_the_cap_is_from_before_it():
    demand = Appetite().demand(seen("a", power_w=90, peak_w=250), 150, 0)
    assert not demand.hidden
    assert demand.full_w == pytest.approx(280)


def test_what_is_over_is_no_longer_recent_after_three_seconds():
    appetite = Appetite()
    appetite.demand(seen("a", power_w=300, peak_w=300, window_peak_w=300), 500, 0)
    after = [appetite.demand(seen("a", peak_w=300, window_peak_w=87), 500, now) for now in (2.9, 3.0)]
    assert after[0].recent_w == pytest.approx(335)
    assert after[1].recent_w < 101
    assert after[1].full_w == pytest.approx(335)


def test_nodes_that_left_are_forgotten():
    appetite = Appetite()
    for name in "abc":
        appetite.demand(seen(name), 100, 0)
    appetite.keep_only({"b"})
    assert len(appetite) == 1
