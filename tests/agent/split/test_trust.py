"""The actuator takes a newer trust document from the network, through an agent without keys, and from its own file."""

from __future__ import annotations

import signal

from evenwatt_wire import Ack, Event, Kind, Topic
from evenwatt_wire.command import Code, Op
from tests.agent.split.yard import joined
from tests.keys.made import revoked
from tests.site import ZONE
from tests.support import eventually, make_trust


def told(listener, name):
    return [dict(event.facts) for event in listener.said[Event] if event.name == name]


async def ping(site, listener, key=None):
    """Return whether a ping is answered, given that the controller's is."""
    asked = []
    for one in (key, None):
        command, payload = site.command(Op.PING, key=one)
        asked.append(command.id)
        await listener.ask(payload)
    await eventually(lambda: asked[1] in {ack.command_id for ack in listener.said[Ack]}, "the controller is answered")
    return asked[0] in {ack.command_id for ack in listener.said[Ack] if ack.code is Code.ACCEPTED}


async def test_a_revocation_reaches_the_actuator_and_stays(site, listener):
    first = (site.folder / "trust.json").read_bytes()
    with site.actuator() as actuator, site.agent():
        await joined(listener)
        assert await ping(site, listener, site.operator)
        keys = [key for key in site.keys if key["role"] != "operator"]
        filler = [
            {"public": f"{n:064x}", "role": "node", "node": f"x{n}", "name": f"x{n}", "zone": "z"} for n in range(2_000)
        ]
        make_trust(site.folder, [*keys, *filler], version=2, revoked=[revoked(site.operator)])
        second = (site.folder / "trust.json").read_bytes()
        (site.folder / "trust.json").write_bytes(first)
        topic = str(Topic(ZONE, "_ctl", Kind.TRUST))
        await listener.connection.publish(topic, second, qos=1, retain=True)  # in several parts over the socket
        await eventually(lambda: told(listener, "trust-changed"), "the actuator has taken it")
        assert not await ping(site, listener, site.operator)
        await listener.connection.publish(topic, b"", qos=1, retain=True)
        actuator.kill()
    with site.actuator() as actuator, site.agent():
        site.await_actuator(2)
        await joined(listener, boots=2)
        assert not await ping(site, listener, site.operator)
        make_trust(site.folder, site.keys[:1] + site.keys[2:], version=3)
        actuator.send_signal(signal.SIGHUP)
        await eventually(lambda: told(listener, "trust-changed")[-1]["version"] == 3, "its own file is taken")
