"""The ledger's way to disk, whatever the disk does: the shell around ``spool``.

A record that cannot be written is not lost: counters are cumulative, and it is added up with the next one until one
can be written again. Meanwhile measuring and control go on, and what is wrong is said once. A database that turns out
to be damaged while in use is mended at once.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Protocol, TypeVar

from evenwatt_agent.merging import merge
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from evenwatt_agent.checkpoint import Checkpoint
    from evenwatt_agent.spool import Freed, Spool
    from evenwatt_wire import ControllerState, Ledger, Stored
    from evenwatt_wire.messages import Fact

T = TypeVar("T")


class _InWorker(Protocol):
    def __call__(self, call: Callable[[], T]) -> Awaitable[T]: ...


class _Event(Protocol):
    def __call__(self, name: str, subject: str, **facts: Fact) -> None: ...


class LedgerDesk:
    """Keeps records, hands them to the link, and takes the collector's word on them.

    Args:
        spool: Where they are kept.
        in_worker: Runs a call on the thread that owns the disk.
        event: Says what happened.
    """

    def __init__(self, spool: Spool, in_worker: _InWorker, event: _Event) -> None:
        self._spool, self._in_worker, self._event = spool, in_worker, event
        self._carried: Ledger | None = None
        self._coarser = False
        self.trouble = ""
        """Why records cannot be written; empty when they can."""
        self.waiting = spool.waiting()
        """Records not yet known to be stored."""
        self.dropped = 0
        """Records for which there was no room, even added up, since this agent began."""

    async def keep(self, record: Ledger, checkpoint: Checkpoint) -> None:
        """Write a record, with those that could not be written before it."""
        whole = record if self._carried is None else merge([self._carried, record])
        self._carried = whole
        freed = await self._do(lambda: self._spool.append(whole, checkpoint))
        if freed is None:
            return
        self._carried = None
        if self.trouble:
            self.trouble = ""
            self._event("spool-well", "")
        self._say_freed(freed)
        await self._count()

    async def pending(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return (row, payload) of records not yet known to be stored, beyond row ``after`` (``link.Backlog``)."""
        return await self._do(lambda: self._spool.pending(after, limit)) or []

    async def in_flight(self, after: int, row: int) -> int:
        """Return how many records beyond ``after`` up to ``row`` are not known to be stored (``link.Backlog``)."""
        return await self._do(lambda: self._spool.waiting(after, row)) or 0

    async def stored(self, said: Stored) -> bool:
        """Take the collector's word. Return whether it lacks records that are here."""
        again = await self._do(lambda: self._spool.stored(said))
        await self._count()
        return bool(again)

    async def meet(self, said: ControllerState) -> int:
        """Take note of the collector's database; return how many records it has to be sent again."""
        again = await self._do(lambda: self._spool.meet(said.ledger, said.since_wall_ms)) or 0
        if again:
            self._event("ledger-again", said.ledger, records=again)
        await self._count()
        return again

    def take_notes(self) -> list[str]:
        """Return what is not known about earlier records, for the next one to say."""
        return self._spool.take_notes()

    @property
    def kept(self) -> tuple[int, int]:
        """Records and bytes on disk, stored ones included."""
        return self._spool.kept

    async def _count(self) -> None:
        waiting = await self._do(self._spool.waiting)
        if waiting is not None:
            self.waiting = waiting
            self._coarser = self._coarser and waiting > 0

    async def _do(self, call: Callable[[], T]) -> T | None:
        """Run a call on the spool; None if the disk does not let it."""
        try:
            result = await self._in_worker(lambda: self._mending(call))
        except (sqlite3.Error, Failure) as error:
            if not self.trouble:
                self._event("spool-trouble", "", why=str(error)[:300])
            self.trouble = str(error)  # until a record can be written: that others can be read mends nothing
            return None
        return result

    def _mending(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except sqlite3.OperationalError:  # full, locked, read-only, gone: it may pass, and the file is sound
            raise
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:  # msgspec's errors are ValueErrors
            self._spool.mend(str(error))
            return call()

    def _say_freed(self, freed: Freed) -> None:
        if freed.dropped:
            self.dropped += freed.dropped
            self._event("spool-full", "", dropped=freed.dropped, dropped_j=freed.dropped_j)
        if freed.merged and not self._coarser:
            self._coarser = True
            self._event("spool-coarser", "", merged=freed.merged)
