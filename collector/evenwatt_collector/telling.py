"""Tells readers of the stream what has changed since they were told last. Pure but for the hub it fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.live_stream import STATES
from evenwatt_collector.status import event_document

if TYPE_CHECKING:
    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.live_stream import Hub
    from evenwatt_wire import Event

Document = dict[str, Any]

_STATES: Final = {"zones": ("zone",), "nodes": ("zone", "node"), "workloads": ("workload",), "jobs": ("id",)}
_AGES: Final = frozenset({"age_s", "lease_remaining_s", "wall_ms"})
"""What changes by itself is no news."""
_LISTS: Final = (*_STATES, "events")
_WATTS: Final = frozenset({"power_w", "peak_w", "cap_w", "would_w"})
PULSE: Final = (
    *("state", "silent", "age_s", "power_w", "peak_w", "cap_w", "at_cap", "lease", "lease_by", "quality"),
    *("emissions_g_per_h", "energy_j", "emissions_g", "missing", "lost", "spooled", "paused", "two_agents"),
    *(
        "class",
        "priority",
        "would_w",
        "controllable",
        "floor_w",
        "ceiling_w",
        "records",
        "agent_cpu_pct",
        "agent_rss_mb",
    ),
)
"""Columns of the pulse."""


class Told:
    """What was told."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._said: dict[tuple[str, str], Document] = {}
        self._happened = 0

    def rest(self) -> None:
        """Forget what nobody hears any more: whoever comes later gets what is known then, not what was told once."""
        heard = {topic for topic in STATES if self._hub.wanted(topic)}
        self._hub.keep(heard)
        self._said = {place: said for place, said in self._said.items() if place[0] in heard}

    def tell(self, status: Document, wall_ms: int) -> None:
        """Tell every state of the status document that is new or different, and which are gone.

        Args:
            status: The document.
            wall_ms: Wall time now.
        """
        seen = set()
        if self._hub.wanted("pulse"):
            for zone, message in pulses(status["nodes"]).items():
                seen.add(("pulse", zone))
                self._said["pulse", zone] = {}
                self._hub.publish("pulse", zone, message)
        if self._hub.wanted("collector"):
            rest = {key: value for key, value in status.items() if key not in _LISTS}
            self._hub.publish("collector", "", {"wall_ms": wall_ms, **rest})
        for topic, keys in _STATES.items():
            for row in status[topic] if self._hub.wanted(topic) else ():
                place = (topic, ":".join(row[key] for key in keys))
                seen.add(place)
                news = {key: value for key, value in row.items() if key not in _AGES}
                if self._said.get(place) != news:
                    self._said[place] = news
                    self._hub.publish(*place, row)
        for place in set(self._said) - seen:
            del self._said[place]
            self._hub.forget(*place)

    def happened(self, fleet: Fleet) -> list[tuple[str, Event]]:
        """Tell the events since the last call, those that are still kept, and return them."""
        new = min(fleet.happened - self._happened, len(fleet.events))
        self._happened = fleet.happened
        events = list(fleet.events)[len(fleet.events) - new :]
        for zone, event in events:
            self._hub.say("events", event_document(zone, event))
        return events


def pulses(nodes: list[Document]) -> dict[str, Document]:
    """Return what changes each second, by zone, in columns: ``node`` has the names, those of :data:`PULSE` the values.

    A column whose values are all the same is only its one value, under ``all``. Watts are whole tenths.
    """
    zones: dict[str, list[Document]] = {}
    for row in nodes:
        zones.setdefault(row["zone"], []).append(row)
    return {zone: _pulse(zone, rows) for zone, rows in zones.items()}


def _pulse(zone: str, rows: list[Document]) -> Document:
    told: Document = {"zone": zone, "node": [row["node"] for row in rows], "all": {}}
    for name in PULSE:
        column = [row[name] for row in rows]
        if column.count(column[0]) == len(column):
            told["all"][name] = column[0]
        elif name in _WATTS:
            told[name] = [None if value is None else round(value, 1) for value in column]
        else:
            told[name] = column
    return told
