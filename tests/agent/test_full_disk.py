"""An agent whose disk is full measures and reports on, says it once, and loses no joule."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from evenwatt_agent.local import read_status
from evenwatt_agent.merging import first_of
from evenwatt_agent.transport import connect
from evenwatt_wire import Event, Ledger, Live
from tests.site import Listener, Site
from tests.support import eventually


@pytest.fixture
def site(tmp_path, broker):
    if os.geteuid():
        pytest.skip("mounts a file system of its own: run it as root")
    disk = tmp_path / "state"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no mount here: " + made.stderr.decode().strip())
    try:
        site = Site(tmp_path, broker.port)
        with site.twin():
            site.await_twin()
            yield site
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


async def test_a_full_disk_stops_neither_live_view_nor_account(site):
    disk = site.folder / "state"
    async with connect(site.mqtt, "listener") as connection:
        await connection.subscribe("evenwatt/v1/#")
        heard = Listener(connection, site.ring)
        task = asyncio.create_task(heard.run())

        def said(name):
            return [event for event in heard.said[Event] if event.name == name]

        with site.agent() as agent:
            await eventually(lambda: len(heard.said[Ledger]) >= 2, "records came")
            with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while shutil.disk_usage(disk).free:
                    filler.write(bytes(4096))
            await eventually(lambda: said("spool-trouble"), "the agent says that its disk is full")
            windows, full_ns = len(heard.said[Live]), time.monotonic_ns()
            await eventually(lambda: len(heard.said[Live]) >= windows + 3, "live windows go on")
            # Records close each second: two at least have found no room.
            await eventually(lambda: heard.said[Live][-1].end_mono_ns > full_ns + 4e9, "some time has passed")
            status = json.loads(await read_status(site.folder / "run" / "agent.sock"))
            assert "full" in status["link"]["spool"]["trouble"]
            (disk / "filler").unlink()
            await eventually(lambda: said("spool-well"), "it writes again")
            await eventually(
                lambda: any(one.first_seq for one in heard.said[Ledger]), "what found no room comes at once"
            )
            agent.send_signal(signal.SIGTERM)
            await eventually(lambda: agent.poll() is not None, "the agent has stopped")
            assert agent.returncode == 0
        task.cancel()
    unique = {record.seq: record for record in heard.said[Ledger]}
    records = [unique[seq] for seq in sorted(unique)]
    assert len(said("spool-trouble")) == 1
    assert any(record.first_seq for record in records)
    assert first_of(records[0]) == 1
    assert all(a.seq + 1 == first_of(b) and a.end_mono_ns == b.start_mono_ns for a, b in itertools.pairwise(records))
    assert sum(record.total.energy_j for record in records) == pytest.approx(records[-1].total.total_j)
