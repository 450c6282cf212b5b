"""Looks at the limit files of all machines ten times a second: what the devices were really told."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager


class Limits:
    """What the files said, machine by machine."""

    def __init__(self, rig):
        self._rig = rig
        self.seen = []

    def look(self):
        self.seen.append((time.monotonic(), {name: self._rig.limits_w(name) for name in self._rig.names}))

    def most_w(self, since_s=0.0):
        """Return the highest sum of all machines' limits at one time."""
        return max(sum(now.values()) for at_s, now in self.seen if at_s >= since_s)

    def spare_w(self, leases):
        """Return how far each machine's limits stayed below what its lease allows it, where they came nearest."""
        spare_w = {}
        for at_s, now in self.seen:
            for name, limits_w in now.items():
                allowed_w = leases.allowed_w(name, at_s)
                if allowed_w is not None:
                    spare_w[name] = min(spare_w.get(name, allowed_w), allowed_w - limits_w)
        return spare_w


@asynccontextmanager
async def watching(rig):
    """Watch the files while the context is open."""
    limits = Limits(rig)

    async def watch():
        while True:
            limits.look()
            await asyncio.sleep(0.1)

    limits.look()
    task = asyncio.create_task(watch())
    try:
        yield limits
    finally:
        task.cancel()
        await asyncio.wait([task])
