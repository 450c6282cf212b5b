"""Rows of the failure table in their short form; with ``EVENWATT_SOAK=1`` all of them at full length.

Standby and database are walked by ``tests/standby``, an agent's death by ``tests/agent``; `./dev chaos` runs every row.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.chaos.rows import ROWS

FULL = os.environ.get("EVENWATT_SOAK") == "1"
OFTEN = {"broker", "actuator", "power-loss", "lies", "messages"}
CHOSEN = [row for row in ROWS if FULL or row.name in OFTEN]


@pytest.mark.timeout(3600 if FULL else 300)
@pytest.mark.parametrize("row", CHOSEN, ids=lambda row: row.name)
async def test_row(row, record_property):
    # Not in pytest's own folder, which no other user can pass through.
    with (
        tempfile.TemporaryDirectory(prefix="evenwatt-chaos-") as folder,
        row.rig(Path(folder), nodes=row.nodes, pair=row.pair) as rig,
    ):
        record_property("measured", await row.run(rig, FULL))
