"""What no knob reaches is set aside while it lasts, and what a node promises to hold knows of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.fixed import Fixed
from evenwatt_agent.governor import Governor
from tests.agent.test_actuators import knobs, xeon  # noqa: F401  (a fixture)

watts = st.floats(-5.0, 500.0)


@given(st.lists(watts, max_size=400))
def test_set_aside_is_the_peak_of_ten_seconds_and_counted_on_is_what_lasted(powers_w):
    fixed = Fixed()
    for power_w in powers_w:
        fixed.take(power_w)
    seen_w = [max(0.0, power_w) for power_w in powers_w]
    assert fixed.peak_w == max(seen_w[-100:], default=0.0)
    assert fixed.lasting_w == max(map(min, zip(seen_w, seen_w[1:], seen_w[2:], strict=False)), default=0.0)


def test_one_wild_bin_is_set_aside_for_ten_seconds_and_never_counted_on():
    fixed = Fixed()
    for power_w in (20.0, 20.0, 20.0, 300.0, 20.0):
        fixed.take(power_w)
    assert (fixed.peak_w, fixed.lasting_w) == (300.0, 20.0)
    for _ in range(100):
        fixed.take(20.0)
    assert fixed.peak_w == 20.0


def test_what_lasted_is_forgotten_after_ten_minutes():
    fixed = Fixed()
    for power_w in [90.0] * 3 + [20.0] * 6000:
        fixed.take(power_w)
    assert fixed.lasting_w == 20.0


def test_a_node_does_not_promise_a_floor_that_its_memory_alone_would_break(xeon, tmp_path):  # noqa: F811
    governor = Governor(knobs(xeon), {}, 0.1, tmp_path)
    reserve_w, floor_w, ceiling_w = 45.0, governor.floor_w, governor.ceiling_w
    for _ in range(3):
        governor.observe(260.0, {"package-0": 90.0, "package-1": 90.0})
    assert governor.floor_w == pytest.approx(floor_w + 80.0 - reserve_w)
    assert governor.ceiling_w == pytest.approx(ceiling_w + 80.0 - reserve_w)
    outcome = governor.apply(governor.floor_w)
    assert not outcome.clamped, "what is promised is held"
    assert outcome.confirmed_w == pytest.approx(governor.floor_w, abs=0.5)
