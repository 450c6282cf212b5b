"""What planning needs of the collector around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from evenwatt_collector.decided import Decided
    from evenwatt_collector.emissions import Emissions
    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.issuer import Order
    from evenwatt_collector.keeper import Keeper
    from evenwatt_collector.rules import NodeRule
    from evenwatt_collector.settings import CollectorSettings
    from evenwatt_collector.steering import Steering
    from evenwatt_daemon.audit import Facts
    from evenwatt_wire import KeyRing, Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Everything that planning looks at and speaks through."""

    settings: CollectorSettings
    epoch: int
    keys: KeyRing
    """Whom it believes."""
    fleet: Fleet
    steering: Steering
    emissions: Emissions
    keeper: Keeper
    caps_w: dict[tuple[str, str], float]
    """Learned caps by zone and node: control takes them as ceilings."""
    rule: Callable[[str, str], NodeRule]
    """What is decided about a node, learned caps left out."""
    zones: Callable[[], list[str]]
    """Names of all zones that are known."""
    reachable: Callable[[str], bool]
    """Whether orders of a zone can be sent, and are this collector's to send."""
    signs: bool
    """Whether this collector has a key to sign orders with."""
    order: Callable[[str, Order], None]
    """Sign and send an order to a node of a zone."""
    publish: Callable[[Topic, bytes], None]
    note: Callable[[str, Facts], None]
    """Enter in the audit log what somebody asked for."""
    decided: Callable[[Iterable[Decided]], None]
    """Tell decisions as they happen."""
