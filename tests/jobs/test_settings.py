"""The collector's ``[jobs]`` table."""

from __future__ import annotations

import pytest

from evenwatt_collector.carbon import IntensityTable
from evenwatt_collector.settings import load
from evenwatt_daemon import Failure

TABLE = IntensityTable.packaged()
KEYS = '[keys]\nprivate_key = "k"\ntrust = "t"\nroot = "r"\n'


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "collector.toml"
        path.write_text(text)
        return load(str(path), TABLE).jobs

    return read


def test_nothing_is_started_unless_it_is_asked_for(read):
    off = load(None, TABLE).jobs
    assert (off.enabled, off.slot_s, off.horizon_s) == (False, 1800, 96 * 3600)
    on = read(f'[jobs]\nenabled = true\nslot = "15m"\nhorizon = "2d"\n{KEYS}')
    assert (on.enabled, on.slot_s, on.horizon_s) == (True, 900, 172_800)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("enabled = true", r"key 'jobs.enabled': there is no \[keys\] table"),
        ('slot = "soon"', "key 'jobs.slot': found 'soon': expected a length of time"),
        ('slot = "7m"', "key 'jobs.slot': found '7m', expected a length of at least 5 s that divides a day"),
        ('slot = "1s"', "key 'jobs.slot'"),
        ('slot = "2d"', "that divides a day"),
        ('horizon = "30m"', "key 'jobs.horizon': '30m' in slots of '30m': expected 2 to 2,000 of them"),
        ('horizon = "52w"', "expected 2 to 2,000 of them"),
        ("risk = 2", "key 'jobs.risk'"),
        ("replan = 5", "unknown key 'jobs.replan': did you mean 'replan_s'"),
    ],
)
def test_settings_that_make_no_sense(read, text, said):
    with pytest.raises(Failure, match=said):
        read(f"[jobs]\n{text}\n")
