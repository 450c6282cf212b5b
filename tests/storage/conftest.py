from __future__ import annotations

import pytest

from evenwatt_collector.storage import LedgerWriter
from tests.storage.databases import Cluster


@pytest.fixture(scope="session")
def cluster():
    running = Cluster().start()
    yield running
    running.remove()


@pytest.fixture(params=["sqlite", "postgres"])
def where(request, tmp_path):
    """A new database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "collector.db")
    return request.getfixturevalue("cluster").database()


@pytest.fixture
def database(where):
    writer = LedgerWriter(where)
    yield writer
    writer.close()
