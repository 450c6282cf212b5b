"""A small storm: what ``./dev bench storm`` measures with 200 nodes and ten minutes holds with few and seconds."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.support import need

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from storming.storm import Size, run_storm


def test_a_stopped_collector_comes_back_to_all_windows_and_every_joule():
    need(shutil.which("mosquitto", path="/usr/sbin:/usr/bin"), "mosquitto", "mosquitto")
    size = Size(agents=20, stopped_s=3.0, burst_s=2.0, ledger_s=1.0, steady_s=1.0, variants=("stop",))
    found = run_storm(size)
    assert found["variants"]["stop"]["records_waiting"] > 20
    assert (found["joules_lost"], found["joules_doubled"]) == (0.0, 0.0)
    assert found["records_stored"] == found["records"] > 60
    assert found["records_waiting_in_the_end"] == 0
