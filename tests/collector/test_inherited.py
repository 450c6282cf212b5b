"""What a collector finds: leases of an earlier one, of an operator, and of its own from before a zone was away."""

from __future__ import annotations

import pytest

from evenwatt_collector.control import ZoneSpec
from evenwatt_collector.fleet import Fleet
from evenwatt_collector.rules import ZoneLimit
from evenwatt_collector.steering import Steering
from evenwatt_wire import LeaseInForce
from evenwatt_wire.messages import LeaseState
from tests.collector.said import birth, live, state
from tests.collector.test_steering import Rules, add, answer, everything


def out_w(steering, now_s):
    return float(steering._controller.accounts.outstanding(now_s)[steering.slot("z", "n1")])


@pytest.mark.parametrize(("epoch", "most_w"), [(7, 100.0), (0, 400.0)])
def test_a_lease_of_an_operator_hides_what_an_earlier_collector_allowed(epoch, most_w):
    fleet, steering = Fleet(), Steering(Rules([ZoneSpec("z")], {"z": ZoneLimit(budget_w=100.0)}), 1.0, 8)
    fleet.on_state("z", state("n1"), 0.0)
    fleet.on_birth("z", birth("n1", floor_w=50.0, ceiling_w=400.0), 0.0)
    fleet.on_live("z", live("n1", power_w=90.0, lease=LeaseInForce(LeaseState.LEASED, 100.0, epoch, 9, 8.0)), 0.0)
    assert steering.step(0.0, 0.0, fleet, everything, hurry=True) == []
    (sent,) = steering.step(1.5, 0.0, fleet, everything, hurry=True)
    assert sent.order.cap_w <= 100.0
    assert out_w(steering, 1.5) == most_w  # it counts until the node has answered
    answer(steering, [sent], 1.7)
    steering.step(2.5, 0.0, fleet, everything, hurry=True)
    assert out_w(steering, 2.5) == sent.order.cap_w


def test_a_node_that_fell_silent_may_rest_at_its_fallback_whatever_it_held_when_it_was_heard():
    fleet, steering = Fleet(), Steering(Rules([ZoneSpec("z")], {"z": ZoneLimit(budget_w=1000.0)}), 5.0, 8)
    fleet.on_state("z", state("n1"), 0.0)
    fleet.on_birth("z", birth("n1"), 0.0)
    fleet.on_live("z", live("n1", power_w=70.0, lease=LeaseInForce(LeaseState.LEASED, 80.0, 7, 9, 8.0)), 0.0)
    for now_s, most_w in ((1.0, 0.0), (6.5, 400.0), (23.0, 400.0), (24.5, 150.0)):
        assert steering.step(now_s, 0.0, fleet, everything, hurry=True) == []
        assert out_w(steering, now_s) == most_w


def test_a_zone_that_is_away_for_a_moment_comes_back_with_what_was_granted_in_it():
    fleet, rules = Fleet(), Rules([ZoneSpec("z"), ZoneSpec("y")], {"z": ZoneLimit(budget_w=1000.0)})
    add(fleet, "z", "n1", power_w=149.0)
    steering = Steering(rules, 0.0, 1)
    (sent,) = steering.step(0.0, 0.0, fleet, everything, hurry=True)  # on its way
    assert sent.order.cap_w > 200.0
    held = live("n1", power_w=149.0, seq=2, lease=LeaseInForce(LeaseState.FALLBACK, 150.0))
    fleet.on_live("z", held, 0.1)
    steering.use(Rules([ZoneSpec("y")], {"y": ZoneLimit(budget_w=1000.0)}))
    steering.step(0.2, 0.0, fleet, everything, hurry=True)
    steering.use(Rules([ZoneSpec("z"), ZoneSpec("y")], {"z": ZoneLimit(budget_w=200.0)}))
    (lower,) = steering.step(0.4, 0.0, fleet, everything, hurry=True)
    assert lower.order.cap_w <= 200.0
    assert out_w(steering, 0.4) >= sent.order.cap_w
