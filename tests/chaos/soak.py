"""Random faults from a seed for hours; after each the fleet must be whole again, and at the end the ledger right."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from tests.chaos.limits import watching
from tests.chaos.proxy import Lines
from tests.chaos.rig import Rig

_EVERY_S = 20.0
_NODES = 3


class Faults:
    """Each breaks something, waits for a while, and mends it."""

    def __init__(self, rig, lines, chance):
        self.rig, self.lines, self.chance = rig, lines, chance

    def length_s(self):
        return self.chance.choice((0.5, 3.0, 12.0, 25.0))

    async def broker(self):
        self.rig.broker.kill()
        await asyncio.sleep(self.length_s())
        self.rig.broker.start()

    async def active(self):
        name = self.rig.active()
        self.rig.kill(name)
        await asyncio.sleep(self.length_s())
        self.rig.collector(name)

    async def both(self):
        for name in self.rig.http:
            self.rig.kill(name)
        await asyncio.sleep(self.length_s())
        for name in self.rig.http:
            self.rig.collector(name)

    async def hang(self):
        child = self.rig.children[self.rig.active()]
        os.kill(child.pid, signal.SIGSTOP)
        await asyncio.sleep(self.length_s())
        os.kill(child.pid, signal.SIGCONT)

    async def agent(self):
        name = self.chance.choice(self.rig.names)
        self.rig.kill(f"agent-{name}")
        await asyncio.sleep(self.length_s())
        self.rig.agent(name)

    async def cut(self):
        some = self.chance.sample(self.rig.names, self.chance.randint(1, _NODES))
        self.lines.cut(some)
        await asyncio.sleep(self.length_s())
        self.lines.heal(some)

    async def slow(self):
        self.lines.worsen(delay_s=0.2, jitter_s=0.05, stalled=0.1)
        await asyncio.sleep(self.length_s())
        self.lines.worsen()


async def soak(hours, seed):
    """Break things for some hours; return the exit code."""
    chance = random.Random(seed)
    names = sorted(name for name in vars(Faults) if not name.startswith("_") and name != "length_s")
    with (
        tempfile.TemporaryDirectory(prefix="evenwatt-soak-") as folder,
        Rig(Path(folder), nodes=_NODES, pair=True) as rig,
    ):
        lines = Lines(rig.broker.port, rig.names)
        for name in rig.names:
            rig.ports[name] = lines.port(name)
            rig.write_agent(name)
        await rig.begin()
        faults, counts, until_s = Faults(rig, lines, chance), dict.fromkeys(names, 0), time.monotonic() + hours * 3600
        async with watching(rig) as limits:
            while time.monotonic() < until_s:
                name = chance.choice(names)
                counts[name] += 1
                await getattr(faults, name)()
                await rig.leased(90.0)
                report = await rig.judge()
                # Nodes that are only just back may stand at what their devices had before: their agent is new.
                most_w, limits.seen[:] = limits.most_w(), limits.seen[-1:]
                print(
                    json.dumps({"fault": name, "most_w": most_w, "budget_w": rig.budget_w, "nodes": report}), flush=True
                )
                assert most_w <= rig.budget_w, f"after {name}: {most_w} W"
                await asyncio.sleep(chance.uniform(0, _EVERY_S))
        print(json.dumps({"faults": counts, "seed": seed, "hours": hours}))
        lines.close()
    return 0
