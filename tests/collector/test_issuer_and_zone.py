from __future__ import annotations

import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evenwatt_collector.books import Books, BootTotals
from evenwatt_collector.carbon import Factor
from evenwatt_collector.carbon.labels import Labels
from evenwatt_collector.fleet import Fleet
from evenwatt_collector.issuer import Issuer, Order, new_id
from evenwatt_collector.rules import SettingsRules
from evenwatt_collector.settings import ZoneSettings
from evenwatt_collector.steering import Steering
from evenwatt_collector.zone import Zone
from evenwatt_wire import Ack, ControllerState, Key, KeyRing
from evenwatt_wire.command import Code, Op, Role, open_command
from evenwatt_wire.messages import NodeState
from tests.collector.said import BOOT, WALL_MS, ZONE, birth, live, state

GRANT = Order("n1", 5, 10.0, "because", cap_w=120.0, fallback_w=80.0)
FACTOR = Factor(360.0, 1.0, "test", 2025)


@pytest.fixture
def private():
    return Ed25519PrivateKey.generate()


@pytest.fixture
def issuer(private):
    return Issuer("fleet", 3, private)


def opened(payload, private):
    ring = KeyRing([Key(private.public_key().public_bytes_raw().hex(), Role.CONTROLLER)])
    return open_command(payload, ring)[1]


def answer(command, code, **fields):
    base = {"node": "n1", "epoch": 3, "seq": 5} | fields
    return Ack(base["node"], command.id, base["epoch"], base["seq"], code, "", 0, after_w=118.0)


def test_a_grant_becomes_a_signed_command_of_two_seconds(issuer, private):
    command = opened(issuer.sign(GRANT, 1.0, WALL_MS).payload, private)
    assert (command.op, command.cap_w, command.fallback_w, command.ttl_s) == (Op.CAP, 120.0, 80.0, 10.0)
    assert (command.fleet, command.node, command.epoch, command.seq) == ("fleet", "n1", 3, 5)
    assert command.expires_ms - command.issued_ms == 2_000
    assert uuid.UUID(command.id).version == 7


def test_ids_sort_by_time_and_never_repeat():
    ids = [new_id(WALL_MS + i) for i in range(1000)]
    assert ids == sorted(ids)
    assert len({new_id(WALL_MS) for _ in range(1000)}) == 1000
    assert uuid.UUID(ids[0]).variant == uuid.RFC_4122


@pytest.mark.parametrize(
    ("code", "field"),
    [
        (Code.APPLIED, "applied"), (Code.CLAMPED, "clamped"), (Code.LOCKED, "locked"), (Code.REJECTED, "rejected"),
        (Code.EXPIRED, "expired"), (Code.UNSUPPORTED, "rejected"),
    ],
)  # fmt: skip
def test_every_answer_is_counted_once(issuer, private, code, field):
    command = opened(issuer.sign(GRANT, 1.0, WALL_MS).payload, private)
    assert issuer.answered(answer(command, code), 1.25)
    assert not issuer.answered(answer(command, code), 1.3)
    assert (issuer.counts.sent, getattr(issuer.counts, field)) == (1, 1)
    assert issuer.delay_s() == pytest.approx(0.25)


def test_answers_that_are_not_ours_are_ignored(issuer, private):
    command = opened(issuer.sign(GRANT, 1.0, WALL_MS).payload, private)
    for wrong in ({"node": "n2"}, {"epoch": 2}, {"seq": 4}):
        assert not issuer.answered(answer(command, Code.APPLIED, **wrong), 1.1)
    assert issuer.counts.applied == 0
    assert issuer.answered(answer(command, Code.APPLIED), 1.2)


def test_what_is_not_answered_expires(issuer, private):
    late = opened(issuer.sign(GRANT, 1.0, WALL_MS).payload, private)
    issuer.sign(GRANT, 3.0, WALL_MS)
    assert not issuer.answered(answer(late, Code.APPLIED), 5.5)
    assert (issuer.counts.expired, len(issuer._open)) == (1, 1)


# --- zone ---------------------------------------------------------------------------------------------------------


def make_zone(**fields):
    return Zone(ZoneSettings(name=ZONE, **fields), lambda: FACTOR, Labels([]), epoch=3)


def make_steering(*zones, quiet_s=0.0):
    return Steering(SettingsRules(zones), quiet_s=quiet_s, epoch=1)


def make_fleet(*powers):
    fleet = Fleet()
    for i, power_w in enumerate(powers):
        name = f"n{i + 1}"
        fleet.on_state(ZONE, state(name), 0.0)
        fleet.on_birth(ZONE, birth(name), 0.0)
        fleet.on_live(ZONE, live(name, power_w=power_w), 0.0)
    return fleet


