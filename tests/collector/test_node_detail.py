"""A node's details join inventory and latest window; pulses hold the fleet's rows in columns."""

from __future__ import annotations

from evenwatt_collector.fleet import Fleet
from evenwatt_collector.live_stream import Hub
from evenwatt_collector.node_detail import node_detail
from evenwatt_collector.telling import PULSE, Told, pulses
from evenwatt_wire import LeaseInForce
from evenwatt_wire.messages import LeaseState
from tests.collector.said import ZONE, birth, live


def test_before_and_after_its_first_window():
    fleet = Fleet()
    fleet.on_birth(ZONE, birth(), 10.0)
    before = node_detail(fleet.find(ZONE, "n1"), 11.0)
    assert before["counters"][0]["id"] == "package-0"
    assert before["counters"][0]["power_w"] is None
    assert before["lease"] is None
    fleet.on_live(ZONE, live(power_w=120.0, lease=LeaseInForce(LeaseState.LEASED, 150.0, 0, 1, 60.0)), 12.0)
    after = node_detail(fleet.find(ZONE, "n1"), 13.5)
    assert after["total"]["power_w"] == 120.0
    assert after["age_s"] == 1.5
    assert after["lease"]["by"] == "operator"
    assert after["lease"]["cap_w"] == 150.0


def test_a_pulse_names_what_is_the_same_once():
    rows = [
        {"zone": "a", "node": name, **dict.fromkeys(PULSE), "power_w": watts, "state": "ready"}
        for name, watts in (("n1", 100.04), ("n2", None))
    ]
    told = pulses([*rows, {**rows[0], "zone": "b"}])
    assert told["a"]["node"] == ["n1", "n2"]
    assert told["a"]["power_w"] == [100.0, None]
    assert told["a"]["all"]["state"] == "ready"
    assert "power_w" not in told["a"]["all"]
    assert told["b"]["all"]["power_w"] == 100.04


def test_what_nobody_heard_is_not_told_to_who_comes_later():
    hub = Hub()
    told, status = Told(hub), {"zones": [], "nodes": [], "workloads": [{"workload": "w"}], "jobs": [], "events": []}
    first = hub.subscribe(["collector", "workloads"])
    told.rest()
    told.tell(status, 1_000)
    assert b"1000" in first.take()
    told.rest()
    assert b"1000" in hub.subscribe(["collector"]).take()  # while somebody hears, a new reader gets it at once
    for reader in list(hub._subscribers):
        hub.unsubscribe(reader)
    told.rest()
    late = hub.subscribe(["collector", "workloads"])
    assert late.take() == b""
    told.tell(status, 9_000)
    assert late.take().count(b"event: ") == 2
