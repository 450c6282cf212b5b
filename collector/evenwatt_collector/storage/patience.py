"""An end to waiting for a server that has stopped answering, whatever it is doing.

``statement_timeout`` is kept by the server, and one that hangs keeps nothing. So each wait has a moment at which the
socket is shut down under it: the library then reports a lost connection, which all callers know what to do with.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Generator

_LOOK_S: Final = 0.5


class Patience:
    """Watches waits from a thread of its own, which begins with the first one."""

    def __init__(self) -> None:
        self._waits: dict[int, tuple[float, Any]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, seconds: float, connection: Any) -> Generator[None]:
        """Cut a connection (of psycopg) unless what is inside ends in time."""
        token = id(connection)
        with self._lock:
            self._waits[token] = (time.monotonic() + seconds, connection)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="patience", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._waits.pop(token, None)

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(_LOOK_S):
            with self._lock:  # held while cutting: a wait that has ended meanwhile must not be cut
                now_s = time.monotonic()
                for token, (until_s, connection) in list(self._waits.items()):
                    if now_s >= until_s:
                        del self._waits[token]
                        _cut(connection)


def _cut(connection: Any) -> None:
    """Shut the socket down; closing it would be the library's."""
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)


PATIENCE: Final = Patience()
