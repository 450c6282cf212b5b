"""The database is away, its disk is full."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import time

import pytest

from tests.chaos.ear import listening
from tests.chaos.limits import watching
from tests.chaos.rows.words import energy
from tests.support import eventually

_DISK = "12m"


async def locked(rig, full):
    """Lock the database from outside."""
    await rig.begin()
    other = sqlite3.connect(rig.database, isolation_level=None, timeout=60)
    other.execute("BEGIN IMMEDIATE")
    try:
        said = await _control_goes_on(rig, 600.0 if full else 8.0)
    finally:
        other.execute("ROLLBACK")
        other.close()
    await eventually(lambda: not rig.said()["store"]["alarm"], "the alarm ends")
    return f"{said}; {energy(await rig.judge())}"


async def full_disk(rig, full):
    """Fill the disk that the database is on."""
    folder = rig.folder / "shared"
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("only root can mount a small disk here")
    try:
        await rig.begin()
        filler = folder / "filler"
        _fill(filler)
        said = await _control_goes_on(rig, 600.0 if full else 8.0)
        filler.unlink()
        await eventually(lambda: not rig.said()["store"]["alarm"], "the alarm ends")
        return f"{said}; {energy(await rig.judge())}"
    finally:
        rig.stop("a")
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _fill(path):
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(file, b"\0" * 4096)
    except OSError:
        return
    finally:
        os.close(file)


async def _control_goes_on(rig, outage_s):
    child = rig.children["a"]
    async with listening(rig) as ear, watching(rig) as limits:
        since_s = time.monotonic()
        await eventually(lambda: rig.said()["store"]["alarm"], "the database is reported")
        await asyncio.sleep(outage_s)
        assert ear.dropped(since_s) == []
        assert limits.most_w(since_s) <= rig.budget_w
        assert child.poll() is None
        ages = [row["age_s"] for row in rig.rows().values()]
    return f"away {outage_s:.0f} s: no lease ended, live view {max(ages):.1f} s old"
