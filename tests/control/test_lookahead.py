import numpy as np
import pytest

from evenwatt_collector.control.lookahead import Forecast
from tests.control.named import Named, Seen

NOBODY = np.zeros(1, dtype=bool)


def drive(powers, *, joins=()):
    forecast = Forecast(1)
    for second, power in enumerate(powers):
        forecast.take(np.array([float(power)]), float(second), np.array([second in joins]))
    return forecast


def test_a_steady_load_is_expected_to_stay():
    assert drive([500.0] * 60).rise_w(2.0)[0] == pytest.approx(0.0, abs=1e-6)


def test_a_ramp_is_expected_to_go_on():
    rise = drive([100.0 + 10 * second for second in range(120)]).rise_w(2.0)[0]
    assert 20 <= rise <= 25


def test_a_fall_is_not_expected_to_be_a_rise():
    falling = drive([1000.0 - 5 * second for second in range(120)])
    assert falling.rise_w(2.0)[0] == pytest.approx(falling.rise_w(0.0)[0])


def test_nodes_that_join_are_no_error():
    assert drive([0.0] * 5 + [900.0] * 40, joins=(5,)).rise_w(2.0)[0] == pytest.approx(0.0, abs=1e-6)


def test_readings_at_the_same_moment_are_left_out():
    forecast = drive([500.0] * 5)
    forecast.take(np.array([9e9]), 4.01, NOBODY)
    assert forecast.rise_w(2.0)[0] == pytest.approx(0.0, abs=1e-6)


def test_a_rise_of_load_that_nobody_steers_takes_unused_headroom_and_nothing_in_use():
    """Two idle nodes have headroom to give, a busy one keeps what it uses."""
    zone, caps = Named(2000), {}
    for now in range(60):
        loose = Seen("meter", controllable=False, power_w=200 + 8 * now, peak_w=200 + 8 * now)
        busy = Seen("busy", power_w=400, peak_w=400)
        idle = [Seen(f"idle{i}", power_w=80, peak_w=80) for i in range(2)]
        decision = zone.step(float(now), [loose, busy, *idle])
        for grant in decision.grants:
            caps[grant.node] = grant.cap_w
            zone.acknowledge(grant.node, grant.seq, "applied", grant.cap_w, now + 0.2)
    now_w, used_w = 200 + 8 * 59, sum(caps.values())
    assert caps["busy"] >= 400
    assert now_w + used_w + 8 * zone.controller.delay_s <= 0.98 * 2000
