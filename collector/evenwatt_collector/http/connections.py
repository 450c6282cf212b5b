"""Connections within bounds: so many of them, and each has to ask and to take its answer in time.

Whoever opens thousands, or opens one and says nothing, or takes nothing of a long answer, would else hold descriptors
that the ledger, the broker's connection and everybody else need. uvicorn bounds requests, and not connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from evenwatt_collector.http.errors import error_answer

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Receive, Scope, Send

MOST: Final = 512
"""Connections that are answered; a service has 1,024 descriptors where nothing else is set (systemd)."""
TOLD: Final = 64
"""Connections beyond that are told so; what comes on top of them is closed without a word."""
SILENT_S: Final = 30.0
"""A connection without a request is closed after this; so is one that has not taken the end of its answer."""
STUCK_S: Final = 60.0
"""One that takes nothing of its answer for so long is closed."""
_LOOK_S: Final = 5.0


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, with the bounds above."""

    most, silent_s, stuck_s, look_s = MOST, SILENT_S, STUCK_S, _LOOK_S
    _look: asyncio.TimerHandle | None = None
    _since_s = 0.0
    """Since when no request is being answered."""
    _paused_s: float | None = None
    """Since when the other side takes nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, refuse it, or close it at once."""
        super().connection_made(transport)
        others = len(self.connections) - 1
        if others >= self.most + TOLD:
            transport.abort()
        elif others >= self.most:
            self.app = cast("Any", _refused)
        self._since_s = self.loop.time()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Count anew from here."""
        self._since_s = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note that the other side is slow."""
        self._paused_s = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it goes on."""
        self._paused_s = None
        super().resume_writing()

    def _look_later(self) -> None:
        self._look = self.loop.call_later(self.look_s, self._look_after_it)

    def _look_after_it(self) -> None:
        now_s = self.loop.time()
        idle = self.cycle is None or self.cycle.response_complete
        silent = idle and now_s - self._since_s >= self.silent_s
        stuck = self._paused_s is not None and now_s - self._paused_s >= self.stuck_s
        if silent or stuck:
            self.transport.abort()
        else:
            self._look_later()


async def _refused(scope: Scope, receive: Receive, send: Send) -> None:
    text = f"there are {MOST} connections already; ask again"
    await error_answer(503, text, {"Connection": "close"})(scope, receive, send)
