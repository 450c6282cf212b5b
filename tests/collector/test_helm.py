"""The loop that steers: what it sends counts for no longer than the accounts say, whatever holds it up."""

from __future__ import annotations

import asyncio
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evenwatt_collector.control import ZoneSpec
from evenwatt_collector.control.accounts import CLOCK_GUARD_S, MESSAGE_EXPIRY_S
from evenwatt_collector.fleet import Fleet
from evenwatt_collector.helm import Crew, Helm
from evenwatt_collector.issuer import Issuer
from evenwatt_collector.keys import ControllerKeys
from evenwatt_collector.rules import ZoneLimit
from evenwatt_collector.steering import Steering
from evenwatt_wire import Key, KeyRing, Kind
from evenwatt_wire.command import Role, open_command
from tests.collector.test_steering import Rules, add


class Broker:
    """What takes messages; a helm asks for a zone's link before it sends."""

    online = True

    def __init__(self):
        self.said = []

    def link(self, _zone):
        return self

    def publish(self, topic, payload):
        self.said.append((topic, payload))


class Clocks:
    """Both clocks of a machine, which ``stop`` for a while: its processes were stopped, or it was busy."""

    def __init__(self, monkeypatch):
        self.held_up_s, monotonic, wall_ns = 0.0, time.monotonic, time.time_ns
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + self.held_up_s)
        monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + int(self.held_up_s * 1e9))

    def stop(self, seconds):
        self.held_up_s += seconds


@pytest.mark.parametrize("where", ["before the step", "while it looks whether it may"])
async def test_a_collector_that_was_held_up_sends_nothing_that_outlives_its_accounts(monkeypatch, tmp_path, where):
    clocks, broker, private = Clocks(monkeypatch), Broker(), Ed25519PrivateKey.generate()
    stops = [30.0]

    class Tenure:
        """A hold that is looked at in a bad moment."""

        def may_act(self):
            clocks.stop(stops.pop() if stops and where != "before the step" else 0.0)
            return True

    fleet, steering = Fleet(), Steering(Rules([ZoneSpec("z")], {"z": ZoneLimit(budget_w=1000.0)}), 0.0, 1)
    add(fleet, "z", "n1", now_s=time.monotonic() + 29.0)
    crew = Crew(
        fleet=fleet,
        steering=steering,
        keys=ControllerKeys(None, "f", tmp_path, lambda: 0),
        issuer=Issuer("f", 1, private),
        auditor=None,
        tenure=Tenure(),
        speaking=broker,
        superseded=lambda _zone, _now_s: False,
        prepare=lambda _wall_s: clocks.stop(stops.pop() if stops and where == "before the step" else 0.0),
        decided=lambda _said: None,
    )
    wall_of_s = time.time_ns() / 1e9 - time.monotonic()
    task = asyncio.create_task(Helm(crew).run())
    while not broker.said:
        await asyncio.sleep(0)
    task.cancel()
    topic, payload = broker.said[0]
    assert topic.kind is Kind.COMMAND
    ring = KeyRing([Key(private.public_key().public_bytes_raw().hex(), Role.CONTROLLER)])
    ends_s = open_command(payload, ring)[1].expires_ms / 1e3 - wall_of_s
    assert ends_s <= steering._controller.accounts.sent_s[0] + MESSAGE_EXPIRY_S + CLOCK_GUARD_S
