from datetime import UTC, datetime

import numpy as np
from bench.accounting.forecast import hourly, measure, trial_from_s

from evenwatt_collector.carbon.forecast import History

from .series import HOUR_S, START_S, history, made


def _written(path, whole, header="utc_time,intensity"):
    lines = [
        f"{datetime.fromtimestamp(whole.start_s + i * whole.step_s, UTC):%Y-%m-%dT%H:%M:%SZ},{value}"
        for i, value in enumerate(whole.values)
    ]
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return path


def test_figures_of_a_series_and_a_word_for_one_that_is_absent(tmp_path):
    said = []
    paths = [_written(tmp_path / "xx_2021.csv", made(70)), tmp_path / "yy.csv"]
    found = measure(paths, said.append)
    assert list(found) == ["xx"]
    figures = found["xx"]
    assert 0 < figures["mape_day1"] < figures["persistence_day1"]
    assert 0 < figures["mape_96h"] < figures["persistence_96h"]
    assert 0 <= figures["coverage_90"] <= 100
    assert list(figures["skill"]) == ["0-6 h", "6-24 h", "24-48 h", "48-72 h", "72-96 h"]
    assert any("yy: skipped" in text for text in said)


def test_half_hours_become_hours_and_an_hour_that_is_half_known_is_unknown(tmp_path):
    path = _written(tmp_path / "a.csv", history([1.0, 3.0, 5.0, 7.0, 9.0], 1800), "Time,Carbon Intensity")
    values = hourly(path).values
    np.testing.assert_array_equal(values[:2], [2.0, 6.0])
    assert np.isnan(values[2])


def test_the_last_six_months_are_tested_and_half_of_what_is_shorter():
    year = History(start_s=START_S - 366 * 86_400, step_s=HOUR_S, values=np.zeros((366 + 365) * 24))
    assert datetime.fromtimestamp(trial_from_s(year), UTC) == datetime(2021, 7, 1, tzinfo=UTC)
    short = History(start_s=START_S, step_s=HOUR_S, values=np.zeros(40 * 24))
    assert datetime.fromtimestamp(trial_from_s(short), UTC) == datetime(2021, 1, 21, tzinfo=UTC)
