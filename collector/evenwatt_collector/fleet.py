"""Every node heard of, by zone, and the latest events. Pure: time is an argument."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from evenwatt_collector.node import Heard, Node
from evenwatt_wire.messages import NodeState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evenwatt_wire import Ack, Birth, Event, Live, NodeSummary, State

MAX_NODES: Final = 20_000
"""Whoever can publish could invent names without end."""
_EVENTS_KEPT: Final = 200
_CLOCK_OFF_S: Final = 60.0
"""By which a node's clock may differ from ours: windows take a second or so, and a busy machine some more."""
_CUT_OFF: Final = "this collector's own connection to the broker is down, so what it shows of them is old"


class FleetFullError(ValueError):
    """There is no room for one more node."""


class Fleet:
    """Folds messages into nodes."""

    def __init__(self) -> None:
        self._zones: dict[str, dict[str, Node]] = {}
        self._sorted: dict[str, list[Node]] = {}
        """Nodes of zones in which none has come or gone since they were sorted."""
        self._changed: dict[tuple[str, str], None] = {}
        self._count = 0
        self.events: deque[tuple[str, Event]] = deque(maxlen=_EVENTS_KEPT)
        self.happened = 0
        """Events heard in all."""

    @property
    def zones(self) -> list[str]:
        """Names of zones heard of."""
        return sorted(self._zones)

    @property
    def known(self) -> int:
        """Nodes known, in all zones."""
        return self._count

    def take_changed(self) -> dict[tuple[str, str], None]:
        """Return which nodes, by zone and name, anything was heard of since the last call, and which are gone."""
        changed, self._changed = self._changed, {}
        return changed

    def in_zone(self, zone: str) -> Sequence[Node]:
        """Return a zone's nodes by name."""
        nodes = self._sorted.get(zone)
        if nodes is None:
            nodes = self._sorted[zone] = [node for _, node in sorted(self._zones.get(zone, {}).items())]
        return nodes

    def find(self, zone: str, name: str) -> Node | None:
        """Return a node if it is known."""
        return self._zones.get(zone, {}).get(name)

    def expect(self, zone: str, name: str, now_s: float) -> None:
        """Show a node that the ledger knows, before and unless anything is heard of it."""
        if self._count < MAX_NODES:
            self._node(zone, name, now_s)

    def forget(self, zone: str, name: str) -> None:
        """Drop a node whose retained state was deleted."""
        if self._zones.get(zone, {}).pop(name, None):
            self._count -= 1
            self._sorted.pop(zone, None)
            self._changed[zone, name] = None

    def on_state(self, zone: str, state: State, now_s: float) -> bool:
        """Take a state; False if it is stale."""
        return self._node(zone, state.node, now_s).on_state(state, now_s)

    def on_birth(self, zone: str, birth: Birth, now_s: float) -> bool:
        """Take an inventory; False if it is stale."""
        return self._node(zone, birth.node, now_s).on_birth(birth, now_s)

    def on_summary(self, zone: str, summary: NodeSummary) -> bool:
        """Take a node's own summary; False if it is of another boot than the current one."""
        node = self.find(zone, summary.node)
        if node is None:
            return False
        self._changed[node.key] = None
        return node.on_summary(summary)

    def on_live(self, zone: str, live: Live, now_s: float) -> Heard:
        """Take a window.

        Raises:
            FleetFullError: it is of one node too many.
        """
        nodes = self._zones.get(zone)
        node = (nodes.get(live.node) if nodes else None) or self._node(zone, live.node, now_s)
        self._changed[node.key] = None
        return node.on_live(live, now_s)

    def on_event(self, zone: str, event: Event) -> None:
        """Keep an event for whoever looks."""
        self.events.append((zone, event))
        self.happened += 1

    def on_ack(self, zone: str, ack: Ack) -> None:
        """Take a verified acknowledgement's readback."""
        node = self.find(zone, ack.node)
        if node is not None:
            self._changed[node.key] = None
            node.on_ack(ack)

    def alarms(self, zone: str, now_s: float, *, linked: bool = True, wall_ms: float | None = None) -> list[str]:
        """Return what is wrong with a zone's nodes, each with its fix.

        Args:
            zone: Its name.
            now_s: Monotonic seconds.
            linked: False where the collector itself hears nothing.
            wall_ms: Its clock, if those of the nodes are to be held against it.
        """
        nodes = self.in_zone(zone)
        rivals = [node.name for node in nodes if node.has_rival(now_s)]
        lost = [node.name for node in nodes if node.state is NodeState.LOST]
        silent = [node.name for node in nodes if node.silent(now_s)]
        alarms = [
            f"two agents use the name {name!r}; give one of them another 'node' in its settings" for name in rivals
        ]
        if lost:
            why = "its agent or its network is down" if linked else _CUT_OFF
            alarms.append(f"lost: {named(lost)}; {why}")
        if silent:
            why = "connected, but no measurements arrive" if linked else _CUT_OFF
            alarms.append(f"silent: {named(silent)}; {why}")
        if wall_ms is not None and linked:
            alarms += _clocks({node.name: node.clock_ahead_s(now_s, wall_ms) for node in nodes})
        return alarms

    @property
    def lost(self) -> int:
        """Live windows that never came."""
        return sum(node.lost for nodes in self._zones.values() for node in nodes.values())

    def _node(self, zone: str, name: str, now_s: float) -> Node:
        nodes = self._zones.get(zone)
        node = nodes.get(name) if nodes else None
        if node is not None:
            self._changed[node.key] = None
            return node
        if self._count >= MAX_NODES:
            raise FleetFullError(f"{zone}/{name}: already {MAX_NODES} nodes; delete retained states of nodes long gone")
        self._count += 1
        self._sorted.pop(zone, None)
        self._changed[zone, name] = None
        return self._zones.setdefault(zone, {}).setdefault(name, Node(zone, name, now_s))


def _clocks(ahead_s: Mapping[str, float]) -> list[str]:
    wrong = {name: off_s for name, off_s in ahead_s.items() if abs(off_s) > _CLOCK_OFF_S}
    if not wrong:
        return []
    worst_s = max(wrong.values(), key=abs)
    off = f"{abs(worst_s) / 60:.0f} min {'ahead of' if worst_s > 0 else 'behind'} this collector's"
    most = "" if len(wrong) == 1 else "at the most "
    fix = "synchronise both (timedatectl set-ntp true), since records are dated by the node's clock"
    return [f"clock: {named(sorted(wrong))}: {most}{off}; {fix}"]


def named(names: Iterable[str], most: int = 5) -> str:
    """Return the first of some names, and how many there are besides."""
    found = list(names)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")
