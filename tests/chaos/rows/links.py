"""The broker dies, the network is bad."""

from __future__ import annotations

import asyncio
import time

from tests.chaos.ear import listening
from tests.chaos.limits import watching
from tests.chaos.proxy import Lines
from tests.chaos.rig import FALLBACK_W
from tests.chaos.rows.words import energy, within_leases
from tests.support import eventually

_LEASE_AND_RAMP_S = 16.0


async def broker(rig, full):
    """Kill the broker for longer than a lease and its ramp."""
    outage_s = 600.0 if full else _LEASE_AND_RAMP_S
    await rig.begin()
    began_ns = time.monotonic_ns()
    async with listening(rig) as ear, watching(rig) as limits:
        rig.broker.kill()
        down_s = time.monotonic()
        await asyncio.sleep(outage_s)
        await eventually(lambda: all(map(rig.at_fallback, rig.names)), "all are at the fallback")
        rig.broker.start()
        up_s = time.monotonic()
        await rig.leased()
        back_s = time.monotonic() - up_s
        assert limits.most_w(down_s) <= rig.budget_w
        within_leases(rig, limits, ear)
    report = await rig.judge()
    over = rig.over_budget(began_ns)
    return (f"away {outage_s:.0f} s: limits at most {limits.most_w(down_s):.0f} of {rig.budget_w:.0f} W, then "
            f"{FALLBACK_W:.0f} W each; leases {back_s:.1f} s after its return; {over.over_ws:.1f} W s above the "
            f"budget; {energy(report)}")  # fmt: skip


async def network(rig, full):
    """Every node behind a bad line; half of them are cut off for a while."""
    cut_s = 60.0 if full else 15.0
    lines = Lines(rig.broker.port, rig.names)
    try:
        rig.ledger_s = 5.0
        for name in rig.names:
            rig.ports[name] = lines.port(name)
            rig.write_agent(name)
        await rig.begin()
        began_ns = time.monotonic_ns()
        lines.worsen(delay_s=0.2, jitter_s=0.05, stalled=0.1)
        half = rig.names[: len(rig.names) // 2]
        async with listening(rig) as ear, watching(rig) as limits:
            await asyncio.sleep(5.0)
            lines.cut(half)
            began_s = time.monotonic()
            await asyncio.sleep(cut_s)
            lines.heal(half)
            await rig.leased(60.0)
            back_s = time.monotonic() - began_s - cut_s
            await asyncio.sleep(3.0)
            assert limits.most_w() <= rig.budget_w
            within_leases(rig, limits, ear)
        report = await rig.judge()
        caps = rig.said()["caps"]
        over = rig.over_budget(began_ns)
        return (f"{len(half)} of {len(rig.names)} nodes cut off for {cut_s:.0f} s: limits at most "
                f"{limits.most_w():.0f} of {rig.budget_w:.0f} W; {over.over_ws:.1f} W s above the budget; all lease "
                f"again {back_s:.1f} s after healing; answers within {caps['answer_p95_s']:.2f} s (p95); "
                f"{energy(report)}")  # fmt: skip
    finally:
        lines.close()
