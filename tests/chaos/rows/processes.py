"""Processes die, hang, wake."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time

from tests.chaos.ear import listening
from tests.chaos.limits import watching
from tests.chaos.rig import FALLBACK_W
from tests.chaos.rows.words import energy, put_back, within_leases
from tests.support import eventually


async def collector(rig, full):
    """Kill the only collector for longer than a lease and its ramp."""
    outage_s = 600.0 if full else 16.0
    await rig.begin()
    epoch = rig.said()["epoch"]
    async with listening(rig) as ear, watching(rig) as limits:
        rig.kill("a")
        await asyncio.sleep(outage_s)
        await eventually(lambda: all(map(rig.at_fallback, rig.names)), "all are at the fallback")
        rig.collector("a")
        began_s = time.monotonic()
        await rig.leased()
        back_s = time.monotonic() - began_s
        assert limits.most_w() <= rig.budget_w
        within_leases(rig, limits, ear)
        assert rig.said()["epoch"] > epoch
    report = await rig.judge()
    return (f"away {outage_s:.0f} s: limits at most {limits.most_w():.0f} of {rig.budget_w:.0f} W, then "
            f"{FALLBACK_W:.0f} W each; leases {back_s:.1f} s after its start; {energy(report)}")  # fmt: skip


async def standby(rig, full):
    """Kill the active one, again and again."""
    await rig.begin()
    took, renewed, epochs = [], [], [rig.said(rig.active())["epoch"]]
    async with listening(rig) as ear, watching(rig) as limits:
        since_s = time.monotonic()
        for _ in range(10 if full else 2):
            first = rig.active()
            second = "b" if first == "a" else "a"
            await eventually(lambda name=second: (rig.status(name) or {}).get("role") == "standby", "it stands by")
            await asyncio.sleep(1.0)
            rig.kill(first)
            killed_s = time.monotonic()
            await eventually(lambda name=second: rig.active() == name, "the standby takes over")
            took.append(time.monotonic() - killed_s)
            epochs.append(rig.said(second)["epoch"])
            renewed.append(
                await eventually(lambda: _all_hold(ear, rig.names, epochs[-1]), "it renews leases") - killed_s
            )
            rig.collector(first)
        await asyncio.sleep(2.0)
        assert ear.dropped(since_s) == []
        # Nobody's lease ended before the next collector had renewed it, and no node went back to an older one.
        assert epochs == sorted(set(epochs))
        assert {name: ear.epochs(since_s, name) for name in rig.names} == dict.fromkeys(rig.names, epochs)
        assert limits.most_w(since_s) <= rig.budget_w
        within_leases(rig, limits, ear)
    report = await rig.judge()
    return (f"{len(took)} times: active after {min(took):.1f} to {max(took):.1f} s, nodes hold its leases after "
            f"{min(renewed):.1f} to {max(renewed):.1f} s; no lease ended; {energy(report)}")  # fmt: skip


async def woken(rig, full):
    """Stop the active one until the standby has followed, then wake it."""
    await rig.begin()
    first = rig.active()
    second = "b" if first == "a" else "a"
    hung = rig.children[first]
    async with listening(rig) as ear, watching(rig) as limits:
        since_s = time.monotonic()
        os.kill(hung.pid, signal.SIGSTOP)
        try:
            await eventually(lambda: (rig.status(second) or {}).get("role") == "active", "the standby takes over")
            epoch = rig.said(second)["epoch"]
            await eventually(lambda: ear.first_of(epoch), "it renews leases")
            await asyncio.sleep(60.0 if full else 1.0)
        finally:
            os.kill(hung.pid, signal.SIGCONT)
        woke_s = time.monotonic()
        await eventually(lambda: (rig.status(first) or {}).get("role") == "standby", "who wakes steps down")
        down_s = time.monotonic() - woke_s
        await asyncio.sleep(3.0)
        assert ear.epochs(since_s)[-1] == epoch
        assert ear.epochs(since_s) == sorted(ear.epochs(since_s))
        assert ear.dropped(since_s) == []
        assert limits.most_w(since_s) <= rig.budget_w
        within_leases(rig, limits, ear)
    report = await rig.judge()
    return f"woken, it stood by after {down_s:.1f} s; no lease ended and none of the old epoch came; {energy(report)}"


async def agent(rig, _full):
    """Kill an agent, restore, start it again."""
    originals = {}
    rig.twin()
    originals.update({name: rig.limits_w(name) for name in rig.names})
    await rig.begin(twin=False)
    name = rig.names[0]
    capped_w = rig.limits_w(name)
    assert capped_w < originals[name]
    rig.kill(f"agent-{name}")
    put_back(rig.folder / f"state-{name}")
    assert rig.limits_w(name) == originals[name]
    await asyncio.sleep(2.0)
    joins = rig.log(f"agent-{name}").count("joined")
    rig.agent(name)
    await eventually(lambda: rig.at_fallback(name), "the fallback is in force")
    assert rig.log(f"agent-{name}").count("joined") == joins
    await rig.leased()
    report = await rig.judge()
    return (f"{capped_w:.0f} W capped, {originals[name]:.0f} W after restoring, at its fallback before it joined; "
            f"{energy(report)}")  # fmt: skip


async def hung_agent(rig, full):
    """Stop an agent, and kill it when a watchdog would."""
    await rig.begin()
    name = rig.names[0]
    child = rig.children[f"agent-{name}"]
    before_w = rig.limits_w(name)
    os.kill(child.pid, signal.SIGSTOP)
    await asyncio.sleep(60.0 if full else 5.0)
    assert rig.limits_w(name) == before_w
    child.kill()
    child.wait()
    put_back(rig.folder / f"state-{name}")
    rig.agent(name)
    await rig.leased()
    report = await rig.judge()
    return f"the cap of {before_w:.0f} W stayed in the device; {energy(report)}"


async def power_loss(rig, full):
    """Kill an agent in the middle of its work and cut off what the disk may not have had."""
    await rig.begin()
    name, cut, away = rig.names[0], [], []
    for round_ in range(10 if full else 2):
        await asyncio.sleep(1.5)
        rig.kill(f"agent-{name}")
        away.append(time.monotonic_ns())
        for path in (rig.folder / f"state-{name}").glob("*-wal"):
            size = path.stat().st_size
            torn = min(size, 100 + 1_000 * round_)
            os.truncate(path, size - torn)
            cut.append(torn)
        rig.agent(name)
        await rig.leased()
    for path in (rig.folder / f"state-{name}").glob("*.db"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
    report = await rig.judge(may_lose=True)
    await eventually(lambda: all(rig.gaps(name, since_ns, since_ns + 1) for since_ns in away), "the ledger tells it")
    told = sorted({gap.quality.value for since_ns in away for gap in rig.gaps(name, since_ns, since_ns + 1)})
    assert set(told) == {"measured"} or report[name]["holes_s"] or report[name]["off_j"] < 0, told
    return (f"{len(cut)} logs cut by {min(cut)} to {max(cut)} bytes: readable; the ledger tells of each time that "
            f"nobody looked ({', '.join(told)}); {energy(report)}")  # fmt: skip


def _all_hold(ear, names, epoch):
    """Return when the last of these nodes first said that it holds a lease of an epoch; None if one has not yet."""
    first_s = [ear.first_of(epoch, name) for name in names]
    return None if None in first_s else max(first_s)
