"""Clocks step."""

from __future__ import annotations

import asyncio
import os
import shutil
import time

from evenwatt_collector.control.types import TTL_S
from evenwatt_wire.messages import LeaseState
from tests.chaos.ear import listening
from tests.chaos.rows.words import energy
from tests.chaos.wall import Wall, life
from tests.support import eventually

_LATE_S = 1.0
"""Between the end of a window and the look at the lease that it tells, on a busy machine."""
_BUSY_S = 4.0
"""Until a busy machine has told that a lease has ended."""


async def steps(rig, full):
    """Step one node's wall clock (not this machine's) and look how long its lease lives from the last grant on."""
    name, wall = rig.names[0], Wall(rig.folder)
    rig.twin()
    for one in rig.http:
        rig.collector(one)
    rig.agent(name, **wall.environment)
    for other in rig.names[1:]:
        rig.agent(other)
    await rig.leased()
    lives = []
    async with listening(rig) as ear:
        for offset_s in (3600, -3600) * (3 if full else 1):
            await _renewed(ear, name, time.monotonic())
            stepped_s = time.monotonic()
            wall.step(offset_s)
            known = await eventually(lambda since=stepped_s: _life(ear, name, since), "the lease ends", 60.0)
            after_s, before_s, ended_s = known
            # Renewals are refused from then on. Windows tell the state as of a moment after their end.
            assert after_s + TTL_S - _LATE_S <= ended_s, f"a lease was cut to {ended_s - after_s:.1f} s"
            assert ended_s <= before_s + TTL_S + _BUSY_S, f"a lease lived for {ended_s - before_s:.1f} s"
            lives.append(ended_s - before_s)
            await eventually(lambda: rig.at_fallback(name), "it is at its fallback")
            wall.step(0)
            await rig.leased()
    if shutil.which("unshare") and os.geteuid() == 0:
        await _suspended(rig, name)
    report = await rig.judge()
    return (f"leases of {TTL_S:.0f} s ended {min(lives):.1f} to {max(lives):.1f} s after the first window that told of "
            f"them (commands of another hour are refused); {energy(report)}")  # fmt: skip


async def _renewed(ear, name, since_s):
    """Wait for two grants, so that the moment of the last one is known."""

    def seen():
        return {said.lease.seq for at_s, node, said in list(ear.windows)
                if at_s >= since_s and node == name and said.lease.state is LeaseState.LEASED}  # fmt: skip

    await eventually(lambda: len(seen()) >= 2, "the lease is renewed", 60.0)


def _life(ear, name, since_s):
    return life([(at_s, said) for at_s, node, said in ear.windows if node == name], since_s)


async def _suspended(rig, name):
    """Restart the agent in a time namespace in which this machine has slept for an hour more."""
    rig.stop(f"agent-{name}")
    prefix = ["unshare", "-T", "--boottime", "3600", "--fork", "--kill-child"]
    rig.agent(name, prefix=prefix)
    await rig.leased()
    await asyncio.sleep(2.0)
