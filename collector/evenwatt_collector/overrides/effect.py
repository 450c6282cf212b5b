"""Says beforehand what an override would do. Pure: what is known now is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evenwatt_collector.overrides.model import Effect, Kind, in_utc

if TYPE_CHECKING:
    from evenwatt_collector.overrides.model import Override, Wish


class ImpossibleError(ValueError):
    """It cannot be done; the text says why, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneFacts:
    """A zone now."""

    nodes: int
    """In it and in zones inside it."""
    power_w: float
    limit_w: float | None
    """Its own limit now."""
    floors_w: float
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """A node now."""

    power_w: float | None
    cap_w: float | None
    floor_w: float
    ceiling_w: float
    controllable: bool
    pausable: tuple[str, ...]
    """What its owner lets be paused."""


def check(wish: Wish) -> None:
    """See that a wish makes sense by itself.

    Raises:
        ImpossibleError: something is missing or too much.
    """
    of_node, in_watts = wish.kind is not Kind.LIMIT, wish.kind is not Kind.PAUSE
    if of_node is not (wish.node is not None):
        raise ImpossibleError(f"node: a {wish.kind.value} {'needs the name of a node' if of_node else 'has none'}")
    if in_watts is not (wish.watts is not None):
        raise ImpossibleError(f"watts: a {wish.kind.value} {'needs watts' if in_watts else 'has none'}")
    if len(wish.reason.strip()) < 3:
        raise ImpossibleError("reason: say why, in three characters or more; it is kept and shown")


def effect(
    wish: Wish, wall_s: float, zone: ZoneFacts | None, node: NodeFacts | None, before: Override | None
) -> Effect:
    """Return what a wish would do.

    Args:
        wish: What is asked for.
        wall_s: Unix time.
        zone: Its zone; None: nothing is steered there.
        node: Its node, where it names one.
        before: The override that it would take the place of.

    Raises:
        ImpossibleError: it cannot be done.
    """
    check(wish)
    if zone is None:
        raise ImpossibleError(
            f"nothing is steered in zone {wish.zone!r}: it has no limit; give it one (budget_w in its settings or "
            "policy), or set one for a while, kind 'limit'"
        )
    until_s = wall_s + wish.for_s
    then_w: float | None
    targets: tuple[str, ...] = ()
    power_w: float | None
    if wish.kind is Kind.LIMIT:
        assert wish.watts is not None  # noqa: S101  (``check`` has seen to that)
        now_w, lines = zone.limit_w, _limit_lines(wish, wish.watts, until_s, zone)
        then_w = wish.watts if now_w is None else min(now_w, wish.watts)
        power_w, floor_w, count = zone.power_w, zone.floors_w, zone.nodes
    else:
        assert node is not None  # noqa: S101  (the desk has looked it up)
        if not node.controllable:
            raise ImpossibleError(
                f"node {wish.node!r} does not let itself be steered; its owner allows it by 'enabled' in [control] of "
                "the agent's settings"
            )
        power_w, now_w, floor_w, count = node.power_w, node.cap_w, node.floor_w, 1
        if wish.kind is Kind.CAP:
            assert wish.watts is not None  # noqa: S101
            then_w = min(node.ceiling_w, max(node.floor_w, wish.watts))
            lines = _cap_lines(wish, wish.watts, until_s, node)
        else:
            then_w, targets = None, node.pausable
            lines = _pause_lines(wish, until_s, node)
    if zone.dry_run:
        lines.append(f"Zone {wish.zone} is in dry run: nothing is sent to its nodes, and nothing changes.")
    if before is not None:
        lines.append(f"It takes the place of the one set by {before.by} until {in_utc(before.ends_s)}.")
    return Effect(
        kind=wish.kind,
        zone=wish.zone,
        node=wish.node,
        nodes=count,
        power_w=power_w,
        now_w=now_w,
        then_w=then_w,
        floor_w=floor_w,
        until_s=until_s,
        targets=list(targets),
        replaces=before.id if before else None,
        lines=lines,
    )


def _limit_lines(wish: Wish, watts: float, until_s: float, zone: ZoneFacts) -> list[str]:
    now = "no limit of its own" if zone.limit_w is None else f"{zone.limit_w:,.0f} W"
    may = f"Zone {wish.zone} may draw {watts:,.0f} W until {in_utc(until_s)}; now it may draw {now}"
    lines = [
        f"{may}, and draws {zone.power_w:,.0f} W.",
        f"It touches {_counted(zone.nodes)}: caps bring them below it within seconds.",
    ]
    if zone.limit_w is not None and watts >= zone.limit_w:
        lines.append("Nothing changes for now: its lowest limit holds, and that is no higher.")
    if watts < zone.floors_w:
        lines.append(
            f"Caps alone cannot keep to it: the floors of its nodes are {zone.floors_w:,.0f} W together. Work that may "
            "be paused is paused."
        )
    return lines


def _cap_lines(wish: Wish, watts: float, until_s: float, node: NodeFacts) -> list[str]:
    lines = [f"Node {wish.node} may draw {watts:,.0f} W at most until {in_utc(until_s)}{_now(node)}."]
    if watts < node.floor_w:
        lines.append(f"Its owner lets no cap go below {node.floor_w:,.0f} W: it is held at that.")
    if watts >= node.ceiling_w:
        lines.append(f"Nothing changes: it can draw {node.ceiling_w:,.0f} W at most.")
    return lines


def _pause_lines(wish: Wish, until_s: float, node: NodeFacts) -> list[str]:
    if not node.pausable:
        raise ImpossibleError(
            f"nothing on node {wish.node!r} may be paused; its owner allows it by 'pausable' in [control] of the "
            "agent's settings"
        )
    names = ", ".join(node.pausable)
    return [
        f"Pauses {names} on node {wish.node} until {in_utc(until_s)}{_now(node)}.",
        "Then it goes on by itself, unless its zone is short of power.",
    ]


def _now(node: NodeFacts) -> str:
    draws = "" if node.power_w is None else f"; it draws {node.power_w:,.0f} W now"
    return draws + ("" if node.cap_w is None else f" under a cap of {node.cap_w:,.0f} W")


def _counted(nodes: int) -> str:
    return "one node" if nodes == 1 else f"{nodes} nodes"
