from __future__ import annotations

import pytest

from tests.support import Mosquitto


@pytest.fixture
def broker(tmp_path):
    """A real mosquitto on a free port."""
    running = Mosquitto(tmp_path).start()
    yield running
    running.kill()
