"""A collector whose machine sleeps has not been seen for as long as it slept, whatever its own clock counts."""

from __future__ import annotations

from evenwatt_collector.fleet import Fleet
from evenwatt_collector.standby.settings import StandbySettings
from evenwatt_collector.standby.tenure import Tenure, hold_s
from evenwatt_collector.storage import connect
from tests.support import Suspends


async def test_whoever_has_slept_acts_no_more_before_a_sign_of_its_own_comes_through(tmp_path, monkeypatch):
    suspends = Suspends(monkeypatch)
    tenure = Tenure(StandbySettings(name="a"), 7, hold_s(), -1.0, connect(str(tmp_path / "ledger.db")), Fleet())
    assert tenure.may_act()
    before = tenure.beat("z", tenure.next_beat())
    suspends.slept_s = 60.0  # its standby has taken over meanwhile
    assert not tenure.may_act()
    tenure.heard(before)  # said before it slept
    assert not tenure.may_act()
    tenure.heard(tenure.beat("z", tenure.next_beat()))
    assert tenure.may_act()
    tenure.close()
    assert not tenure.may_act()  # it has given the lease back: whatever still runs here orders nothing more
