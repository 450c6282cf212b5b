"""What becomes of runs when their owner has switched jobs off: they are told to end."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from evenwatt_agent.jobs.book import RunRecord
from evenwatt_agent.jobs.places import leave_word, places

if TYPE_CHECKING:
    from evenwatt_agent.settings import AgentSettings
    from evenwatt_agent.spool import Spool


def end_all(settings: AgentSettings, spool: Spool) -> int:
    """Tell every supervisor that may still be there to end its run; return how many were told."""
    told = 0
    for body in spool.runs():
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError, OSError):
            record = msgspec.json.decode(body, type=RunRecord)
            if record.live:
                leave_word(places(settings).run(record.id), "now")
                told += 1
    return told
