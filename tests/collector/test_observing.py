"""Looking only at what has changed gives the same arrays as looking at everything."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.fleet import Fleet
from evenwatt_collector.observing import Observing
from evenwatt_collector.planning.capping import CappedRules
from evenwatt_collector.rules import SettingsRules
from evenwatt_collector.settings import ZoneSettings
from evenwatt_wire import Ack, LeaseInForce
from evenwatt_wire.command import Code
from evenwatt_wire.messages import LeaseState, NodeState
from tests.collector.said import BOOT, NEXT_BOOT, birth, live, state, summary

ZONES = {"a": 0, "b": 1}
NAMES = ("n1", "n2", "n3")

HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(["live", "live", "live", "state", "birth", "summary", "ack", "forget", "cap", "wait"]),
        st.sampled_from([*ZONES, "elsewhere"]),
        st.sampled_from(NAMES),
        st.integers(0, 400),
    ),
    max_size=60,
)


class World:
    """A fleet, rules and two who look at them."""

    def __init__(self):
        self.fleet, self.caps_w, self.now_s, self.seq = Fleet(), {}, 0.0, 0
        self.rules = CappedRules(SettingsRules([ZoneSettings(name=name) for name in ZONES]), self.caps_w)
        self.often = Observing(1)

    def happen(self, what, zone, name, number):
        self.now_s += 0.3
        self.seq += 1
        boot = NEXT_BOOT if number == 400 else BOOT
        match what:
            case "live":
                by = LeaseState.LEASED if number % 3 else LeaseState.UNMANAGED
                lease = LeaseInForce(by, float(number) if number % 2 else None, number % 2, self.seq, 5.0)
                self.fleet.on_live(zone, live(name, self.seq, boot, float(number), lease=lease), self.now_s)
            case "state":
                self.fleet.on_state(zone, state(name, list(NodeState)[number % 4], boot), self.now_s)
            case "birth":
                self.fleet.on_birth(zone, birth(name, boot, priority=number % 10, pausable=["job"]), self.now_s)
            case "summary":
                self.fleet.on_summary(zone, summary(name, boot, paused=["job"][: number % 2]))
            case "ack":
                self.fleet.on_ack(zone, Ack(name, "0" * 32, 1, 1, Code.APPLIED, "", 0, after_w=float(number)))
            case "forget":
                self.fleet.forget(zone, name)
            case "cap":
                self.caps_w.clear()
                self.caps_w[zone, name] = float(number)
            case "wait":
                self.now_s += number / 20

    def look(self, observing):
        open_, dry = np.array([True, self.seq % 5 > 0]), np.array([self.seq % 7 == 0, False])
        return observing.look(self.fleet, self.rules, ZONES, self.now_s, open_, dry)


def columns(observing, dry):
    """Return what is known of every node that is there, by its name."""
    seen, slots = observing.seen, [observing.slot(*key) for key in observing.names]
    return {
        key: {name: column[slot] for name, column in vars(seen).items()} | {"dry": dry[slot]}
        for key, slot in zip(observing.names, slots, strict=True)
        if seen.present[slot]
    }


@settings(deadline=None, max_examples=60)
@given(HAPPENINGS)
def test_what_is_kept_up_to_date_is_what_is_there(happenings):
    world = World()
    for happening in happenings:
        world.happen(*happening)
        kept = columns(world.often, world.look(world.often))
        anew = Observing(1)
        fresh = columns(anew, world.look(anew))
        assert kept.keys() == fresh.keys()
        for key, values in fresh.items():
            for name, value in values.items():
                assert np.array_equal(kept[key][name], value, equal_nan=True), (key, name)
        assert world.often.operators.keys() == anew.operators.keys()


def test_a_look_of_few_nodes_finds_room_for_many():
    world = World()
    for i in range(200):
        world.fleet.on_birth("a", birth(f"m{i}"), 0.0)
        world.fleet.on_live("a", live(f"m{i}", power_w=float(i)), 0.0)
    world.look(world.often)
    assert world.often.seen.power_w[[world.often.slot("a", f"m{i}") for i in range(200)]].tolist() == list(range(200))
