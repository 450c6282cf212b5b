"""The latest decisions about every node and zone, each with the numbers that caused it. Pure: wall time is an argument.

Kept in memory: a decision matters to whoever asks today why a node is slow, and the joules, which matter for longer,
are in the ledger. What it may hold is bounded in time, per name and in all, so that ten thousand nodes take no more
memory than a hundred; with many names each has a shorter past. A restart begins a new log, and says so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from evenwatt_collector.explain.records import NodeReason, ZoneReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

R = TypeVar("R", NodeReason, ZoneReason)

KEPT_S: Final = 86_400.0
"""Decisions that ended longer ago are forgotten (our choice)."""
KEPT_EACH: Final = 500
"""Decisions kept for one name at the most (our choice: three minutes each would fill the day) ..."""
KEPT_IN_ALL: Final = 100_000
"""... and in all (our choice: about 60 MB)."""
KEPT_LEAST: Final = 4
"""However many names there are, each keeps so many."""


@dataclass(slots=True)
class Spell(Generic[R]):
    """A decision from its first moment to its last."""

    first: R
    last: R
    """The same decision with its newest numbers."""

    @property
    def since_s(self) -> float:
        """When it was made, Unix time."""
        return self.first.wall_s

    @property
    def until_s(self) -> float:
        """When it was last seen to hold, Unix time."""
        return self.last.wall_s

    def at(self, wall_s: float) -> R:
        """Return the newest numbers of it that were known at a moment."""
        return self.last if self.until_s <= wall_s else self.first


class Log(Generic[R]):
    """Spells by name."""

    def __init__(self, kept_each: int = KEPT_EACH, kept_in_all: int = KEPT_IN_ALL) -> None:
        self._kept_each, self._kept_in_all = kept_each, kept_in_all
        self._rings: dict[str, deque[Spell[R]]] = {}
        self._trimmed_at = 1

    def note(self, reason: R) -> None:
        """Take what holds for a name now; times of one name should not go back (a clock that did begins a new past)."""
        ring = self._rings.get(reason.name)
        if ring is None:
            ring = self._rings[reason.name] = deque()
            self._trim_for_more_names()
        while ring and ring[-1].since_s > reason.wall_s:
            ring.pop()  # the clock was set back: what it says of later is not so
        if ring and not reason.differs(ring[-1].first):
            ring[-1].last = reason
            return
        ring.append(Spell(reason, reason))
        self._trim(ring, reason.wall_s)

    def at(self, name: str, wall_s: float) -> Spell[R] | None:
        """Return what held for a name at a moment: the latest spell that had begun by then."""
        ring = self._rings.get(name)
        if ring is None:
            return None
        i = bisect_right(ring, wall_s, key=lambda spell: spell.since_s) - 1
        return ring[i] if i >= 0 else None

    def before(self, name: str, wall_s: float, count: int) -> list[Spell[R]]:
        """Return up to ``count`` spells of a name that had begun by a moment, the latest first."""
        begun = [spell for spell in self._rings.get(name, ()) if spell.since_s <= wall_s]
        return begun[: -count - 1 : -1]

    def since_s(self, spell: Spell[R], same: Callable[[R], bool]) -> float:
        """Return since when something was the same without a break, up to a spell of which it is true."""
        since_s = spell.since_s
        for earlier in self.before(spell.first.name, spell.since_s, self._kept_each):
            if not same(earlier.first):
                break
            since_s = earlier.since_s
        return since_s

    def begins_s(self, name: str) -> float | None:
        """Return how far back the log of a name goes, Unix time; None: it has none."""
        ring = self._rings.get(name)
        return ring[0].since_s if ring else None

    @property
    def names(self) -> Iterable[str]:
        """Every name."""
        return self._rings.keys()

    def __len__(self) -> int:
        return sum(map(len, self._rings.values()))

    def _room(self) -> int:
        return max(KEPT_LEAST, min(self._kept_each, self._kept_in_all // max(1, len(self._rings))))

    def _trim(self, ring: deque[Spell[R]], wall_s: float) -> None:
        room = self._room()
        while len(ring) > room or (len(ring) > 1 and ring[0].until_s < wall_s - KEPT_S):
            ring.popleft()

    def _trim_for_more_names(self) -> None:
        """Whenever the names have doubled, cut every past to the room there is now."""
        if len(self._rings) >= 2 * self._trimmed_at:
            self._trimmed_at = len(self._rings)
            for ring in self._rings.values():
                self._trim(ring, 0.0)
