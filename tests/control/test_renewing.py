"""One message renews a zone; whoever might hold something else than is known is left out of it."""

import numpy as np
import pytest

from evenwatt_collector.control import Controller, Observations, ZoneSpec, ZoneTree
from evenwatt_collector.control.renewing import LEAST_LEFT_S, MOST_LEFT_OUT, PROVE_S, RENEW_S
from evenwatt_wire.command import MAX_LEFT_OUT

COUNT = 6


class Fleet:
    """Nodes that answer every grant at once, and hold what they were granted last, unless they are told not to."""

    def __init__(self, count=COUNT, zones=("a", "b")):
        self.controller = Controller(ZoneTree.of([ZoneSpec(name) for name in zones]))
        self.controller.set_limits(np.full(len(zones), 600.0 * count))
        self.seen = seen = Observations(count)
        seen.present[:] = seen.online[:] = seen.controllable[:] = True
        seen.floor_w[:], seen.ceiling_w[:], seen.fallback_w[:] = 60.0, 500.0, 150.0
        seen.power_w[:] = seen.peak_w[:] = seen.window_peak_w[:] = 100.0
        seen.zone[:] = np.arange(count) % len(zones)
        seen.age_s[:] = 0.1
        self.ends_s = np.zeros(count)
        self.answers = np.ones(count, dtype=bool)
        self.granted, self.renewed, self.moving = [], [], {}

    def step(self, now_s):
        self.seen.lease_left_s[:] = np.maximum(0.0, self.ends_s - now_s)
        decision = self.controller.step(now_s, self.seen)
        grants, renewals = decision.grants, decision.renewals
        self.granted += [(now_s, int(slot)) for slot in grants.slot]
        told = self.answers[grants.slot]
        at = grants.slot[told]
        self.controller.acknowledge_many(at, grants.seq[told], grants.cap_w[told], now_s)
        self.seen.lease_seq[at], self.ends_s[at] = grants.seq[told], now_s + grants.ttl_s
        for z, left_out in zip(renewals.zone, renewals.left_out, strict=True):
            assert not len(grants) or renewals.seq > grants.seq.max()
            meant = self.seen.zone == z
            meant[left_out] = False
            self.ends_s[meant] = now_s + renewals.ttl_s
            self.renewed.append((now_s, int(z), set(left_out.tolist())))
            self.moving[now_s] = set(grants.slot.tolist())  # what is granted in this step has not been answered yet
        return decision

    def left_out(self, zone):
        """Return who was left out, of each renewal of a zone, but for who was granted something just then."""
        return [names - self.moving[now_s] for now_s, z, names in self.renewed if z == zone]

    def run(self, start_s, seconds):
        self.granted.clear()
        self.renewed.clear()
        for now_s in range(start_s, start_s + seconds):
            self.step(float(now_s))


def settled():
    fleet = Fleet()
    fleet.run(-60, 120)
    return fleet


def test_a_fleet_that_stands_still_costs_a_message_a_zone_and_a_grant_now_and_then():
    fleet = settled()
    fleet.run(60, 60)
    assert len(fleet.renewed) == 2 * 60 / RENEW_S
    assert not any(fleet.left_out(0) + fleet.left_out(1))
    assert len(fleet.granted) == pytest.approx(COUNT * 60 / PROVE_S, abs=COUNT)
    assert {slot for _, slot in fleet.granted} == set(range(COUNT))  # each reads its devices back and signs for it
    assert np.all(fleet.ends_s > 118.0 + 6.0)


def test_a_node_that_has_not_answered_is_left_out_until_it_has():
    fleet = settled()
    fleet.answers[2] = False
    fleet.seen.ceiling_w[2] = 300.0  # it is granted less, and nobody knows whether that arrived
    fleet.run(60, 8)
    assert fleet.renewed
    assert all((2 in left_out) == (z == 0) for _, z, left_out in fleet.renewed)
    fleet.answers[2] = True
    fleet.run(68, 10)
    assert not any(fleet.left_out(0)[-2:])


@pytest.mark.parametrize("change", ["silent", "unsteered", "off", "another lease"])
def test_whoever_may_hold_something_else_is_left_out(change):
    fleet, seen = settled(), None
    seen = fleet.seen
    match change:
        case "silent":
            seen.age_s[1] = 4.0
        case "unsteered":
            seen.controllable[1] = False
        case "off":
            seen.present[1] = False
        case "another lease":  # an operator's, or none since a restart
            fleet.answers[1] = False
            seen.lease_seq[1] = -1
    fleet.run(60, 30)
    assert fleet.left_out(0)
    assert not any(fleet.left_out(0))
    assert all(1 in left_out for _, z, left_out in fleet.renewed if z == 1)
    assert all(left_out <= {1} for left_out in fleet.left_out(1))


def test_a_node_that_was_never_granted_anything_is_not_named():
    fleet = Fleet()
    fleet.seen.controllable[5] = False
    fleet.run(-60, 60)
    assert fleet.renewed
    assert all(5 not in left_out for _, _, left_out in fleet.renewed)


def test_one_that_misses_renewals_is_granted_its_lease_anew():
    fleet = settled()
    fleet.run(60, 1)
    heard = fleet.ends_s[3]
    for now_s in range(61, 75):
        fleet.ends_s[3] = max(heard, 0.0)  # no renewal reaches it
        fleet.step(float(now_s))
        if any(slot == 3 for _, slot in fleet.granted):
            break
    assert fleet.ends_s[3] > heard
    assert heard - now_s >= LEAST_LEFT_S - 1.0  # in time


def test_the_account_of_a_renewed_lease_lasts_as_long_as_the_lease_can():
    fleet = settled()
    fleet.run(60, 10)
    at_s, accounts = fleet.renewed[-1][0], fleet.controller.accounts
    assert np.all(accounts.acked_until_s[fleet.seen.zone == fleet.renewed[-1][1]] >= at_s + 12.0)
    held_w = accounts.acked_w.copy()
    assert np.all(accounts.outstanding(at_s + 12.0) >= held_w)
    assert np.all(accounts.outstanding(at_s + 20.0) == 150.0)  # nobody renews any more: their fallbacks are left


def test_what_is_left_out_fits_into_the_message():
    assert MOST_LEFT_OUT <= MAX_LEFT_OUT


def test_a_zone_with_too_many_in_motion_is_renewed_one_by_one():
    count = MOST_LEFT_OUT + 20
    fleet = Fleet(count, ("a",))
    fleet.run(-60, 90)
    assert fleet.renewed
    fleet.seen.lease_seq[: MOST_LEFT_OUT + 1] = -1
    fleet.answers[: MOST_LEFT_OUT + 1] = False
    fleet.run(30, 12)
    assert not fleet.renewed
    carried = {slot for _, slot in fleet.granted if slot > MOST_LEFT_OUT}
    assert carried == set(range(MOST_LEFT_OUT + 1, count))
    assert np.all(fleet.ends_s[MOST_LEFT_OUT + 1 :] > 41.0)
