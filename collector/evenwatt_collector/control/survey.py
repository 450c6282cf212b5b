"""Counting: what the zone draws, what it may draw, and which nodes can be steered now. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from evenwatt_collector.control.accounts import Account, Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.control.grants import GrantBook
    from evenwatt_collector.control.types import NodeObservation

SILENT_S: Final = 3.0
"""After three missed live windows a node counts as its lease (our choice)."""
BLIND_FRACTION: Final = 0.20
"""With more of the nodes silent, caps only fall or hold (our choice)."""
OBEYS: Final = 1.05
"""A node above this multiple of its cap and ``OBEYS_W`` more counts by its power (our choice; meters are not exact)."""
OBEYS_W: Final = 5.0


@dataclass(slots=True)
class Survey:
    """One step's count. Watts."""

    live: list[NodeObservation] = field(default_factory=list)
    """Nodes that are steered now, in the order given, and beside them their accounts and outstanding caps."""
    accounts: list[Account] = field(default_factory=list)
    out_w: list[float] = field(default_factory=list)
    power_w: float = 0.0
    unmanaged_w: float = 0.0
    """Counted by the higher of mean and recent peak."""
    reserved_w: float = 0.0
    """Outstanding caps of nodes that cannot be steered now."""
    overdraw_w: float = 0.0
    """What disobedient nodes draw above their caps."""
    leased_w: float = 0.0
    """Outstanding caps of all nodes."""
    arrived_w: float = 0.0
    managed: int = 0
    silent: int = 0
    disobeying: list[str] = field(default_factory=list)
    unmanageable: list[str] = field(default_factory=list)

    @property
    def blind(self) -> bool:
        """Whether too many nodes are silent to raise anything."""
        return self.silent > BLIND_FRACTION * self.managed

    @property
    def most_w(self) -> float:
        """The most the zone may draw."""
        return self.leased_w + self.unmanaged_w

    @property
    def unsteered_w(self) -> float:
        """What no lease sent now can change."""
        return self.unmanaged_w + self.reserved_w + self.overdraw_w


def survey(book: GrantBook, nodes: Sequence[NodeObservation], fixed_w: float, step: int, now_s: float) -> Survey:
    """Count every node once, open accounts for arrivals, and close those of nodes that left."""
    found = Survey(power_w=fixed_w, unmanaged_w=fixed_w)
    for node in nodes:
        if node.controllable:
            _count_managed(found, book, node, step, now_s)
        elif node.online:
            _count_unmanaged(found, node)
    left_w = book.left(step, now_s)
    found.power_w += left_w
    found.leased_w += left_w
    found.reserved_w += left_w
    return found


def _count_managed(found: Survey, book: GrantBook, node: NodeObservation, step: int, now_s: float) -> None:
    account = book.account(node.node)
    if account is None:
        account = _arrival(book, node)
        found.arrived_w += account.outstanding(now_s)
    elif account.seen == step:  # listed twice
        return
    account.seen = step
    if account.standing is Standing.UNMANAGED:
        _count_unmanageable(found, book, node)
        return
    account.set_floor(node.floor_w)
    out_w = account.outstanding(now_s)
    found.managed += 1
    found.leased_w += out_w
    if node.online and node.age_s <= SILENT_S:
        found.live.append(node)
        found.accounts.append(account)
        found.out_w.append(out_w)
        found.power_w += node.power_w
        if _over(node.power_w, out_w) and _over(node.power_w, account.lately(now_s)):
            found.overdraw_w += node.power_w - out_w
            found.disobeying.append(f"{node.node} draws {node.power_w:.0f} W under a cap of {out_w:.0f} W")
        return
    found.reserved_w += out_w
    found.power_w += out_w
    # A lost node whose leases have ended is known to be at its fallback; until then, nothing is known.
    found.silent += node.online or account.standing is not Standing.RESTING


def _over(power_w: float, cap_w: float) -> bool:
    return power_w > OBEYS * cap_w + OBEYS_W


def _arrival(book: GrantBook, node: NodeObservation) -> Account:
    cap_w = node.fallback_w if node.held_w is None else node.held_w
    if node.online and node.age_s <= SILENT_S:
        cap_w = max(cap_w, node.power_w)
    return book.arrive(node.node, cap_w, node.floor_w)


def _count_unmanageable(found: Survey, book: GrantBook, node: NodeObservation) -> None:
    if not node.online:
        book.remove(node.node)  # it may come back as another machine; what it was tells nothing
        return
    found.unmanageable.append(node.node)
    _count_unmanaged(found, node)


def _count_unmanaged(found: Survey, node: NodeObservation) -> None:
    most_w = max(node.power_w, node.peak_w)
    if node.age_s > SILENT_S:
        most_w = max(most_w, node.ceiling_w)
        found.power_w += most_w
    else:
        found.power_w += node.power_w
    found.unmanaged_w += most_w
