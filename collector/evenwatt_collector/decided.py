"""What was decided, as it happens: a line for people each, kept in a ring and told on the stream. Pure but for the hub.

Thousands of nodes whose caps move at once are one line: whoever decides adds up by zone and moment (``explain.news``,
``planning.news``). What still comes faster than anybody reads is counted, and said in one line once there is room.
A restart begins anew; what has to be kept is in the ledger, the database of jobs and the audit log.
"""

from __future__ import annotations

import secrets
from collections import Counter, deque
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.live_stream import Hub

KEPT: Final = 1_000
"""The latest; about 1 MB."""
BURST: Final = 40
"""So many at once, and then ..."""
PER_S: Final = 4.0
"""... so many a second are told one by one (our choice: more cannot be read)."""
MOST: Final = 200
"""On a page."""


class DecisionKind(StrEnum):
    """What was decided."""

    BAND = "band"
    """A zone came near its limit, over it, or away from it."""
    CAP = "cap"
    """Nodes may draw less, or more."""
    PAUSE = "pause"
    RESUME = "resume"
    LEASE = "lease"
    """Leases ended, an operator's lease holds, devices did not obey."""
    POLICY = "policy"
    """Another policy holds, or one was taken back."""
    PLAN = "plan"
    """A job was planned."""
    SHIFT = "shift"
    """Its plan was changed."""
    START = "start"
    STOP = "stop"
    """It was stopped and goes on later."""
    END = "end"
    """It is done, failed or was cancelled."""
    TUNE = "tune"
    """A cap was learned, or is tried."""
    VARIANT = "variant"
    """A service is to run another variant of its model."""
    ACTION = "action"
    """A person asked for something."""
    ALERT = "alert"
    """An alert opened, got worse or is over."""
    MORE = "more"
    """So many more than are told one by one."""


class Decided(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line."""

    kind: DecisionKind
    wall_s: float
    """Unix time."""
    words: str
    zone: str = ""
    """Where; empty: everywhere."""
    nodes: list[str] = []
    """Some of the nodes concerned, as ``ZONE:NODE``."""
    count: int = 1
    """How many nodes or jobs it is about."""
    job: str = ""
    """Id of the job it is about."""
    name: str = ""
    """What the job or service is called."""


class Decisions:
    """The latest decisions.

    Args:
        hub: Tells them.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._run, self._number = secrets.token_hex(4), 0
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._room, self._filled_s = float(BURST), 0.0
        self._held_back: Counter[str] = Counter()

    def say(self, decided: Iterable[Decided], now_s: float, wall_s: float) -> None:
        """Tell some decisions; to be called now and then without any, for those that were held back.

        Args:
            decided: In the order in which they were made.
            now_s: Monotonic time.
            wall_s: Unix time.
        """
        self._room = min(float(BURST), self._room + PER_S * max(0.0, now_s - self._filled_s))
        self._filled_s = now_s
        if self._held_back and self._room >= 1:
            self._own_up(wall_s)
        for one in decided:
            if self._room >= 1:
                self._tell(one)
            else:
                self._held_back[one.kind.value] += 1

    def page(
        self, *, kinds: frozenset[str] = frozenset(), zone: str = "", before: str = "", limit: int = MOST
    ) -> list[dict[str, Any]]:
        """Return the latest decisions, the newest first.

        Args:
            kinds: Only these; empty: of every kind.
            zone: Only those that concern this zone; those that concern every zone are among them.
            before: Only what is older than the one of this id; one that is not known: everything.
            limit: At the most.
        """
        latest = reversed(self._kept)
        if any(one["id"] == before for one in self._kept):
            for one in latest:
                if one["id"] == before:
                    break
        wanted = (
            one
            for one in latest
            if (not kinds or one["kind"] in kinds) and (not zone or one.get("zone", "") in {"", zone})
        )
        return list(islice(wanted, limit))

    def _tell(self, one: Decided) -> None:
        self._room -= 1
        self._number += 1
        document = {"id": f"{self._run}-{self._number}", **msgspec.to_builtins(one)}
        self._kept.append(document)
        self._hub.say("decisions", document)

    def _own_up(self, wall_s: float) -> None:
        """Say what was not told one by one."""
        count = self._held_back.total()
        parts = ", ".join(f"{many} of kind {kind}" for kind, many in self._held_back.most_common())
        self._held_back.clear()
        words = f"{count} more decisions came faster than they could be read: {parts}"
        self._tell(Decided(kind=DecisionKind.MORE, wall_s=wall_s, words=words, count=count))
