"""What the fleet is like at a moment, as exporters want it: made of what the loop knows and what the database holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from evenwatt_collector.carbon import grams_per_hour
from evenwatt_collector.storage.memory import recall, remember

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from evenwatt_collector.carbon import Factor
    from evenwatt_collector.node import Node
    from evenwatt_collector.storage import Connection
    from evenwatt_wire import ZoneSummary

_STALE_S: Final = 10.0
"""Power that was said longer ago is not power now."""
_SINCE: Final = "exported-since"

NodeKey = tuple[str, str]
"""Zone and node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A counter of a host."""

    id: str
    kind: str
    parent: str | None
    in_total: bool
    quality: str
    energy_j: float | None
    power_w: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A node. What is not known, or is no longer said, is None."""

    zone: str
    name: str
    quality: str
    energy_j: float | None
    carbon_g: float | None
    power_w: float | None
    cap_w: float | None
    carbon_g_per_h: float | None
    components: tuple[Component, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A zone."""

    zone: str
    power_w: float
    budget_w: float | None
    leased_w: float
    carbon_g_per_h: float
    intensity_g_per_kwh: float
    standing: str


class Energies(NamedTuple):
    """What the ledger holds, of one moment. Empty where the database did not answer: then only power is told."""

    since_ms: int
    hosts: Mapping[NodeKey, tuple[float, float]]
    """Joules and grams."""
    components: Mapping[tuple[str, str, str], float]
    """Joules, by zone, node and counter."""


NO_ENERGIES: Final = Energies(0, {}, {})


def read_energies(connection: Connection, now_ms: int, *, components: bool) -> Energies:
    """Read all sums, and since when they are counted: fixed at the first call, so that no restart looks like a reset.

    Raises:
        DatabaseError: the database does not answer.
    """
    since_ms = recall(connection, _SINCE)
    if not isinstance(since_ms, int):
        first_ms = connection.rows("SELECT MIN(first_ms) FROM node")[0][0]
        if first_ms is None:
            return NO_ENERGIES  # nothing is in the books yet
        since_ms = min(now_ms, int(first_ms))
        remember(connection, _SINCE, since_ms)
    hosts = connection.rows(
        "SELECT zone.name, node.name, SUM(boot.energy_j + boot.energy_low_j), SUM(boot.grams + boot.grams_low) "
        "FROM boot JOIN node ON node.id = boot.node JOIN zone ON zone.id = boot.zone GROUP BY zone.name, node.name"
    )
    parts = components and connection.rows(
        "SELECT zone.name, node.name, domain, SUM(energy_j + energy_low_j) FROM domain_energy "
        "JOIN node ON node.id = domain_energy.node JOIN zone ON zone.id = node.zone "
        "GROUP BY zone.name, node.name, domain"
    )
    return Energies(
        since_ms,
        {(zone, node): (float(joules), float(grams)) for zone, node, joules, grams in hosts},
        {(zone, node, domain): float(joules) for zone, node, domain, joules in parts or ()},
    )


def hosts_of(nodes: Iterable[tuple[Node, Factor]], energies: Energies, now_s: float, *, components: bool) -> list[Host]:
    """Return every node as it is now."""
    return [_host(node, factor, energies, now_s, components=components) for node, factor in nodes]


def places_of(summaries: Iterable[ZoneSummary]) -> list[Place]:
    """Return every zone as it is now."""
    return [
        Place(
            zone=one.zone,
            power_w=one.power_w,
            budget_w=one.budget_w,
            leased_w=one.leased_w,
            carbon_g_per_h=one.emissions_g_per_h,
            intensity_g_per_kwh=one.intensity_g_per_kwh,
            standing=one.intensity_standing,
        )
        for one in summaries
    ]


def _host(node: Node, factor: Factor, energies: Energies, now_s: float, *, components: bool) -> Host:
    live = node.live if node.present and node.age_s(now_s) <= _STALE_S else None
    power_w = live.total.mean_w if live else None
    joules, grams = energies.hosts.get((node.zone, node.name), (None, None))
    return Host(
        zone=node.zone,
        name=node.name,
        quality=node.quality.value,
        energy_j=joules,
        carbon_g=grams,
        power_w=power_w,
        cap_w=node.cap_w if live else None,
        carbon_g_per_h=None if power_w is None else grams_per_hour(power_w, factor),
        components=_components(node, energies, speaks=live is not None) if components else (),
    )


def _components(node: Node, energies: Energies, *, speaks: bool) -> tuple[Component, ...]:
    watts = {part.id: part.mean_w for part in node.live.domains} if speaks and node.live else {}
    return tuple(
        Component(
            id=domain.id,
            kind=domain.kind,
            parent=domain.parent,
            in_total=domain.in_total,
            quality=domain.quality.value,
            energy_j=energies.components.get((node.zone, node.name, domain.id)),
            power_w=watts.get(domain.id),
        )
        for domain in (node.birth.domains if node.birth else ())
    )
