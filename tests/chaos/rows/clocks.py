"""Clocks step, counters wrap and vanish."""

from __future__ import annotations

import asyncio
import os
import shutil
import time

import pytest

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
            known = await eventually(lambda since=stepped_s: _life(ear, name, since), "the lease ends", 30.0)
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


async def wrap(rig, full):
    """Start a counter two seconds before its wrap."""
    most_uj = 262_143_328_850
    near = {"powercap": {"zones": {"0": {"start_uj": most_uj - 3_000_000_000}}}}
    rig.twin(**{rig.names[0]: near})
    await rig.begin(twin=False)
    counter = rig.folder / "twin" / rig.names[0] / "sys"
    file = next(path for path in counter.rglob("energy_uj") if path.parent.name.endswith(":0"))
    await eventually(lambda: int(file.read_text()) < most_uj // 2, "the counter has wrapped", 60.0)
    await asyncio.sleep(60.0 if full else 3.0)
    return energy(await rig.judge())


async def vanish(rig, full):
    """Take a counter's folder away, restart the agent without it, and bring it back."""
    rig.twin()
    await rig.begin(twin=False)
    name = rig.names[0]
    sysfs = rig.folder / "twin" / name / "sys"
    zone = next(path.parent for path in sysfs.rglob("energy_uj") if path.parent.name == "intel-rapl:1")
    if zone.is_symlink() or not zone.exists():
        pytest.skip("no counter that can be taken away")
    aside = zone.with_name(f"{zone.name}.gone")
    zone.rename(aside)
    await asyncio.sleep(2.0)
    rig.kill(f"agent-{name}")
    rig.agent(name)
    await asyncio.sleep(60.0 if full else 6.0)
    aside.rename(zone)
    await rig.leased(60.0)
    await asyncio.sleep(3.0)
    before = rig.rows()[name]["energy_j"]
    await rig.until_stored()
    await asyncio.sleep(1.2)
    row, log = rig.rows()[name], rig.truths()[name]
    true_j = sum(log.energy_j(*span) for span in row["covered_mono_ns"])
    assert row["energy_j"] >= before
    assert row["energy_j"] <= true_j * 1.005 + 2.0, (row["energy_j"], true_j)
    lost_j = max(0.0, true_j - row["energy_j"])
    return f"{row['energy_j']:.0f} J counted of {true_j:.0f}, {lost_j:.0f} J not known, none twice"


async def _renewed(ear, name, since_s):
    """Wait for two grants, so that the moment of the last one is known."""

    def seen():
        return {said.lease.seq for at_s, node, said in list(ear.windows)
                if at_s >= since_s and node == name and said.lease.state is LeaseState.LEASED}  # fmt: skip

    await eventually(lambda: len(seen()) >= 2, "the lease is renewed", 30.0)


def _life(ear, name, since_s):
    return life([(at_s, said) for at_s, node, said in ear.windows if node == name], since_s)


async def _suspended(rig, name):
    """Restart the agent in a time namespace in which this machine has slept for an hour more."""
    rig.stop(f"agent-{name}")
    prefix = ["unshare", "-T", "--boottime", "3600", "--fork", "--kill-child"]
    rig.agent(name, prefix=prefix)
    await rig.leased()
    await asyncio.sleep(2.0)
