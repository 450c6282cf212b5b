from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.agent.split.yard import SplitSite, need_two_users


@pytest.fixture
def site(broker):
    """A folder that every user can pass through, which pytest's own is not."""
    need_two_users()
    folder = Path(tempfile.mkdtemp(prefix="evenwatt-split-"))
    folder.chmod(0o755)
    try:
        made = SplitSite(folder, broker.port)
        with made.twin() as made.hardware:
            made.await_twin()
            made.lock_counters()
            yield made
    finally:
        shutil.rmtree(folder)
