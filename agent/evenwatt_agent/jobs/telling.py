"""What is said of runs: how they stand, what they wrote, and their last word. One report a second of a run at most."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from evenwatt_agent import clocks
from evenwatt_agent.jobs import output
from evenwatt_wire import RunReport
from evenwatt_wire.jobs import MAX_LOG_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_agent.jobs.book import End, RunRecord
    from evenwatt_agent.jobs.places import Places
    from evenwatt_wire import RunState

_REPORT_S: Final = 5.0
_UNITS: Final = 16


class Teller:
    """Makes reports on runs.

    Args:
        node: Who reports.
        boot: Boot id of this agent.
        places: Where runs write.
        say: Signs and sends a report.
    """

    def __init__(self, node: str, boot: str, places: Places, say: Callable[[RunReport], None]) -> None:
        self._node, self._boot, self._places, self._say = node, boot, places, say
        self._told: dict[str, tuple[float, RunState]] = {}
        """Of each run: when it was last reported, and as what."""
        self._heads: set[str] = set()
        """Runs that have ended and whose backlog has been told."""

    async def tell_if_due(self, record: RunRecord, now_s: float) -> None:
        """Tell how a run stands if that has changed, if it has written something, or after some seconds."""
        told_s, told = self._told.get(record.id, (now_s - _REPORT_S, None))
        due = record.state is not told or now_s - told_s >= _REPORT_S
        if due or await asyncio.to_thread(self._waits, record, 0):
            self._told[record.id] = (now_s, record.state)
            await self._tell(record)

    async def tell_backlog(self, record: RunRecord) -> bool:
        """Tell what a run wrote first, before its last word tells what it wrote last; return whether there was so much.

        Once for a run: what is in between is left out.
        """
        if record.id in self._heads or not await asyncio.to_thread(self._waits, record, MAX_LOG_CHARACTERS):
            return False
        self._heads.add(record.id)
        await self._tell(record)
        return True

    async def last_word(self, record: RunRecord, end: End) -> RunReport:
        """Return the report on how a run ended."""
        self._told.pop(record.id, None)
        self._heads.discard(record.id)
        text = await asyncio.to_thread(self._excerpt, record, last=True)
        return self._report(record, text, end)

    async def _tell(self, record: RunRecord) -> None:
        text = await asyncio.to_thread(self._excerpt, record, last=False)
        self._say(self._report(record, text, None))

    def _waits(self, record: RunRecord, most: int) -> bool:
        return output.waiting(self._places.run(record.id), record.log_byte, most)

    def _excerpt(self, record: RunRecord, *, last: bool) -> output.Excerpt:
        return output.excerpt(self._places.run(record.id), record.log_byte, MAX_LOG_CHARACTERS, last=last)

    def _report(self, record: RunRecord, text: output.Excerpt, end: End | None) -> RunReport:
        record.seq += 1
        log_start = record.log_start + text.skipped
        record.log_start, record.log_byte = log_start + len(text.text), text.next_byte
        return RunReport(
            self._node,
            self._boot,
            record.order.job,
            record.id,
            record.seq,
            clocks.wall_ms(),
            record.state,
            record.duration_s,
            record.energy_j,
            end.exit_code if end else None,
            end.kept if end else False,
            end.detail[:400] if end else "",
            list(record.units.items())[:_UNITS],
            log_start,
            text.text,
        )
