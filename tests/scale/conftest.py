from __future__ import annotations

import pytest

from tests.scale.rig import ScaleRig
from tests.storage.databases import Cluster


@pytest.fixture
def server():
    made = Cluster().start()
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def rig(server, tmp_path):
    with ScaleRig(tmp_path, server.database()) as made:
        yield made
