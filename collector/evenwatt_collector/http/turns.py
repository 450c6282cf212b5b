"""Turns of requests that take long: so few at once that other work goes on beside them, and not too many waiting.

A report of years reads a lot; that it runs in a thread of its own helps little if twenty do.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from evenwatt_collector.http.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AT_ONCE: Final = 2
MOST: Final = 24
"""Being answered and waiting."""


class Turns:
    """Of one application."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)
        self.asked = 0
        """Being answered and waiting now."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it while the context is open.

        Raises:
            RequestError: 429, too many wait already.
        """
        if self.asked >= MOST:
            raise RequestError(429, f"{MOST} long questions are being answered; ask again", {"Retry-After": "5"})
        self.asked += 1
        try:
            async with self._free:
                yield
        finally:
            self.asked -= 1
