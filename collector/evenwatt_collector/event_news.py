"""Which events of nodes are decisions, in words: nodes decide too, when nobody commands them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_collector.decided import Decided, DecisionKind
from evenwatt_collector.fleet import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from evenwatt_wire import Event

NAMED: Final = 8
_IN_WORDS: Final = 3
_WORDS: Final = {
    "lease-expired": "let go of its lease, which nobody renewed, and goes to its fallback",
    "reflex-began": "draws more than its lease, and holds it by itself",
    "cap-locked": "cannot set its cap, since something else holds it",
    "knob-replaced": "holds its cap by another knob, since one did not obey",
    "command-refused": "refused a command",
}
_MANY: Final = {
    "lease-expired": "let go of their leases, which nobody renewed, and go to their fallbacks",
    "reflex-began": "draw more than their leases, and hold them by themselves",
    "cap-locked": "cannot set their caps, since something else holds them",
    "knob-replaced": "hold their caps by another knob, since one did not obey",
    "command-refused": "refused a command",
}


def of_events(events: Iterable[tuple[str, Event]], wall_s: float) -> Iterator[Decided]:
    """Yield what nodes decided, one line for each zone and kind of event.

    Args:
        events: New ones, each with its zone.
        wall_s: Unix time.
    """
    found: dict[tuple[str, str], dict[str, Event]] = {}
    for zone, event in events:
        if event.name in _WORDS:
            found.setdefault((zone, event.name), {})[event.node] = event
    for (zone, name), by_node in found.items():
        nodes = sorted(by_node)
        words = f"{nodes[0]} {_WORDS[name]}" if len(nodes) == 1 else f"{named(nodes, _IN_WORDS)} {_MANY[name]}"
        why = dict(by_node[nodes[0]].facts).get("why")
        if why and len(nodes) == 1:
            words += f": {str(why)[:200]}"
        yield Decided(
            kind=DecisionKind.LEASE,
            wall_s=wall_s,
            zone=zone,
            nodes=[f"{zone}:{node}" for node in nodes[:NAMED]],
            count=len(nodes),
            words=words,
        )
