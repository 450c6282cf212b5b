from __future__ import annotations

import pytest

from tests.chaos.rig import Rig
from tests.storage.databases import Cluster


@pytest.fixture(params=["sqlite", "postgres"])
def cluster(request):
    """A server of databases, or None for a file."""
    if request.param == "sqlite":
        yield None
        return
    made = Cluster().start()
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def rig(cluster, tmp_path):
    with Rig(tmp_path, pair=True, database=cluster.database() if cluster else None) as made:
        yield made


def other(name):
    return "b" if name == "a" else "a"
