"""How fast a node sends what waits in its spool, so that a fleet that comes back is no flood. Pure: time is told.

::

    begin --a wait by chance, up to the spread--> SENDING --window full--> WAITING --answer--> SENDING
    WAITING --no answer within the patience--> SENDING the next ones, a first small window, with twice the patience
    no next ones --> SENDING from the oldest

At most a window of records is under way unanswered. It starts small, doubles with each answer, and never exceeds what
the collector grants: so the collector's own pace of storing is the pace at which it is sent to, and whoever does not
answer is asked ever less often. Records that are never answered (none should be) are passed over and hold up nothing.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_WINDOW: Final = 4
MOST: Final = 50
"""Window where the collector does not say."""
PATIENCE_S: Final = 30.0
MOST_PATIENCE_S: Final = 300.0
SPREAD_S: Final = 2.0
"""Where the collector does not say."""


class Replay:
    """Decides how many records may be sent now.

    Args:
        chance: Returns a number between two others; a fleet's nodes must not draw the same.
    """

    def __init__(self, chance: Callable[[float, float], float] = random.uniform) -> None:
        self._chance = chance
        self.spread_s = SPREAD_S
        """The longest wait before a backlog begins to be sent."""
        self.row = 0
        """The last row that was sent."""
        self.start = 0
        """Rows up to this one were sent before and are not waited for."""
        self._from_s = 0.0
        self._window = FIRST_WINDOW
        self._patience_s = PATIENCE_S
        self._heard_s = 0.0
        self._hurried = False

    def begin(self, now_s: float, *, spread: bool = True) -> None:
        """Begin with the oldest again; others may do the same at this moment if ``spread``."""
        self.row, self.start, self._heard_s = 0, 0, now_s
        self._from_s = now_s + (self._chance(0.0, self.spread_s) if spread and not self._hurried else 0.0)
        self._window = FIRST_WINDOW

    def hurry(self) -> None:
        """Wait for no chance any more: this node is about to leave."""
        self._from_s, self._hurried = 0.0, True

    def answered(self, now_s: float, window: int) -> None:
        """Take an answer, and how many records may be under way from now on (0: not said)."""
        self._window = min(2 * self._window, window or MOST)
        self._patience_s, self._heard_s = PATIENCE_S, now_s

    def room(self, now_s: float, in_flight: int) -> int:
        """Return how many records may be sent now, given how many are unanswered; passes over them if that is long."""
        if in_flight and now_s - self._heard_s >= self._patience_s:
            self._patience_s = min(2 * self._patience_s, MOST_PATIENCE_S)
            self.start, self._heard_s, self._window = self.row, now_s, FIRST_WINDOW
            in_flight = 0
        if now_s < self._from_s:
            return 0
        return max(0, self._window - in_flight)

    def turn(self) -> bool:
        """Return to the oldest if any were passed over; say whether."""
        passed, self.row, self.start = self.start > 0, 0 if self.start else self.row, 0
        return passed

    def sent(self, now_s: float, row: int) -> None:
        """Note that a record is under way."""
        if self.row == self.start:
            self._heard_s = now_s
        self.row = row

    def next_s(self, now_s: float) -> float:
        """Return when to look again if nothing happens before."""
        return self._from_s if self._from_s > now_s else max(now_s + 1.0, self._heard_s + self._patience_s)
