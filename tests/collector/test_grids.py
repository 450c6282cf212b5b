"""What counts around now: what happened, the better forecast, values that are held, the annual average."""

from __future__ import annotations

from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.grids import Grids
from tests.storage.made import HOUR, T0, facts, reading


def factor(grids, at_s, now_s=None):
    found = grids.factor(facts(pue=1.0), at_s, at_s if now_s is None else now_s)
    return found.intensity_g_per_kwh, found.source, found.standing.value


def ahead(value, source, recorded_s=T0):
    return reading(T0, T0 + HOUR, value, recorded_s=recorded_s, standing=Standing.FORECAST, source=source)


def test_what_happened_beats_forecasts_and_the_leading_forecast_the_others():
    grids = Grids({"DE": ("provider",)})
    assert factor(grids, T0 + 60) == (400.0, "", "fallback")
    grids.take([ahead(300.0, "provider"), ahead(200.0, "evenwatt")], T0)
    assert factor(grids, T0 + 60) == (300.0, "provider", "forecast")
    grids.lead("DE", "evenwatt")
    assert factor(grids, T0 + 60) == (200.0, "evenwatt", "forecast")
    grids.lead("DE", None)
    assert factor(grids, T0 + 60) == (300.0, "provider", "forecast")
    grids.lead("DE", "evenwatt")
    grids.take([reading(T0, T0 + HOUR, 111.0, source="provider")], T0 + 120)
    assert factor(grids, T0 + 60, T0 + 120) == (111.0, "provider", "measured")


def test_the_newest_value_is_held_for_two_hours_and_then_it_is_the_annual_average():
    grids = Grids({})
    grids.take([reading(T0 - HOUR, T0, 250.0)], T0)
    assert factor(grids, T0 + HOUR)[0] == 250.0
    assert factor(grids, T0 + 2 * HOUR)[0] == 250.0
    assert factor(grids, T0 + 2 * HOUR + 1)[2] == "fallback"


def test_a_correction_replaces_what_its_source_said_and_an_old_word_does_not():
    grids = Grids({})
    grids.take([reading(T0, T0 + HOUR, 100.0, recorded_s=T0 + HOUR)], T0 + HOUR)
    grids.take([reading(T0, T0 + HOUR, 120.0, recorded_s=T0 + 2 * HOUR)], T0 + 2 * HOUR)
    grids.take([reading(T0, T0 + HOUR, 90.0, recorded_s=T0 + HOUR, issued_s=T0)], T0 + 2 * HOUR)
    assert factor(grids, T0 + 60, T0 + 2 * HOUR)[0] == 120.0


def test_a_forecast_is_told_up_to_its_first_hole():
    grids = Grids({})
    hours = [
        reading(T0 + i * HOUR, T0 + (i + 1) * HOUR, 100.0 + i, recorded_s=T0, standing=Standing.FORECAST)
        for i in (0, 1, 3)
    ]
    grids.take(hours, T0)
    assert [r.g_per_kwh for r in grids.forecast("DE", T0 + 60)] == [100.0, 101.0]
