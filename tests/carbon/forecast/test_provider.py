import numpy as np
import pytest

from evenwatt_collector.carbon.forecast import Forecaster, check_provider
from evenwatt_collector.carbon.series import Basis, Kind, Reading, Standing

from .series import DAY_S, HOUR_S, START_S, made

NOW_S = START_S + 60 * DAY_S


@pytest.fixture(scope="module")
def ours():
    forecaster = Forecaster(HOUR_S, 96 * HOUR_S)
    forecaster.fit(made(60), NOW_S)
    return forecaster


def _said(whole, factor, *, ahead_s=12 * HOUR_S, step_s=HOUR_S, standing=Standing.FORECAST, source="them"):
    """Return forecasts of the last 20 days that are off by a factor."""
    return [
        Reading(
            grid="DE",
            start_s=start_s,
            end_s=start_s + step_s,
            g_per_kwh=factor * float(whole.values[(start_s - START_S) // HOUR_S]),
            kind=Kind.AVERAGE,
            basis=Basis.LIFECYCLE,
            source=source,
            standing=standing,
            issued_s=start_s - ahead_s,
            recorded_s=start_s - ahead_s,
        )
        for start_s in range(NOW_S - 20 * DAY_S, NOW_S, step_s)
    ]


def test_a_better_source_is_used_and_said(ours):
    (score,) = check_provider(_said(made(60), 1.01), made(60), ours)
    assert (score.source, score.block, score.better) == ("them", "6-24 h", "them")
    assert score.theirs == pytest.approx(0.01)
    assert score.ours > 0.01
    assert "them (MAPE 1.0 % of them" in score.sentence()


def test_a_worse_source_is_not(ours):
    (score,) = check_provider(_said(made(60), 1.5), made(60), ours)
    assert score.better == "ours"
    assert "our own forecast" in score.sentence()


def test_each_source_and_block_has_its_own(ours):
    said = [
        *_said(made(60), 1.01),
        *_said(made(60), 1.5, ahead_s=60 * HOUR_S, source="others"),
        *_said(made(60), 1.0, ahead_s=200 * HOUR_S),
    ]
    found = check_provider(said, made(60), ours)
    assert [(score.source, score.block, score.better) for score in found] == [
        ("others", "48-72 h", "ours"),
        ("them", "6-24 h", "them"),
    ]


def test_half_hours_are_averaged_over_the_hour_they_lie_in(ours):
    said = [
        reading if reading.start_s % HOUR_S else _off(reading)
        for reading in _said(made(60), 1.1, step_s=HOUR_S // 2, ahead_s=12 * HOUR_S)
    ]
    issued = [_issued(reading, reading.start_s // HOUR_S * HOUR_S - 12 * HOUR_S) for reading in said]
    (score,) = check_provider(issued, made(60), ours)
    assert score.theirs == pytest.approx(0.0, abs=1e-9)


def _off(reading):
    return _replaced(reading, g_per_kwh=reading.g_per_kwh * 0.9 / 1.1)


def _issued(reading, issued_s):
    return _replaced(reading, issued_s=issued_s)


def _replaced(reading, **new):
    return Reading(**{name: getattr(reading, name) for name in Reading.__slots__} | new)


def test_few_forecasts_prove_nothing(ours):
    (score,) = check_provider(_said(made(60), 1.0)[:30], made(60), ours)
    assert score.better == "unknown"
    assert "40 are needed" in score.sentence()


def test_what_is_no_forecast_does_not_count(ours):
    assert check_provider(_said(made(60), 1.0, standing=Standing.ESTIMATED), made(60), ours) == ()
    assert check_provider(_said(made(60), 1.0, ahead_s=-2 * HOUR_S), made(60), ours) == ()
    (score,) = check_provider(_said(made(60), 1.0), made(30), ours)
    assert score.n == 0
    assert np.isnan(score.theirs)
