"""A collector's connections to the broker, and what it says there about itself: presence, beats, whose keys count.

A zone has its own connection, since MQTT gives a connection one will and every zone must hear when its collector is
lost. A collector without zones in its settings hears all of them over one, and is present in none.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from evenwatt_collector.backlog import spread_s
from evenwatt_collector.ingest import HEARD_KINDS
from evenwatt_collector.link import Link, Post
from evenwatt_collector.storage.identity import identity_of
from evenwatt_wire import ControllerState, Kind, Topic, encode
from evenwatt_wire.messages import NodeState
from evenwatt_wire.topics import CONTROLLER_NODE, DELIVERY, zone_filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.ingest import Ingest
    from evenwatt_collector.keys import ControllerKeys
    from evenwatt_collector.neighbours.desk import Neighbours
    from evenwatt_collector.settings import CollectorSettings
    from evenwatt_collector.standby.tenure import Tenure
    from evenwatt_collector.storage.identity import Identity

EVERY_ZONE: Final = "+"


class Speaking:
    """All connections of one collector.

    Args:
        settings: Where the broker is, and who this is there.
        epoch: What it says under.
        keys: Whose document is told to the nodes.
        fleet: How many there are decides over how long they spread.
        identities: Names of what the database holds.
        tenure: The hold of the lease, where there is a standby.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        epoch: int,
        keys: ControllerKeys,
        fleet: Fleet,
        identities: Mapping[str, Identity],
        tenure: Tenure | None,
    ) -> None:
        self._settings, self._epoch, self._keys, self._fleet, self._tenure = settings, epoch, keys, fleet, tenure
        self.identities = identities
        self.links: dict[str, Link] = {}

    def connect(self, zones: Iterable[str], ingest: Ingest, neighbours: Neighbours) -> None:
        """Make the connections; they come up when their ``run`` does."""
        for zone in zones or [EVERY_ZONE]:
            self.links[zone] = self._link(zone, ingest, neighbours)

    @property
    def named(self) -> list[str]:
        """Zones with a connection of their own: where this collector is present."""
        return [zone for zone in self.links if zone != EVERY_ZONE]

    @property
    def online(self) -> bool:
        """Whether the broker hears us at all."""
        return any(link.online for link in self.links.values())

    def troubles(self) -> Iterator[str]:
        """Say why connections are down."""
        yield from sorted({link.trouble for link in self.links.values() if not link.online})

    def link(self, zone: str) -> Link | None:
        """Return the connection that serves a zone."""
        return self.links.get(zone) or self.links.get(EVERY_ZONE)

    def linked(self, zone: str) -> bool:
        """Whether what is said of a zone is heard, as far as it is ours to hear."""
        link = self.link(zone)
        return link is None or link.online

    def publish(self, topic: Topic, payload: bytes, qos: int | None = None) -> None:
        """Say something, as its kind is carried."""
        link, delivery = self.link(topic.zone), DELIVERY[topic.kind]
        if link is not None:
            link.publish(Post(str(topic), payload, delivery.qos if qos is None else qos, delivery.retain))

    def say_presence(self, zone: str, state: NodeState) -> None:
        """Say that we are there, or leave."""
        if zone != EVERY_ZONE:
            self.links[zone].publish(self._presence(zone, state))

    def say_trust(self, zone: str) -> None:
        """Tell the trust document to the nodes of a zone."""
        link = self.link(zone)
        if link is not None:
            for post in self._trust(zone):
                link.publish(post)

    def beat(self, tenure: Tenure) -> None:
        """Say on the broker that we live."""
        number = tenure.next_beat()
        for zone in self.links:
            self.publish(Topic(zone, CONTROLLER_NODE, Kind.BEAT), encode(tenure.beat(zone, number)))

    def _link(self, zone: str, ingest: Ingest, neighbours: Neighbours) -> Link:
        named = zone != EVERY_ZONE
        client_id, beats = self._settings.client_id, [Kind.BEAT] if self._tenure else []

        def greeting() -> list[Post]:
            neighbours.connected(lambda one: not named or one == zone)
            return [self._presence(zone, NodeState.READY), *self._trust(zone)] if named else []

        return Link(
            self._settings.mqtt,
            f"{client_id}-{zone}" if named else client_id,
            [*(zone_filter(zone, kind) for kind in [*HEARD_KINDS, *beats]), *neighbours.filters],
            receive=neighbours.receiver(ingest.receive),
            greeting=greeting,
            will=(lambda: self._presence(zone, NodeState.LOST)) if named else None,
            oversized=ingest.oversized,
        )

    def _presence(self, zone: str, state: NodeState) -> Post:
        ledger = identity_of(self.identities, zone)
        said = ControllerState(
            zone=zone,
            state=state,
            epoch=self._epoch,
            wall_ms=time.time_ns() // 1_000_000,
            ledger=ledger.ledger,
            since_wall_ms=ledger.since_ms,
            spread_s=spread_s(self._fleet.known),
        )
        return Post(str(Topic(zone, CONTROLLER_NODE, Kind.STATE)), encode(said), 1, retain=True)

    def _trust(self, zone: str) -> list[Post]:
        """Return the trust document for the nodes of a zone: the root has signed it, so the broker may carry it."""
        document = self._keys.document
        return [Post(str(Topic(zone, CONTROLLER_NODE, Kind.TRUST)), document, 1, retain=True)] if document else []
