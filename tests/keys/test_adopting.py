"""Real agents and collectors take a newer trust document while they run, and nothing takes a revocation back."""

from __future__ import annotations

import asyncio
import signal

import pytest

from evenwatt_agent.transport import connect
from evenwatt_daemon.broker import BrokerSettings
from evenwatt_wire import Ack, Event, Kind, Revocation, State, Topic, open_trust
from evenwatt_wire.command import Code, Op, key_id
from evenwatt_wire.messages import NodeState
from evenwatt_wire.trust import read_roots
from tests.collector.middle import Middle, speaking
from tests.keys.made import NOW, revoked
from tests.site import ZONE, Site
from tests.support import eventually, make_trust

TRUST = str(Topic(ZONE, "_ctl", Kind.TRUST))


@pytest.fixture
def site(tmp_path, broker):
    made = Site(tmp_path, broker.port)
    with made.twin():
        made.await_twin()
        yield made


def without_operator(site):
    """Return the keys, and what revokes the operator's."""
    return [key for key in site.keys if key["role"] != "operator"], [revoked(site.operator, "ada")]


def events(listener, name):
    return [dict(event.facts) for event in listener.said[Event] if event.name == name]


async def joined(listener, boots=1):
    def ready():
        return len({said.boot for said in listener.said[State] if said.state is NodeState.READY}) >= boots

    await eventually(ready, "the node is ready")


async def refused(site, listener, code):
    """The operator's key does not count; why is said once a minute."""
    command, payload = site.command(Op.PING, key=site.operator)
    await listener.ask(payload)
    await obeyed(site, listener)
    assert command.id not in {ack.command_id for ack in listener.said[Ack]}
    await eventually(lambda: events(listener, "command-refused"), "the refusal is said")
    assert events(listener, "command-refused")[-1]["code"] == code


async def obeyed(site, listener, key=None):
    command, payload = site.command(Op.PING, key=key)
    await listener.ask(payload)
    assert (await listener.answer(command)).code is Code.ACCEPTED


async def test_a_revocation_comes_over_mqtt_and_outlives_a_restart_with_the_old_file(site, listener):
    first = (site.folder / "trust.json").read_bytes()
    with site.agent() as agent:
        await joined(listener)
        await obeyed(site, listener, site.operator)
        keys, gone = without_operator(site)
        make_trust(site.folder, keys, version=2, revoked=gone)
        second = (site.folder / "trust.json").read_bytes()
        (site.folder / "trust.json").write_bytes(first)
        await listener.connection.publish(TRUST, second, qos=1, retain=True)
        await eventually(lambda: events(listener, "trust-changed"), "the document is taken")
        assert events(listener, "trust-changed")[-1] == {"version": 2, "before": 1, "revoked": 1}
        await refused(site, listener, "revoked-key")
        await obeyed(site, listener)
        agent.kill()
    await listener.connection.publish(TRUST, b"", qos=1, retain=True)  # and the broker has lost it
    with site.agent():
        await joined(listener, 2)
        await refused(site, listener, "revoked-key")
        await listener.connection.publish(TRUST, first, qos=1, retain=True)  # it lies
        await eventually(lambda: events(listener, "trust-refused"), "the old document is refused")
        assert events(listener, "trust-refused")[-1]["code"] == "version"
        await refused(site, listener, "revoked-key")


async def test_what_the_root_has_not_signed_changes_nothing(site, listener, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    make_trust(other, site.keys, version=9)
    good = (site.folder / "trust.json").read_bytes()
    with site.agent():
        await joined(listener)
        tampered = good.replace(b'"version":1', b'"version":5')
        for document, code in (
            ((other / "trust.json").read_bytes(), "unknown-root"),
            (tampered, "signature"),
            (b"\x00" * 500, "unsigned"),
            (b'{"evenwatt-trust":1,' + b"[" * 100_000, "malformed"),
        ):
            count = len(events(listener, "trust-refused"))
            await listener.connection.publish(TRUST, document, qos=1, retain=False)
            await eventually(lambda n=count: len(events(listener, "trust-refused")) > n, "it is refused")
            assert events(listener, "trust-refused")[-1]["code"] == code
        await obeyed(site, listener, site.operator)
        assert not events(listener, "trust-changed")


async def test_a_new_file_is_taken_without_a_restart(site, listener):
    with site.agent() as agent:
        await joined(listener)
        await obeyed(site, listener, site.operator)
        keys, gone = without_operator(site)
        make_trust(site.folder, keys, version=2, revoked=gone)
        agent.send_signal(signal.SIGHUP)
        await eventually(lambda: events(listener, "trust-changed"), "the file is taken")
        await refused(site, listener, "revoked-key")
        (site.folder / "trust.json").write_text("{}")
        agent.send_signal(signal.SIGHUP)
        await eventually(lambda: events(listener, "trust-refused"), "the bad file is refused")
        await obeyed(site, listener)


async def test_after_its_end_a_document_only_lets_go(site, listener):
    make_trust(site.folder, site.keys, version=2, days=-1.0)
    with site.agent():
        await joined(listener)
        await eventually(lambda: events(listener, "trust-trouble"), "people are told")
        assert "has ended" in events(listener, "trust-trouble")[-1]["why"]
        await obeyed(site, listener, site.operator)  # a ping
        _, payload = site.command(Op.CAP, cap_w=300.0, ttl_s=5.0)
        await listener.ask(payload)
        await eventually(lambda: events(listener, "command-refused"), "a cap is refused")
        assert events(listener, "command-refused")[-1]["code"] == "trust-expired"
        command, payload = site.command(Op.RELEASE)
        await listener.ask(payload)
        assert (await listener.answer(command)).code in (Code.RESTORED, Code.APPLIED)


async def test_a_collector_tells_its_nodes_and_stops_control_when_its_own_key_is_revoked(tmp_path, broker):
    middle = Middle(tmp_path, broker.port)
    middle.write(zone=f'[[zones]]\nname = "{ZONE}"\ngrid = "DE"\nbudget_w = 600.0\n')
    roots = read_roots((tmp_path / "root.pub").read_bytes())
    topic = str(Topic(ZONE, "_ctl", Kind.TRUST))
    heard = []
    with middle.run() as child:
        await middle.ready()
        async with connect(BrokerSettings(port=broker.port), "ear") as connection, speaking(middle) as node:
            await connection.subscribe(topic)
            task = asyncio.create_task(_collect(connection, heard))
            await eventually(lambda: heard, "the document is retained for those who come later")
            assert heard[0].retained
            assert open_trust(heard[0].payload, roots, "f").version == 1
            await node.join()
            node.start_speaking(400.0)
            await eventually(lambda: node.commands, "the node is capped")
            keys = [key for key in middle.keys if key["role"] != "controller"]
            own = next(key for key in middle.keys if key["role"] == "controller")
            row = Revocation(key_id(bytes.fromhex(own["public"])).hex(), NOW, "main")
            make_trust(tmp_path, keys, version=2, revoked=[row])
            child.send_signal(signal.SIGHUP)
            await eventually(lambda: len(heard) > 1, "the new document is told")
            assert open_trust(heard[-1].payload, roots, "f").version == 2
            ready = await eventually(
                lambda: (said := middle.get("/readyz")).status_code == 503 and said, "it is ready no more"
            )
            assert "control is stopped" in ready.text
            assert "has been revoked" in ready.text
            await asyncio.sleep(1)  # what was under way has come
            count = len(node.commands)
            await asyncio.sleep(3)
            assert len(node.commands) == count
            task.cancel()


async def _collect(connection, heard):
    async for message in connection.messages():
        heard.append(message)
