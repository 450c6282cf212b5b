"""What a screen knows of a fleet: the newest row of each thing, when it was heard, and a past to draw. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_cli.live.sse import Said

Row = dict[str, Any]
PAST: Final = 300
"""Seconds that are kept for drawing."""
_UNKNOWN: Final = (None, None)
_TOLD_S: Final = 5.0
"""All states are told at once when a stream opens; this leaves room for a slow line."""
TOPICS: Final = ("zones", "nodes", "jobs")


Second = tuple[float | None, float | None]
"""Watts and cap of one second; None: not known then, or none."""


def _past() -> deque[Second]:
    return deque(maxlen=PAST)


@dataclass(slots=True)
class Thing:
    """A zone or node: its newest row, and its watts and cap (of a zone: its budget) second by second."""

    row: Row
    heard_s: float
    """When the row came, on this machine's monotonic clock."""
    past: deque[Second] = field(default_factory=_past)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a node stands, in a word or two."""

    words: str
    style: str
    fresh: bool = True
    """Whether its figures are of now."""


class FleetView:
    """Rows by name."""

    def __init__(self) -> None:
        self.zones: dict[str, Thing] = {}
        self.nodes: dict[tuple[str, str], Thing] = {}
        self.jobs: dict[str, Row] = {}
        self.away_since_s: float | None = None
        """Since when nothing is heard; None while the connection stands."""
        self.away_why = ""
        self._opened_s: float | None = None

    def opened(self, now_s: float) -> None:
        """The connection stands (again): all that is, is told anew; what is not told soon was forgotten meanwhile."""
        self.away_since_s, self.away_why = None, ""
        self._opened_s = now_s
        self.jobs.clear()

    def lost(self, why: str, now_s: float) -> None:
        """Nothing is heard any more."""
        if self.away_since_s is None:
            self.away_since_s = now_s
        self.away_why = why

    def apply(self, said: Iterable[Said], now_s: float) -> None:
        """Take messages of the stream."""
        for one in said:
            if one.topic == "zones":
                self._put(self.zones, one.data, ("zone",), now_s)
            elif one.topic == "nodes":
                self._put(self.nodes, one.data, ("zone", "node"), now_s)
            elif one.topic == "jobs":
                self._job(one.data)

    def take(self, document: Row, now_s: float) -> None:
        """Take a whole status document."""
        for zone in document["zones"]:
            self._put(self.zones, zone, ("zone",), now_s)
        for node in document["nodes"]:
            self._put(self.nodes, node, ("zone", "node"), now_s)
        for job in document.get("jobs", ()):
            self._job(job)

    def second(self, now_s: float) -> None:
        """Note the watts of this second."""
        if self._opened_s is not None and now_s - self._opened_s > _TOLD_S:
            began_s, self._opened_s = self._opened_s, None
            self.zones = {key: thing for key, thing in self.zones.items() if thing.heard_s >= began_s}
            self.nodes = {key: thing for key, thing in self.nodes.items() if thing.heard_s >= began_s}
        known = self.away_since_s is None
        for thing in self.zones.values():
            there = known and thing.row.get("linked", True)
            thing.past.append((thing.row["power_w"], thing.row["budget_w"]) if there else _UNKNOWN)
        for thing in self.nodes.values():
            there = known and not thing.row.get("silent") and thing.row["state"] == "ready"
            thing.past.append((thing.row["power_w"], thing.row["cap_w"]) if there else _UNKNOWN)

    def seed(self, history: Row) -> None:
        """Put what was before this screen was opened in front of a zone's past, as ``/api/v1/history`` tells it."""
        thing, at_s = self.zones.get(history["zone"]), history["at_s"]
        if thing is None or not at_s:
            return
        seen = list(thing.past)
        first_s = at_s[-1] - PAST
        before = [_sampled(history, first_s + 1 + second) for second in range(PAST - len(seen))]
        known = next((i for i, second in enumerate(before) if second != _UNKNOWN), len(before))
        thing.past = deque([*before[known:], *seen], maxlen=PAST)

    def outer(self) -> list[Row]:
        """Return the zones that are inside no other: their figures add up to the fleet's."""
        inside = {name for thing in self.zones.values() for name in thing.row.get("inside") or ()}
        return [thing.row for name, thing in sorted(self.zones.items()) if name not in inside]

    def standing(self, node: Thing, now_s: float) -> Standing:
        """Return how a node stands; what is not known to be so now comes first."""
        row = node.row
        zone = self.zones.get(row["zone"])
        since_s = now_s - node.heard_s
        if self.away_since_s is not None:
            found = Standing(f"old {age(since_s)}", "bright_black", fresh=False)
        elif zone is not None and not zone.row.get("linked", True):
            found = Standing("cut off", "bright_black", fresh=False)
        elif row.get("silent"):
            found = Standing(f"silent {age((row.get('age_s') or 0.0) + since_s)}", "red", fresh=False)
        elif row["state"] != "ready":
            found = Standing(str(row["state"] or "unknown"), _STATES.get(row["state"], "bright_black"), fresh=False)
        elif row.get("paused"):
            found = Standing("paused", "magenta")
        elif row.get("lease") == "fallback":
            found = Standing("fallback", "yellow")
        else:
            found = Standing("at cap", "yellow") if row.get("at_cap") else Standing("ready", "green")
        return found

    def _put(self, into: dict[Any, Thing], row: Row, keys: tuple[str, ...], now_s: float) -> None:
        if row.get("gone"):
            parts = str(row["key"]).split(":")
            into.pop(parts[0] if len(keys) == 1 else tuple(parts), None)
            return
        key = row[keys[0]] if len(keys) == 1 else tuple(row[name] for name in keys)
        thing = into.get(key)
        if thing is None:
            into[key] = Thing(row, now_s)
        else:
            thing.row, thing.heard_s = row, now_s

    def _job(self, row: Row) -> None:
        if row.get("gone"):
            self.jobs.pop(row["key"], None)
        else:
            self.jobs[row["id"]] = row


def _sampled(history: Row, wall_s: float) -> Second:
    """Return watts and budget as sampled last before a moment; unknown where no sample is near."""
    at_s: list[float] = history["at_s"]
    i = bisect_right(at_s, wall_s) - 1
    if i < 0 or wall_s - at_s[i] > _NEAR * history["step_s"]:
        return _UNKNOWN
    return history["power_w"][i], history["budget_w"][i]


_NEAR: Final = 1.6
"""A sample stands for the time up to the next one, which may be late."""
_STATES: Final = {"init": "yellow", "disconnected": "bright_black", "lost": "red"}


def age(seconds: float) -> str:
    """Return a length of time in at most four characters."""
    if seconds < 100:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 6_000 else f"{seconds / 3600:.0f}h"
