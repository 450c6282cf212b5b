"""The reflex bin by bin: when it cuts, by how much, what it forgives, and how it lets go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.obedience import Allowed, Obedience
from evenwatt_agent.reflex import Devices, Reflex, ReflexState

QUICK = Devices(floor_w=100)


class Bins:
    """A reflex that sees bins of 100 ms."""

    def __init__(self, devices=QUICK, cap_w=200.0):
        self.reflex, self.devices, self.cap_w = Reflex(), devices, cap_w
        self.now_s = 0.0
        self.changes = []
        self.see(cap_w * 0.5)

    def see(self, *powers_w, cap_w=None):
        self.cap_w = self.cap_w if cap_w is None else cap_w
        for power_w in powers_w:
            self.now_s += 0.1
            change = self.reflex.observe(self.now_s, power_w, self.cap_w, self.devices)
            self.changes += [change] if change else []
        return self.reflex


def test_two_bins_over_are_forgiven_and_the_third_is_not():
    bins = Bins()
    assert bins.see(215, 215).state is ReflexState.CALM
    reflex = bins.see(215)
    assert (reflex.state, reflex.share) == (ReflexState.SQUEEZED, 0.75)
    (began,) = bins.changes
    assert (began.begun, began.power_w, began.cap_w, began.why) == (True, 215, 200, "3 bins over 105%")


def test_it_squeezes_again_while_that_does_not_help():
    assert Bins().see(*[215] * 6).share == pytest.approx(0.75**2)


def test_far_over_means_the_least_at_once():
    reflex = Bins().see(235, 235)
    assert (reflex.state, reflex.share) == (ReflexState.LEAST, 0)


def test_limits_that_are_known_to_be_loose_mean_the_least():
    bins = Bins(Devices(floor_w=100, loose="package-0 reads back 225 W"))
    assert bins.reflex.state is ReflexState.LEAST
    assert bins.changes[0].why == "package-0 reads back 225 W"


def test_it_lets_go_by_five_percent_a_second_from_the_devices_minimum():
    bins = Bins()
    bins.see(235, 235)
    bins.see(150)
    assert bins.reflex.share == pytest.approx(0.5 + 0.005)
    bins.see(*[150] * 50)
    assert bins.reflex.share == pytest.approx(0.5 + 0.255)
    bins.see(*[150] * 60)
    assert (bins.reflex.state, bins.reflex.share) == (ReflexState.CALM, 1)
    ended = bins.changes[-1]
    assert (ended.begun, ended.power_w) == (False, 235)
    assert ended.lasted_s == pytest.approx(10, abs=0.5)


def test_over_again_while_it_lets_go_squeezes_again_without_a_second_beginning():
    bins = Bins()
    bins.see(215, 215, 215, 150, 150, 215, 215, 215)
    assert bins.reflex.state is ReflexState.SQUEEZED
    assert len(bins.changes) == 1


def test_a_fresh_lower_cap_has_the_time_that_devices_need():
    bins = Bins(Devices(floor_w=100, delay_s=0.3), cap_w=400.0)
    bins.see(*[390] * 10)
    bins.see(390, 390, 390, cap_w=200)
    assert bins.reflex.state is ReflexState.CALM
    bins.see(195, 195, 195)
    assert bins.reflex.state is ReflexState.CALM
    bins.see(390, 390)
    assert bins.reflex.state is ReflexState.LEAST


def test_a_cap_that_comes_down_slowly_is_no_excuse():
    bins = Bins(Devices(floor_w=100, delay_s=0.3), cap_w=400.0)
    for step in range(1, 21):
        bins.see(390, cap_w=400 - 10 * step)
    assert bins.reflex.state is not ReflexState.CALM


def test_the_grain_of_a_small_boards_meter_is_not_punished():
    bins = Bins(cap_w=10.0)
    assert bins.see(*[11.4] * 20).state is ReflexState.CALM
    assert bins.see(*[11.6] * 3).state is ReflexState.SQUEEZED


def test_no_cap_no_reflex():
    bins = Bins()
    bins.see(235, 235)
    change = bins.reflex.observe(9.0, 500, None, QUICK)
    assert not change.begun
    assert (bins.reflex.state, bins.reflex.share) == (ReflexState.CALM, 1)


@given(st.lists(st.tuples(st.floats(0, 800), st.one_of(st.none(), st.floats(10, 400)), st.booleans()), max_size=80))
def test_whatever_happens_it_never_asks_for_more_than_the_lease_and_ends_what_it_began(rows):
    reflex, open_ = Reflex(), False
    for number, (power_w, cap_w, loose) in enumerate(rows):
        change = reflex.observe(number / 10, power_w, cap_w, Devices(50, 0.2, "loose" if loose else ""))
        assert 0 <= reflex.share <= 1
        if change is not None:
            assert change.begun is not open_
            open_ = change.begun
        assert open_ is (reflex.state is not ReflexState.CALM)


@given(st.lists(st.floats(10, 400), min_size=1, max_size=60), st.floats(0.05, 1.0))
def test_what_is_allowed_is_the_highest_limit_that_may_still_be_in_force(limits, delay_s):
    allowed = Allowed()
    for number, limit_w in enumerate(limits):
        now_s = number / 10
        got = allowed.take(now_s, limit_w, delay_s)
        began = [(i / 10, w) for i, w in enumerate(limits[: number + 1])]
        ended = [*(at for at, _ in began[1:]), now_s]
        held = [w for (_, w), until in zip(began, ended, strict=True) if until > now_s - delay_s + 1e-9 or w == limit_w]
        if began[0][0] < now_s - delay_s - 1e-9:
            assert got >= limit_w
            assert got <= max(limits[: number + 1])
            assert got == pytest.approx(max(held)) or got >= max(held) - 1e-9


def test_a_knob_is_doubted_after_a_second_over_its_limit_and_not_before():
    watch = Obedience(0.1)
    assert not any(watch.doubted(80, 100, 0.3) for _ in range(10))
    assert not any(watch.doubted(120, 100, 0.3) for _ in range(9))
    assert watch.doubted(120, 100, 0.3)
    watch.forget()
    assert not any(watch.doubted(120, 100, 0.3) for _ in range(9))
