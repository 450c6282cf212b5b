"""Windows that caps are judged by: of one run, alone on its node, under one cap, and not a joule more or less."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.planning.meter import RunMeter
from evenwatt_wire import RunReport, RunState


def node(wall_ms, total_j, cap_w):
    return SimpleNamespace(live=SimpleNamespace(wall_ms=wall_ms, total=SimpleNamespace(total_j=total_j)), cap_w=cap_w)


def told(seq, wall_ms, units):
    return RunReport(
        node="n1", boot="0" * 16, job="a" * 12, run="b" * 12, seq=seq, wall_ms=wall_ms, state=RunState.RUNNING,
        duration_s=wall_ms / 1000, energy_j=0.0, units=[("images", units)],
    )  # fmt: skip


def test_energy_at_a_report_lies_between_the_live_windows_around_it():
    meter = RunMeter("images")
    meter.look(node(0, 0.0, 200.0), alone=True)
    meter.take(told(0, 500, 10.0))
    assert meter.windows() == []
    meter.look(node(1000, 100.0, 200.0), alone=True)
    assert meter.windows() == []  # the first report only opens a window
    meter.take(told(1, 2500, 30.0))
    meter.look(node(2000, 200.0, 200.0), alone=True)
    meter.look(node(3000, 340.0, 200.0), alone=True)
    (window,) = meter.windows()
    assert (window.units, window.seconds, window.cap_w) == (20.0, 2.0, 200.0)
    assert window.energy_j == pytest.approx(270.0 - 50.0)
    assert window.clean


@pytest.mark.parametrize("what", ["cap", "company"])
def test_a_window_in_which_something_changed_is_not_clean(what):
    meter = RunMeter("images")
    meter.take(told(0, 100, 0.0))
    for second in range(6):
        cap_w = 150.0 if what == "cap" and second == 3 else 200.0
        meter.look(node(second * 1000, 100.0 * second, cap_w), alone=not (what == "company" and second == 3))
    meter.take(told(1, 4100, 40.0))
    windows = meter.windows()
    assert [window.clean for window in windows] == [False]


def test_units_that_fall_and_nodes_without_a_cap_make_no_window():
    meter = RunMeter("images")
    for second in range(9):
        meter.look(node(second * 1000, 100.0 * second, None if second < 4 else 200.0), alone=True)
    for seq, (wall_ms, units) in enumerate([(500, 5.0), (2500, 9.0), (5500, 2.0), (7500, 8.0)]):
        meter.take(told(seq, wall_ms, units))
    assert [(window.units, window.clean) for window in meter.windows()] == [(6.0, True)]


@given(st.lists(st.tuples(st.integers(600, 5000), st.floats(0, 50)), min_size=3, max_size=20), st.integers(0, 999))
def test_windows_of_a_steady_run_add_up_to_all_that_the_node_used_meanwhile(steps, first_ms):
    meter, at_ms, units = RunMeter("images"), first_ms, 0.0
    meter.take(told(0, at_ms, units))
    for seq, (dt_ms, done) in enumerate(steps, 1):
        at_ms, units = at_ms + dt_ms, units + done
        meter.take(told(seq, at_ms, units))
    for second in range(at_ms // 1000 + 2):
        meter.look(node(second * 1000, 120.0 * second, 200.0), alone=True)
    windows = meter.windows()
    assert sum(window.energy_j for window in windows) == pytest.approx(0.12 * (at_ms - first_ms))
    assert sum(window.units for window in windows) == pytest.approx(units)
    assert sum(window.seconds for window in windows) == pytest.approx((at_ms - first_ms) / 1000)


def test_a_cap_that_is_read_back_a_little_differently_is_the_same():
    meter = RunMeter("images")
    meter.take(told(0, 100, 0.0))
    for second in range(6):
        meter.look(node(second * 1000, 100.0 * second, 495.0 - 2.6 * (second % 2)), alone=True)
    meter.take(told(1, 4100, 40.0))
    assert [(window.cap_w, window.clean) for window in meter.windows()] == [(495.0, True)]
