"""The controller's surroundings: rules become arrays, decisions become orders, zones lie in zones."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from evenwatt_collector.control import OnLost, ZoneSpec
from evenwatt_collector.fleet import Fleet
from evenwatt_collector.rules import NodeRule, ZoneLimit
from evenwatt_collector.steering import Steering
from evenwatt_wire import Ack, NodeSummary, Quality
from evenwatt_wire.command import Code, Op
from tests.collector.said import BOOT, birth, live, state


class Rules:
    """Rules as a test writes them."""

    def __init__(self, zones, limits, nodes=None):
        self.zones, self._limits, self._nodes = zones, limits, nodes or {}

    def limits(self, _wall_s):
        return self._limits

    def node(self, _zone, name):
        return self._nodes.get(name, NodeRule())

    def moved(self):
        return ()


def add(fleet, zone, name, power_w=300.0, now_s=0.0, seq=1, **known):
    fleet.on_state(zone, state(name), now_s)
    fleet.on_birth(zone, birth(name, **known), now_s)
    fleet.on_live(zone, live(name, power_w=power_w, seq=seq), now_s)


def everything(_zone):
    return True


def answer(steering, sendings, now_s):
    for sending in sendings:
        order = sending.order
        ack = Ack(order.node, "0" * 32, 1, order.seq, Code.APPLIED, "", 0, after_w=order.cap_w)
        steering.acknowledge(sending.zone, ack, now_s)


def test_a_rack_in_a_site_shares_the_sites_limit():
    fleet = Fleet()
    for zone, name in (("rack-a", "a1"), ("rack-a", "a2"), ("rack-b", "b1")):
        add(fleet, zone, name)
    zones = [ZoneSpec("site"), ZoneSpec("rack-a", "site"), ZoneSpec("rack-b", "site")]
    steering = Steering(Rules(zones, {"site": ZoneLimit(budget_w=900.0), "rack-a": ZoneLimit(budget_w=500.0)}), 0.0, 1)
    sent = steering.step(0.0, 0.0, fleet, everything, hurry=True)
    assert {(s.zone, s.order.node) for s in sent} == {("rack-a", "a1"), ("rack-a", "a2"), ("rack-b", "b1")}
    assert steering.inside("site") == ["rack-a", "rack-b"]
    site, rack_b = steering.zone("site"), steering.zone("rack-b")
    assert site.power_w == 900.0
    assert rack_b.budget_w is None, "it has no limit of its own, and obeys the site's"
    for second in range(1, 40):
        answer(steering, sent, second - 0.5)
        for zone, name in (("rack-a", "a1"), ("rack-a", "a2"), ("rack-b", "b1")):
            fleet.on_live(zone, live(name, power_w=250.0, seq=second + 1), float(second))
        sent = steering.step(float(second), 0.0, fleet, everything, hurry=False)
    assert steering.zone("site").most_w <= 0.98 * 900.0
    assert steering.zone("rack-a").most_w <= 0.98 * 500.0


def test_a_rule_stands_over_what_a_node_says():
    fleet = Fleet()
    add(fleet, "z", "n1")
    rule = NodeRule(kind="batch", priority=1, weight=2.0, floor_w=120.0, ceiling_w=200.0, on_lost=OnLost.HOLD)
    steering = Steering(Rules([ZoneSpec("z")], {"z": ZoneLimit(budget_w=1000.0)}, {"n1": rule}), 0.0, 1)
    (sent,) = steering.step(0.0, 0.0, fleet, everything, hurry=True)
    seen = steering._observing.seen
    assert (seen.priority[0], seen.weight[0], seen.floor_w[0], seen.ceiling_w[0]) == (1, 2.0, 120.0, 200.0)
    assert sent.order.fallback_w == sent.order.cap_w
    assert steering.rule("z", "n1").kind == "batch"


def test_dry_run_sends_nothing_and_says_what_it_would():
    fleet = Fleet()
    add(fleet, "z", "n1", power_w=350.0)
    add(fleet, "z", "n2", power_w=350.0)
    limit = ZoneLimit(budget_w=500.0, dry_run=True)
    steering = Steering(Rules([ZoneSpec("z")], {"z": limit}), 0.0, 1)
    assert steering.step(0.0, 0.0, fleet, everything, hurry=True) == []
    would_w = [steering.would_w(steering.slot("z", name)) for name in ("n1", "n2")]
    assert sum(would_w) == pytest.approx(0.995 * 0.98 * 500.0)
    assert any("dry run" in alarm for alarm in steering.zone("z").alarms)


def test_floors_above_the_limit_pause_what_rule_and_node_both_allow():
    fleet = Fleet()
    add(fleet, "z", "n1", power_w=300.0, pausable=["job", "other"])
    add(fleet, "z", "n2", power_w=300.0, pausable=["job"])
    rules = Rules(
        [ZoneSpec("z")], {"z": ZoneLimit(budget_w=150.0, why="a test")}, {"n1": NodeRule(targets=("job", "unknown"))}
    )
    steering = Steering(rules, 0.0, 1)
    pauses = []
    for second in range(12):
        for name in ("n1", "n2"):
            fleet.on_live("z", live(name, power_w=120.0, seq=second + 2), float(second))
        sent = steering.step(float(second), 0.0, fleet, everything, hurry=False)
        answer(steering, [s for s in sent if s.order.op is Op.CAP], second + 0.3)
        pauses += [s.order for s in sent if s.order.op is Op.PAUSE]
    assert {(order.node, order.target) for order in pauses} == {("n1", "job")}
    assert all(order.ttl_s == 10.0 for order in pauses)
    assert "150 W (a test)" in pauses[0].reason
    seqs = [order.seq for order in pauses]
    assert seqs == sorted(set(seqs))


def test_other_rules_keep_what_is_out_counted_and_zones_may_come_and_go():
    fleet = Fleet()
    add(fleet, "z", "n1")
    add(fleet, "y", "n2")
    steering = Steering(Rules([ZoneSpec("z")], {"z": ZoneLimit(budget_w=1000.0)}), 0.0, 1)
    answer(steering, steering.step(0.0, 0.0, fleet, everything, hurry=True), 0.2)
    both = {"z": ZoneLimit(budget_w=1000.0), "y": ZoneLimit(budget_w=500.0)}
    steering.use(Rules([ZoneSpec("y"), ZoneSpec("z")], both))
    sent = steering.step(1.0, 0.0, fleet, everything, hurry=False)
    assert ("y", "n2") in {(s.zone, s.order.node) for s in sent}
    assert steering.zone("z").most_w <= 1000.0
    steering.use(Rules([ZoneSpec("y")], both))
    steering.step(2.0, 0.0, fleet, everything, hurry=False)
    assert steering.zone("z") is None
    steering.use(Rules([ZoneSpec("y")], {"y": ZoneLimit(budget_w=inf)}))
    assert steering.step(3.0, 0.0, fleet, everything, hurry=False) == []
    assert steering.zone("y") is None


def test_a_paused_node_says_so_and_counts_until_then():
    fleet = Fleet()
    add(fleet, "z", "n1", pausable=["job"])
    summary = NodeSummary(
        node="n1", boot=BOOT, wall_ms=0, power_w=0.0, energy_j=0.0, quality=Quality.MEASURED, paused=["job"]
    )
    fleet.on_summary("z", summary)
    steering = Steering(Rules([ZoneSpec("z")], {"z": ZoneLimit(budget_w=1000.0)}), 0.0, 1)
    steering.step(0.0, 0.0, fleet, everything, hurry=True)
    assert steering._observing.seen.paused[0]
    assert not steering._observing.seen.pausable[0], "the rules allow nothing"
    assert np.isnan(steering._dry_w[0])
