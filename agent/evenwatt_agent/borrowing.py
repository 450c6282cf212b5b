"""Opening energy counters that this user may not open: the actuator opens them and passes the descriptor on.

The permission check of a file is made when it is opened, so a lent descriptor is read at full speed, and also when the
actuator has gone. Each request is a connection of its own, so that any thread may ask; it blocks, for two seconds at
most.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from evenwatt_agent.actuator.asking import connect, hear, say
from evenwatt_agent.actuator.protocol import Borrow, Lent, ProtocolError, Purpose, Refused
from evenwatt_agent.sources.held import open_file
from evenwatt_agent.sources.powercap import NotLentError

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from evenwatt_agent.actuator.protocol import ToAgent
    from evenwatt_agent.settings import AgentSettings

_ANSWER_S: Final = 2.0
FIRST_S: Final = 5.0
"""How long a starting agent waits for an actuator that is starting too."""
_AWAY_FIX: Final = (
    "start it (systemctl start evenwatt-actuator) and see its log; its user must be this one (actuator.user)"
)


class Borrower:
    """Opens files, its own way or with the actuator's help.

    Args:
        settings: They name the socket.
        patience_s: How long an actuator is waited for that is just starting.
    """

    def __init__(self, settings: AgentSettings, patience_s: float = FIRST_S) -> None:
        self._path = settings.actuator.socket
        self.patience_s = patience_s
        """0 once there has been an answer, or none for so long."""

    def open(self, path: Path) -> int:
        """Return a descriptor of ``path``, open for reading.

        Raises:
            NotLentError: this user may not, and the actuator does not lend it.
            OSError: it cannot be opened.
        """
        try:
            return open_file(path)
        except PermissionError:
            return self._borrow(path)

    def _borrow(self, path: Path) -> int:
        try:
            return _ask(self._connect(), path)
        except NotLentError:
            raise
        except (OSError, ProtocolError) as error:
            away = f"only root may open it, and the actuator does not answer on {self._path}: {error}"
            raise NotLentError(away, _AWAY_FIX, away=True) from None

    def _connect(self) -> socket.socket:
        """Connect; the first time wait for somebody who is just starting."""
        deadline = time.monotonic() + self.patience_s
        self.patience_s = 0.0
        while True:
            try:
                return connect(self._path, Purpose.LEND, _ANSWER_S)
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.1)


def _ask(sock: socket.socket, path: Path) -> int:
    with sock:
        _heed(hear(sock)[0])
        say(sock, Borrow(str(path)))
        answer, descriptors = hear(sock)
        _heed(answer)
        if isinstance(answer, Lent) and len(descriptors) == 1:
            return descriptors[0]
        for descriptor in descriptors:
            os.close(descriptor)
        raise ProtocolError("it answered without a file")


def _heed(answer: ToAgent) -> None:
    if isinstance(answer, Refused):
        fix = "see the actuator's log; agent and actuator must read the same settings and be of one version"
        raise NotLentError(f"the actuator does not lend it: {answer.why}", fix, away=False)
