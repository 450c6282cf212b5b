from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from evenwatt_agent.transport import connect
from tests.agent.jobs.yard import Ear, Yard, need_root, processes_with


@pytest.fixture
def open_folder():
    """A folder that every user can reach: pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="evenwatt-yard-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def yard(open_folder, broker):
    need_root()
    made = Yard(open_folder, broker.port)
    with made.twin():
        made.await_twin()
        yield made
        for pid in processes_with(str(open_folder)):  # what a failed test has left
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        print((open_folder / "agent.log").read_text())  # shown where a test has failed


@pytest.fixture
def ear(yard):
    """Returns a context in which everything that the node says is heard."""

    @asynccontextmanager
    async def listen():
        async with connect(yard.mqtt, "ear") as connection:
            await connection.subscribe("evenwatt/v1/#")
            heard = Ear(connection, yard.ring)
            task = asyncio.create_task(heard.run())
            yield heard
            task.cancel()

    return listen
