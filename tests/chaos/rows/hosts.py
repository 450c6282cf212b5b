"""Hosts with a network of their own, and what it does to them."""

from __future__ import annotations

import asyncio
import time

from tests.chaos.ear import listening
from tests.chaos.limits import watching
from tests.chaos.rows.words import energy

_BAD = {"delay_ms": 100, "jitter_ms": 50, "loss": 0.05}


async def hosts(rig, full):
    """Impair three of four hosts' lines, cut off a bad one and a good one, heal."""
    bad_s, cut_s = (60.0, 600.0) if full else (8.0, 15.0)
    rig.ledger_s = 5.0
    for name in rig.names:
        rig.write_agent(name)
    await rig.begin()
    began_ns = time.monotonic_ns()
    first, second, third, fourth = rig.names
    async with listening(rig) as ear, watching(rig) as limits:
        for name in (first, second):
            rig.network.impair(name, **_BAD)
        rig.network.impair(third, "out", loss=0.1)
        await asyncio.sleep(bad_s)
        cut = [second, fourth]
        rig.network.partition(cut)
        await asyncio.sleep(cut_s)
        healed_s = time.monotonic()
        assert all(map(rig.at_fallback, cut))
        rig.network.heal()
        await rig.leased(60.0)
        back_s = time.monotonic() - healed_s
        await asyncio.sleep(3.0)
        spare_w = limits.spare_w(ear.leases)
        assert set(spare_w) == set(rig.names), spare_w
        assert min(spare_w.values()) >= 0.0, spare_w
        assert limits.most_w() <= rig.budget_w, limits.most_w()
    report = await rig.judge()
    caps, over = rig.said()["caps"], rig.over_budget(began_ns)
    return (f"by {rig.network.kind}; {len(cut)} of {len(rig.names)} hosts cut off for {cut_s:.0f} s: limits at most "
            f"{limits.most_w():.0f} of {rig.budget_w:.0f} W, each at least {min(spare_w.values()):.0f} W below its "
            f"lease; {over.over_ws:.1f} W s above the budget; all lease again {back_s:.1f} s after healing; answers "
            f"within {caps['answer_p95_s']:.2f} s (p95); {energy(report)}")  # fmt: skip
