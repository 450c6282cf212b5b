"""Whether anybody answers: a publish that the broker's access list forbids looks like any other.

States: FINE --records wait and a collector is there, for longer than ``patience_s``--> UNANSWERED --an answer, no
record left, the collector or the connection gone--> FINE. Only an answer shows that what we say is heard.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

PATIENCE_S: Final = 120.0
"""Longer than a collector takes to store, and than several attempts to send again."""


class Heard(Enum):
    """Named states."""

    FINE = "fine"
    UNANSWERED = "unanswered"


class Hearing:
    """Watches for answers to the ledger."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._collector = False
        self._since_s: float | None = None
        self.state = Heard.FINE

    def answered(self) -> None:
        """Take note that the collector has confirmed something."""
        self._since_s = None

    def collector(self, *, ready: bool) -> None:
        """Take note of what the collector last said of itself; the broker says it for one that is lost."""
        self._collector = ready

    def look(self, now_s: float, *, waiting: int, online: bool) -> bool:
        """Look at ``now_s`` (monotonic seconds); return whether the state has changed.

        Args:
            now_s: Now.
            waiting: Records that wait for an answer.
            online: Whether the broker is there.
        """
        if not (waiting and online and self._collector):
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now_s
        late = self._since_s is not None and now_s - self._since_s >= self._patience_s
        before, self.state = self.state, Heard.UNANSWERED if late else Heard.FINE
        return self.state is not before
