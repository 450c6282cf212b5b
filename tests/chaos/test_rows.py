"""Rows of the failure table in their short form; with ``EVENWATT_SOAK=1`` all of them at full length.

The two of the standby are walked by ``tests/standby/test_pair.py``; `./dev chaos` runs every row.
"""

from __future__ import annotations

import os

import pytest

from tests.chaos.rig import Rig
from tests.chaos.rows import ROWS

FULL = os.environ.get("EVENWATT_SOAK") == "1"
OFTEN = {"broker", "agent", "power-loss", "database", "messages"}
CHOSEN = [row for row in ROWS if FULL or row.name in OFTEN]


@pytest.mark.timeout(3600 if FULL else 120)
@pytest.mark.parametrize("row", CHOSEN, ids=lambda row: row.name)
async def test_row(tmp_path, row, record_property):
    with Rig(tmp_path, nodes=row.nodes, pair=row.pair) as rig:
        record_property("measured", await row.run(rig, FULL))
