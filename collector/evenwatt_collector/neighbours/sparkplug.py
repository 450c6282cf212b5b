"""A zone and its nodes as Sparkplug hosts see them. Pure: what is known goes in, topics and payloads come out.

Eclipse Sparkplug 3.0 (https://sparkplug.eclipse.org/specification/): the group is the fleet, an edge node is a zone,
its devices are the zone's nodes. A session goes ::

    (no connection) --CONNECT, its will NDEATH(bdSeq)--> NBIRTH(bdSeq), seq 0 --> DBIRTH of each node that speaks
    then NDATA, DDATA: what has changed; DDEATH: a node fell silent; DBIRTH: it speaks again
    NCMD "Node Control/Rebirth" --> all births again, the same bdSeq
    connection lost --> the broker says NDEATH(bdSeq); the next CONNECT has bdSeq + 1

Hosts can see and not set: nothing but a rebirth can be asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from evenwatt_collector.neighbours.sparkplug_payload import (
    DataType,
    Metric,
    PayloadError,
    Quality,
    payload,
    switches,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from evenwatt_collector.neighbours.picture import Host
    from evenwatt_wire import ZoneSummary

_NAMESPACE: Final = "spBv1.0"
_COUNT: Final = 256
"""Numbers of messages and of sessions begin again after 255."""
_REBIRTH: Final = "Node Control/Rebirth"
_MOST_COMMAND_BYTES: Final = 4096


class _Kind(NamedTuple):
    """What a metric is measured in, and to how many digits a change is one."""

    unit: str
    digits: int


# Joules are a Double: they have fractions, are exact up to 9e15, and many hosts have no unsigned 64-bit numbers.
_KINDS: Final = {
    "power_w": _Kind("W", 1),
    "cap_w": _Kind("W", 1),
    "budget_w": _Kind("W", 1),
    "leased_w": _Kind("W", 1),
    "energy_j": _Kind("J", 0),
    "carbon_g": _Kind("g", 3),
    "carbon_g_per_h": _Kind("g/h", 1),
    "intensity_g_per_kwh": _Kind("g/kWh", 1),
}


_FROM_WINDOWS: Final = frozenset({"power_w", "cap_w", "carbon_g_per_h"})
_FROM_LEDGER: Final = frozenset({"energy_j", "carbon_g"})


class Reading(NamedTuple):
    """A value, and whether it is no longer what it was read as."""

    value: float | str | None
    stale: bool = False


Readings = dict[str, Reading]
"""By metric."""


class RefusedError(ValueError):
    """A command that is not obeyed; the text says why."""


def of_node(host: Host, *, silent: bool, stored: bool) -> Readings | None:
    """Return what is told of a node; None of one that does not speak.

    Args:
        host: The node.
        silent: Whether it ought to have spoken since.
        stored: Whether the database has answered; else its sums are those of before.
    """
    if host.power_w is None:
        return None
    values = {
        "power_w": host.power_w,
        "cap_w": host.cap_w,
        "carbon_g_per_h": host.carbon_g_per_h,
        "quality": host.quality,
        "energy_j": host.energy_j,
        "carbon_g": host.carbon_g,
    }
    return _readings(values, (_FROM_WINDOWS if silent else frozenset()) | (frozenset() if stored else _FROM_LEDGER))


def of_zone(zone: ZoneSummary) -> Readings:
    """Return what is told of a zone; its power is stale when none of its nodes speaks."""
    values = {
        "power_w": zone.power_w,
        "budget_w": zone.budget_w,
        "leased_w": zone.leased_w,
        "carbon_g_per_h": zone.emissions_g_per_h,
        "intensity_g_per_kwh": zone.intensity_g_per_kwh,
        "intensity_standing": zone.intensity_standing,
    }
    return _readings(values, _FROM_WINDOWS if 0 < zone.nodes <= zone.silent else frozenset())


def _readings(values: Mapping[str, float | str | None], stale: frozenset[str]) -> Readings:
    return {
        name: Reading(round(value, _KINDS[name].digits) if isinstance(value, int | float) else value, name in stale)
        for name, value in values.items()
    }


class Edge:
    """A zone's session.

    Args:
        group: The group.
        zone: The edge node.
        session: Number of the latest one (``bdSeq``); -1 before the first.
    """

    def __init__(self, group: str, zone: str, session: int = -1) -> None:
        self._group, self._zone = group, zone
        self.session = session
        self._seq = 0
        self._said: dict[str, Readings] = {}
        """By node; the zone's own stand under no name."""

    def topic(self, verb: str, node: str = "") -> str:
        """Return where a kind of message goes."""
        return "/".join([_NAMESPACE, self._group, verb, self._zone, *([node] if node else [])])

    def begin(self) -> None:
        """Count a new connection."""
        self.session = (self.session + 1) % _COUNT

    def death(self, wall_ms: int) -> tuple[str, bytes]:
        """Return what is said when this connection ends: the will, and the last word."""
        return self.topic("NDEATH"), payload([self._bd_seq], wall_ms, None)

    def births(self, zone: Readings, nodes: Mapping[str, Readings | None], wall_ms: int) -> Iterator[tuple[str, bytes]]:
        """Yield everything anew: what begins a session, or is asked for."""
        self._seq, self._said = -1, {"": zone}
        own = [self._bd_seq, Metric(_REBIRTH, DataType.BOOLEAN, value=False)]
        yield self._message("NBIRTH", "", [*own, *_described(zone)], wall_ms)
        yield from self.news(zone, nodes, wall_ms)

    def news(self, zone: Readings, nodes: Mapping[str, Readings | None], wall_ms: int) -> Iterator[tuple[str, bytes]]:
        """Yield what has changed since it was told; births of nodes come first."""
        new = {node: found for node, found in nodes.items() if found is not None and node not in self._said}
        for node, found in new.items():
            self._said[node] = found
            yield self._message("DBIRTH", node, _described(found), wall_ms)
        for node in [node for node in self._said if node and nodes.get(node) is None]:
            del self._said[node]
            yield self._message("DDEATH", node, [], wall_ms)
        for node, before in self._said.items():
            now = (nodes[node] if node else zone) or {}
            changed = [_metric(name, now[name], before[name]) for name in now if now[name] != before[name]]
            if changed:
                self._said[node] = now
                yield self._message("DDATA" if node else "NDATA", node, changed, wall_ms)

    def obey(self, topic: str, command: bytes, *, retained: bool) -> None:
        """Look at a command: the one that is obeyed asks for births.

        Raises:
            RefusedError: it is another one.
        """
        if retained:
            raise RefusedError("it was retained")
        if topic != self.topic("NCMD"):
            raise RefusedError("nodes take no commands")
        if len(command) > _MOST_COMMAND_BYTES:
            raise RefusedError(f"it has {len(command)} bytes, more than {_MOST_COMMAND_BYTES}")
        try:
            asked = switches(command)
        except PayloadError as error:
            raise RefusedError(f"not a payload: {error}") from None
        if not asked.get(_REBIRTH):
            raise RefusedError(f"it asks for {sorted(asked)[:4]}, and {_REBIRTH!r} = true alone is obeyed")

    @property
    def _bd_seq(self) -> Metric:
        return Metric("bdSeq", DataType.INT64, self.session)

    def _message(self, verb: str, node: str, metrics: list[Metric], wall_ms: int) -> tuple[str, bytes]:
        self._seq = (self._seq + 1) % _COUNT
        return self.topic(verb, node), payload(metrics, wall_ms, self._seq)


def _metric(name: str, now: Reading, before: Reading | None) -> Metric:
    """Return a metric as a birth describes it; or as data, where it was told before."""
    kind = _KINDS.get(name)
    quality = Quality.STALE if now.stale else Quality.GOOD if before and before.stale else None
    unit = None if before else kind.unit if kind else ""
    return Metric(name, DataType.DOUBLE if kind else DataType.STRING, now.value, quality, unit)


def _described(found: Readings) -> list[Metric]:
    return [_metric(name, one, None) for name, one in found.items()]
