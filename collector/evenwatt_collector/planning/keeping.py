"""Writes what planning has to remember, by way of the keeper, and says what could not be written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from evenwatt_collector.jobs.model import JobRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from evenwatt_collector.keeper import Keeper
    from evenwatt_collector.storage import Connection

T = TypeVar("T")


class Keeping:
    """Jobs on their way to the disk.

    Args:
        keeper: Writes.
        failed: Told in the loop what could not be written, and of which jobs.
    """

    def __init__(self, keeper: Keeper, failed: Callable[[BaseException, list[str]], None]) -> None:
        self._keeper, self._failed = keeper, failed

    def store(self, job: Callable[[Connection], None], again: list[str] | None = None) -> None:
        """Write something a little later; ``again`` are the jobs that are told of if that fails."""
        loop = asyncio.get_running_loop()

        def look(future: Future[None]) -> None:
            error = future.exception() if not future.cancelled() else None
            if error is not None:
                loop.call_soon_threadsafe(self._failed, error, again or [])

        self._keeper.ask(job).add_done_callback(look)

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