def stepped(steering, now_s, fleet, *, hurry=False, reachable=lambda _zone: True, wall_s=0.0):
    return steering.step(now_s, wall_s, fleet, reachable, hurry=hurry)


def test_a_zone_without_budget_only_measures():
    zone, fleet = make_zone(unmanaged_w=50.0), make_fleet(100.0, 200.0)
    steering = make_steering(zone.settings)
    assert stepped(steering, 1.0, fleet, hurry=True) == []
    assert steering.zone(ZONE) is None
    said = zone.summary(1.0, WALL_MS, fleet, Books(), None, [])
    assert (said.band, said.power_w, said.budget_w, said.nodes) == ("off", 350.0, None, 2)
    assert said.emissions_g_per_h == pytest.approx(0.3 * 360.0)


def test_who_takes_over_grants_as_soon_as_it_has_watched_for_long_enough():
    zone, fleet = make_zone(budget_w=1_000.0), make_fleet(100.0, 200.0)
    steering = make_steering(zone.settings, quiet_s=1.3)
    assert steering.quiet_until_s < 0.0
    assert [stepped(steering, now_s, fleet) for now_s in (0.0, 0.5, 1.0, 1.25)] == [[]] * 4
    assert steering.quiet_until_s == 1.3
    assert {sending.order.node for sending in stepped(steering, 1.3, fleet)} == {"n1", "n2"}
    assert stepped(steering, 1.4, fleet) == []


def test_a_zone_with_a_budget_grants_each_second_and_at_once_in_a_hurry():
    zone, fleet = make_zone(budget_w=1_000.0), make_fleet(100.0, 200.0)
    steering = make_steering(zone.settings)
    first = stepped(steering, 0.1, fleet)
    assert {(sending.zone, sending.order.node) for sending in first} == {(ZONE, "n1"), (ZONE, "n2")}
    assert stepped(steering, 0.5, fleet) == []
    before = steering.decision
    stepped(steering, 0.6, fleet, hurry=True)
    assert steering.decision is not before
    before = steering.decision
    stepped(steering, 1.7, fleet)
    assert steering.decision is not before
    said = zone.summary(1.7, WALL_MS, fleet, Books(), steering.zone(ZONE), [])
    assert said.leased_w <= 1_000.0
    assert said.band == "normal"


def test_what_cannot_be_sent_is_not_granted_and_still_counted():
    fleet = make_fleet(100.0, 200.0)
    steering = make_steering(ZoneSettings(name=ZONE, budget_w=1_000.0))
    assert stepped(steering, 0.1, fleet, reachable=lambda _zone: False) == []
    assert steering.zone(ZONE).power_w == 300.0


def test_emissions_are_stored_ones_and_the_rest_by_the_same_counter():
    zone, fleet, books = make_zone(), make_fleet(100.0), Books()
    stored = BootTotals(
        zone=ZONE, node="n1", boot=BOOT, records=1, mark=1, missing=0, last_seq=1, last_total_j=3.6e6,
        energy_j=3.6e6, grams=360.0, covered=(),
    )  # fmt: skip
    books.load([stored])
    fleet.on_live(ZONE, live(seq=9, total_j=7.2e6), 1.0)
    assert zone.summary(1.0, WALL_MS, fleet, books, None, []).emissions_g == pytest.approx(720.0)


def controller(epoch, what=NodeState.READY):
    return ControllerState(zone=ZONE, state=what, epoch=epoch, wall_ms=0)


def test_a_collector_of_a_higher_epoch_fences_this_one_off():
    zone, fleet = make_zone(budget_w=1_000.0), make_fleet(100.0)
    zone.on_controller(controller(4), 1.0, retained=True)
    assert zone.superseded(1.1)
    assert any("epoch 4" in alarm for alarm in zone.summary(1.1, WALL_MS, fleet, Books(), None, []).alarms)
    zone.on_controller(controller(4, NodeState.LOST), 2.0, retained=False)
    assert not zone.superseded(2.1)


def test_a_collector_of_a_lower_epoch_is_an_alarm_unless_it_is_a_memory():
    zone, fleet = make_zone(budget_w=1_000.0), make_fleet(100.0)
    for said, retained in ((controller(2), True), (controller(3), False)):
        zone.on_controller(said, 1.0, retained=retained)
        assert zone.summary(1.1, WALL_MS, fleet, Books(), None, []).alarms == []
    zone.on_controller(controller(2), 1.0, retained=False)
    assert any("epoch 2" in alarm for alarm in zone.summary(1.1, WALL_MS, fleet, Books(), None, []).alarms)
    assert not zone.superseded(1.2)
