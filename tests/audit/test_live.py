"""A real agent, collector and broker: what passes between them is in both logs, and a stolen key shows."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys

import pytest

from evenwatt_agent.transport import connect
from evenwatt_wire import Ack, Event
from evenwatt_wire.command import Code, Op
from tests.site import NODE, ZONE, Listener, Site
from tests.support import eventually, free_port, process


def evenwatt(*arguments):
    command = [sys.executable, "-m", "evenwatt_cli", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def collector(site):
    config = site.folder / "collector.toml"
    config.write_text(
        f'fleet = "f"\nstate_dir = "{site.folder / "middle"}"\n[mqtt]\nport = {site.mqtt.port}\n'
        f"[http]\nport = {free_port()}\n[keys]\n"
        + "".join(
            f'{key} = "{site.folder / name}"\n'
            for key, name in (("private_key", "controller.pem"), ("trust", "trust.json"), ("root", "root.pub"))
        )
        + f'[[zones]]\nname = "{ZONE}"\ngrid = "DE"\nbudget_w = 400.0\n'
    )
    return process([sys.executable, "-m", "evenwatt_collector", "--config", str(config)], site.folder / "collector.log")


async def stopped(child):
    child.send_signal(signal.SIGTERM)
    await eventually(lambda: child.poll() is not None, "it has stopped")
    assert child.returncode == 0


@pytest.fixture
def site(tmp_path, broker):
    made = Site(tmp_path, broker.port)
    with made.twin():
        made.await_twin()
        yield made


async def test_both_sides_tell_the_same_until_a_key_is_stolen(site):
    node, middle = site.folder / "state", site.folder / "middle"
    async with connect(site.mqtt, "listener") as connection:
        await connection.subscribe("evenwatt/v1/#")
        heard = Listener(connection, site.ring, store=False)
        task = asyncio.create_task(heard.run())
        with site.agent() as agent, collector(site) as central:
            done = lambda: [ack for ack in heard.said[Ack] if ack.code in (Code.APPLIED, Code.CLAMPED)]  # noqa: E731
            await eventually(lambda: len(done()) >= 4, "the collector caps the node", 60)
            mine, payload = site.command(Op.CAP, key=site.operator, cap_w=300.0, ttl_s=30.0, reason="by hand")
            await heard.ask(payload)
            assert (await heard.answer(mine)).code is Code.APPLIED
            await heard.ask(payload[:-1] + bytes([payload[-1] ^ 1]))
            refused = lambda: [e for e in heard.said[Event] if e.name == "command-refused"]  # noqa: E731
            await eventually(refused, "the changed one is refused")
            assert evenwatt("audit", "verify", node, middle).returncode == 0, "while both are written"
            epoch, last = done()[0].epoch, max(ack.seq for ack in done() if ack.epoch == done()[0].epoch)
            theft, payload = site.command(Op.CAP, cap_w=480.0, ttl_s=5.0, epoch=epoch, seq=last + 1_000_000)
            await heard.ask(payload)
            await heard.answer(theft)
            await stopped(central)
            await stopped(agent)
        task.cancel()
    found = evenwatt("audit", "verify", node, "--against", middle, "--json")
    assert found.returncode == 4, found.stderr
    document = json.loads(found.stdout)
    assert all(not log["faults"] for log in document["logs"])
    (comparison,) = document["comparisons"]
    assert [fault for fault in comparison["faults"] if f"seq {theft.seq}" in fault and "never signed" in fault]
    assert len(comparison["faults"]) == 1
    assert comparison["node"] == NODE
    assert comparison["others"] == 1
    assert comparison["heads"] >= 2
    shown = evenwatt("audit", "show", node, "--kind", "command")
    assert 'reason="by hand"' in shown.stdout
