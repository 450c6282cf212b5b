from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

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
