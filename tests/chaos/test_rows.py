"""Every row of the failure table, in its short form; the full lengths with ``EVENWATT_SOAK=1``."""

from __future__ import annotations

import os

import pytest

from tests.chaos.rig import Rig
from tests.chaos.rows import ROWS

FULL = os.environ.get("EVENWATT_SOAK") == "1"


@pytest.mark.timeout(3600 if FULL else 120)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_row(tmp_path, row, record_property):
    with Rig(tmp_path, nodes=row.nodes, pair=row.pair) as rig:
        record_property("measured", await row.run(rig, FULL))
