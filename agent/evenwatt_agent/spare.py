"""A second connection of a node's, to another broker of a cluster, held ready for when the first is lost.

A cluster that has lost a broker may let nobody log in for seconds, while it agrees on who leads; a connection that is
there already goes on. It hears what the first one hears, and nobody listens to it until it is taken.

::

    none --keep, logged in and subscribed--> ready --taken--> none (it is the first one now)
    ready --lost--> none, wait with full jitter, again
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

from evenwatt_agent.transport import Connection, LinkLostError, Will, connect_to
from evenwatt_daemon import get_logger
from evenwatt_daemon.broker import full_jitter_s
from evenwatt_daemon.tls import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_daemon.broker import Roster


class Held:
    """A connection with what closes it."""

    def __init__(self, connection: Connection, stack: AsyncExitStack) -> None:
        self.connection, self._stack = connection, stack

    async def close(self) -> None:
        """Say goodbye to the broker, if it is there."""
        with suppress(LinkLostError):
            await self._stack.aclose()


async def open_held(roster: Roster, client_id: str, will: Will, filters: Sequence[str], *, beside: Any = None) -> Held:
    """Log in and subscribe.

    Args:
        roster: Where.
        client_id: As whom.
        will: What the broker says when the connection is lost.
        filters: What to hear; nothing is subscribed if it is empty.
        beside: A broker that is used already; None to try the next one.

    Raises:
        LinkLostError: the broker cannot be reached or refuses.
        CredentialsError: the password, a certificate or a key cannot be used.
    """
    broker = roster.next() if beside is None else roster.beside(beside)
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connect_to(broker, client_id, will, roster.login_s))
        if filters:
            await connection.subscribe(*filters)
        return Held(connection, stack.pop_all())


class Spare:
    """Keeps the second connection, where there is more than one broker.

    Args:
        roster: The brokers.
        client_id: Ours; the second connection has one of its own.
        filters: What it hears.
    """

    def __init__(self, roster: Roster, client_id: str, filters: Sequence[str]) -> None:
        self._roster, self._client_id, self._filters = roster, f"{client_id}-2", filters
        self._held: Held | None = None
        self._task: asyncio.Task[None] | None = None
        self._turn = 0
        self._log: Any = get_logger("link")

    @property
    def ready(self) -> bool:
        """Whether there is one to be taken."""
        return self._held is not None

    def keep(self, first: Connection, will: Callable[[], Will]) -> None:
        """Hold one ready beside the first, from now on."""
        if self._roster.several and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(first, will), name="link-spare")

    async def take(self) -> Held | None:
        """Return the second connection, which is the caller's now; None if there is none."""
        held, self._held = self._held, None
        await self._end()
        if held is not None:
            self._roster.took(held.connection.broker)
        return held

    async def close(self) -> None:
        """Give it up."""
        await self._end()
        held, self._held = self._held, None
        if held is not None:
            await held.close()

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self, first: Connection, will: Callable[[], Will]) -> None:
        attempt = 0
        while True:
            await asyncio.sleep(full_jitter_s(attempt))
            try:
                self._turn += 1  # a broker that still has the one before must not end this one for it
                client_id = f"{self._client_id}-{self._turn}"
                self._held = await open_held(self._roster, client_id, will(), self._filters, beside=first.broker)
                attempt = 0
                self._log.debug("a second connection is ready", broker=self._held.connection.broker.where)
                async for _ in self._held.connection.messages():
                    pass  # the first one hears it too
            except (LinkLostError, CredentialsError) as error:
                held, self._held = self._held, None
                if held is not None:
                    await held.close()
                attempt += 1
                self._log.debug("no second connection", why=str(error))
