from __future__ import annotations

import asyncio
import os
import subprocess

import pytest
from hypothesis import HealthCheck, settings

from evenwatt_agent.transport import connect
from tests.site import Listener
from tests.support import Mosquitto

# A run says the same of the same code: luck decides in exploring runs (EVENWATT_EXPLORE=1, ./dev fuzz), not in CI.
settings.register_profile(
    "steady",
    derandomize=not os.environ.get("EVENWATT_EXPLORE"),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


@pytest.fixture
def broker(tmp_path):
    """A real mosquitto on a free port."""
    running = Mosquitto(tmp_path).start()
    yield running
    running.kill()


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid():
        pytest.skip("only root may mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"mount: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
async def listener(site):
    """Everything that is said on the broker of the folder's own ``site``, acknowledged as a collector does."""
    async with connect(site.mqtt, "listener") as connection:
        await connection.subscribe("evenwatt/v1/#")
        heard = Listener(connection, site.ring)
        task = asyncio.create_task(heard.run())
        yield heard
        task.cancel()
