"""Writes what planning has to remember, by way of the keeper, and says what could not be written."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from evenwatt_collector.jobs.model import JobRecord
from evenwatt_collector.storage import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from evenwatt_collector.keeper import Keeper
    from evenwatt_collector.storage import Connection

T = TypeVar("T")

_MOST_WAITING: Final = 10_000
"""Decisions and pieces of log kept while the database is away: some ten megabytes; the oldest go first."""


class Keeping:
    """Jobs on their way to the disk.

    Args:
        keeper: Writes.
        failed: Told in the loop what could not be written, and of which jobs.
    """

    def __init__(self, keeper: Keeper, failed: Callable[[BaseException, list[str]], None]) -> None:
        self._keeper, self._failed = keeper, failed
        self._waiting: deque[Callable[[Connection], None]] = deque(maxlen=_MOST_WAITING)
        self._trying: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> bool:
        """Whether something could not be written and is tried again."""
        return bool(self._waiting)

    def store(self, job: Callable[[Connection], None], again: list[str] | None = None) -> None:
        """Write something a little later.

        Args:
            job: Writes; it may be done twice.
            again: Jobs that are told of if that fails, for the caller writes them anew; None: ``job`` itself is kept
                and tried again (:meth:`retry`).
        """
        loop = asyncio.get_running_loop()

        def failed(error: BaseException) -> None:
            if again is None and isinstance(error, DatabaseError):
                self._waiting.append(job)
            self._failed(error, again or [])

        def look(future: Future[None]) -> None:
            error = future.exception() if not future.cancelled() else None
            if error is not None:
                loop.call_soon_threadsafe(failed, error)

        self._keeper.ask(job).add_done_callback(look)

    def retry(self) -> None:
        """Try again what could not be written, one after the other, until one fails; call it each second."""
        if self._waiting and (self._trying is None or self._trying.done()):
            self._trying = asyncio.get_running_loop().create_task(self._retry())

    async def _retry(self) -> None:
        while self._waiting:
            job = self._waiting[0]
            try:
                await self.ask(job)
            except DatabaseError as error:
                self._failed(error, [])
                return
            if self._waiting and self._waiting[0] is job:
                self._waiting.popleft()

    async def ask(self, job: Callable[[Connection], T]) -> T:
        """Do something with the database and wait for it.

        Raises:
            DatabaseError: as the job does.
        """
        return await asyncio.wrap_future(self._keeper.ask(job))


def snapshot(records: Iterable[JobRecord]) -> list[JobRecord]:
    """Return records as they are now; those in the book go on changing while others are written."""
    return _DECODER.decode(_ENCODER.encode(list(records)))


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(list[JobRecord])
