"""A pair of real processes without its standby, then without its database."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import contextmanager

from tests.chaos.ear import listening
from tests.chaos.limits import watching
from tests.chaos.rows.words import within_leases
from tests.standby.conftest import other
from tests.support import eventually

PATIENT_S = 5.0
"""Longer than a standby waits for a sign."""


async def test_the_standby_and_then_the_database_are_away_and_no_lease_ends(rig, cluster):
    """The active one goes on by its beats over the broker; without the database nobody can follow it."""
    await rig.begin()
    first = rig.active()
    second = other(first)
    epoch = rig.said(first)["epoch"]
    async with listening(rig) as ear, watching(rig) as limits:
        since_s = time.monotonic()
        await eventually(lambda: (rig.status(second) or {}).get("role") == "standby", "it stands by")
        rig.kill(second)
        killed_s = time.monotonic()
        await eventually(lambda: ear.leases.renewed(rig.names, killed_s), "leases go on without it")
        rig.collector(second)
        await eventually(lambda: (rig.status(second) or {}).get("role") == "standby", "it stands by again")
        with away(rig, cluster):
            await eventually(lambda: rig.said(first)["store"]["alarm"], "the database is missed")
            missed_s = time.monotonic()
            await asyncio.sleep(PATIENT_S)
            await eventually(lambda: ear.leases.renewed(rig.names, missed_s), "leases go on without it")
            assert rig.said(first)["role"] == "active"
            assert (rig.status(second) or {}).get("role") == "standby"
        await eventually(lambda: not rig.said(first)["store"]["alarm"], "the alarm ends", 60.0)
        assert rig.active() == first
        back_s = time.monotonic()
        await eventually(lambda: ear.leases.renewed(rig.names, back_s), "leases go on")
        assert ear.epochs(since_s) == [epoch]
        assert ear.dropped(since_s) == []
        within_leases(rig, limits, ear)
    await rig.judge()


@contextmanager
def away(rig, cluster):
    """Take the database away from both: the server is stopped, the file locked."""
    if cluster:
        cluster.stop()
        try:
            yield
        finally:
            cluster.start()
        return
    writer = sqlite3.connect(rig.database, isolation_level=None, timeout=60)
    writer.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        writer.execute("ROLLBACK")
        writer.close()
