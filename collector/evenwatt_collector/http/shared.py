"""One answer for all who ask the same: those who ask while it is made, and, where it took long, a few seconds later.

An answer is made by a task of its own, so that nobody who leaves takes it from the others. Once nobody waits any more
for one that has not begun, it is not made. Errors go to those who wait, and are not kept.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from starlette.types import Receive

    from evenwatt_collector.http.turns import Turns

KEPT_S: Final = 5.0
"""An answer is kept for so long at the most."""
KEPT_TIMES: Final = 10.0
"""... and for so many times as long as it took to make: what costs little may as well be made anew."""
KEPT_BYTES: Final = 16 * 1024 * 1024
_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class _Answer:
    response: Response
    until_s: float


class Kept:
    """Answers of the latest seconds, within bounds. Pure: time is given."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._most_bytes = most_bytes
        self.bytes = 0
        """Of all bodies."""

    def __len__(self) -> int:
        return len(self._answers)

    def put(self, key: Hashable, response: Response, took_s: float, now_s: float) -> None:
        """Keep an answer that took so long to make; the oldest ones make room."""
        self._drop_old(now_s)
        size, kept_s = len(response.body), min(KEPT_S, KEPT_TIMES * took_s)
        if size > self._most_bytes or key in self._answers:
            return
        while self._answers and (self.bytes + size > self._most_bytes or len(self._answers) >= _KEPT):
            self._drop(next(iter(self._answers)))
        self._answers[key] = _Answer(response, now_s + kept_s)
        self.bytes += size

    def find(self, key: Hashable, now_s: float) -> Response | None:
        """Return an answer that is kept."""
        self._drop_old(now_s)
        found = self._answers.get(key)
        return found.response if found else None

    def _drop_old(self, now_s: float) -> None:
        for key in [key for key, answer in self._answers.items() if answer.until_s <= now_s]:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        self.bytes -= len(self._answers.pop(key).response.body)


@dataclass(slots=True, eq=False)
class _Making:
    """An answer that is being made."""

    task: asyncio.Task[Response]
    askers: int = 0
    begun: bool = False
    """Its turn has come."""


class Shared:
    """Of one application.

    Args:
        turns: In which long ones are made.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.kept = Kept()
        self._making: dict[Hashable, _Making] = {}

    def __len__(self) -> int:
        return len(self._making)

    async def answer(self, key: Hashable, make: Callable[[], Awaitable[Response]], *, long: bool) -> Response:
        """Return what ``make`` answers, or has answered.

        Args:
            key: Everything that changes the answer, the rights of who asks among it.
            make: Makes it; what it raises is raised for all who wait.
            long: It takes a turn, and is kept for a while.

        Raises:
            RequestError: 429, too many wait for a turn.
        """
        kept = self.kept.find(key, time.monotonic())
        if kept is not None:
            return kept
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = self._begin(key, make, long=long)
        making.askers += 1
        try:
            return await asyncio.shield(making.task)
        finally:
            making.askers -= 1
            if not (making.askers or making.begun):
                making.task.cancel()
                self._end(key, making)

    def _begin(self, key: Hashable, make: Callable[[], Awaitable[Response]], *, long: bool) -> _Making:
        task = asyncio.create_task(self._make(key, make, long=long), name="answer")
        making = _Making(task)
        task.add_done_callback(lambda _: self._end(key, making))
        return making

    def _end(self, key: Hashable, making: _Making) -> None:
        if self._making.get(key) is making:
            del self._making[key]
        if making.task.done() and not making.task.cancelled():
            making.task.exception()  # it may be that nobody is left to hear of it

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[Response]], *, long: bool) -> Response:
        async with self._turns.turn() if long else nullcontext():
            self._making[key].begun = True
            began_s = time.monotonic()
            made = await make()
        if long and made.status_code < 300:
            now_s = time.monotonic()
            self.kept.put(key, made, now_s - began_s, now_s)
        return made


async def unless_left(receive: Receive, answer: Awaitable[Response]) -> Response:
    """Return an answer, or stop waiting for it once who asked has left; then nobody gets what is returned."""
    answering, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(left(receive))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        return await answering if answering.done() else Response(status_code=204)
    finally:
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def left(receive: Receive) -> None:
    """Wait until who asked is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
