"""The agent has no privilege; its actuator dies, then the agent itself."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import closing

from tests.agent.split.yard import AS_NOBODY, GID, UID, USER, need_two_users
from tests.chaos.rows.words import energy, put_back
from tests.support import eventually


async def actuator(rig, full):
    """Kill the actuator of one node, put back, start it again; then kill the agent that it serves."""
    need_two_users()
    name = rig.names[0]
    _split(rig, name)
    rig.twin()
    original_w = rig.limits_w(name)
    _actuator(rig, name)
    for one in rig.http:
        rig.collector(one)
    rig.agent(name, prefix=AS_NOBODY)
    for other in rig.names[1:]:
        rig.agent(other)
    await rig.leased()
    for _ in range(5 if full else 1):
        capped_w = await _both_die(rig, name, original_w)
    report = await rig.judge()
    return (f"{original_w:.0f} W after restoring, counting went on, at the fallback before it listened; "
            f"{capped_w:.0f} W held without the agent; {energy(report)}")  # fmt: skip


async def _both_die(rig, name, original_w):
    said = len(_events(rig, "actuator-lost"))
    rig.kill("actuator")
    put_back(rig.folder / "actuator-state")
    assert rig.limits_w(name) == original_w
    await eventually(lambda: len(_events(rig, "actuator-lost")) > said, "the agent says so")
    stored = len(rig.records(name))
    await eventually(lambda: len(rig.records(name)) > stored + 2, "counting goes on")
    _actuator(rig, name)
    await rig.leased(60.0)
    rig.kill(f"agent-{name}")
    await asyncio.sleep(1.0)  # what it had passed on last has been carried out
    capped_w = rig.limits_w(name)
    await asyncio.sleep(3.0)
    assert rig.limits_w(name) == capped_w < original_w  # nobody put anything back: the actuator holds the lease
    rig.agent(name, prefix=AS_NOBODY)
    await rig.leased(60.0)
    return capped_w


def _split(rig, name):
    """Give a node an agent that is nobody, and an actuator that is root."""
    rig.folder.chmod(0o755)
    for folder in (f"state-{name}", f"run-{name}"):
        (rig.folder / folder).mkdir()
        os.chown(rig.folder / folder, UID, GID)
    rig.write_agent(name, f"""process = "actuator"
[actuator]
socket = {json.dumps(str(_socket(rig)))}
user = "{USER}"
state_dir = "{rig.folder / "actuator-state"}"
""")  # fmt: skip


def _actuator(rig, name):
    """Start an actuator, and see to it that the machine is at its fallback by the time that anybody is let in."""
    child, path = rig.actuator(name), _socket(rig)
    while not _listens(path):
        assert child.poll() is None, rig.log("actuator")
    assert rig.at_fallback(name)


def _socket(rig):
    return rig.folder / "actuator" / "actuator.sock"


def _listens(path):
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as client:
        return client.connect_ex(str(path)) == 0


def _events(rig, name):
    found = [line for file in rig.folder.glob("agent-*.log") for line in file.read_text().splitlines()]
    return [line for line in found if f'"event": "{name}"' in line]
