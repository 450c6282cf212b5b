"""Tells readers of the stream what has changed since they were told last. Pure but for the hub it fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.status import event_document

if TYPE_CHECKING:
    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.live_stream import Hub

Document = dict[str, Any]

_STATES: Final = {"zones": ("zone",), "nodes": ("zone", "node"), "workloads": ("workload",), "jobs": ("id",)}
_AGES: Final = frozenset({"age_s", "lease_remaining_s", "wall_ms"})
"""What changes by itself is no news."""


class Told:
    """What was told."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._said: dict[tuple[str, str], Document] = {}
        self._happened = 0

    def tell(self, status: Document) -> None:
        """Tell every state of the status document that is new or different, and which are gone."""
        seen = set()
        for topic, keys in _STATES.items():
            for row in status[topic]:
                place = (topic, ":".join(row[key] for key in keys))
                seen.add(place)
                news = {key: value for key, value in row.items() if key not in _AGES}
                if self._said.get(place) != news:
                    self._said[place] = news
                    self._hub.publish(*place, row)
        for place in set(self._said) - seen:
            del self._said[place]
            self._hub.forget(*place)

    def happened(self, fleet: Fleet) -> None:
        """Tell the events since the last call, those that are still kept."""
        new = min(fleet.happened - self._happened, len(fleet.events))
        self._happened = fleet.happened
        for zone, event in list(fleet.events)[len(fleet.events) - new :]:
            self._hub.say("events", event_document(zone, event))
