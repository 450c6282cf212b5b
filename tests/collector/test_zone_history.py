"""The last hour of each zone is bounded, in steps, and begins anew when the clock is set back."""

from __future__ import annotations

from evenwatt_collector.zone_history import _SAMPLES, STEP_S, ZoneHistory
from evenwatt_wire import ZoneSummary


def summary(zone="hall", power_w=100.0, budget_w=None, nodes=1):
    return ZoneSummary(
        zone=zone, wall_ms=0, epoch=1, band="off", power_w=power_w, budget_w=budget_w, leased_w=power_w,
        emissions_g_per_h=1.0, emissions_g=1.0, intensity_g_per_kwh=300.0, intensity_source="t", pue=1.0,
        nodes=nodes, silent=0, capped=0,
    )  # fmt: skip


def test_a_step_is_its_mean_and_what_is_not_known_is_null():
    history = ZoneHistory()
    for second in range(11):
        history.add(1_000.0 + second, [summary(power_w=float(second))])
    told = history.document("hall", 0.0)
    assert told["at_s"] == [1000.0, 1005.0, 1010.0]
    assert told["power_w"] == [0.0, 3.0, 8.0]
    assert told["budget_w"] == [None, None, None]
    assert history.document("hall", 1006.0)["power_w"] == [8.0]
    assert history.document("elsewhere", 0.0) is None


def test_before_a_node_is_heard_its_power_is_not_known_and_not_nothing():
    history = ZoneHistory()
    for second in range(6):
        history.add(1_000.0 + second, [summary(power_w=100.0 if second > 3 else 0.0, nodes=int(second > 3))])
    assert history.document("hall", 0.0)["power_w"] == [None, 100.0]
    assert history.document("hall", 0.0)["leased_w"] == [None, 100.0]
    assert history.document("hall", 0.0)["intensity_g_per_kwh"] == [300.0, 300.0]


def test_an_hour_is_kept_and_zones_are_bounded():
    history = ZoneHistory()
    for step in range(_SAMPLES + 10):
        history.add(step * STEP_S, [summary()])
    told = history.document("hall", 0.0)["at_s"]
    assert len(told) == _SAMPLES
    assert told[0] == 10 * STEP_S
    history.add(1e6, [summary(f"z{i}") for i in range(300)])
    assert history.document("z254", 0.0) is not None
    assert history.document("z255", 0.0) is None


def test_a_clock_set_back_begins_anew():
    history = ZoneHistory()
    history.add(1_000.0, [summary(power_w=1.0)])
    history.add(500.0, [summary(power_w=2.0)])
    assert history.document("hall", 0.0)["power_w"] == [2.0]
