"""What control has to keep to: the zones and their limits at a moment, and what is special about a node. Pure.

Two things say so: the ``zones`` of the settings (``SettingsRules``), and a policy file (``evenwatt_collector.policy``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from evenwatt_collector.control import OnLost, ZoneSpec
from evenwatt_collector.overrides.model import told

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evenwatt_collector.overrides.model import Override
    from evenwatt_collector.settings import ZoneSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneLimit:
    """What holds for a zone at a moment."""

    budget_w: float = inf
    """Hard budget; infinite: the zone itself has none."""
    unmanaged_w: float = 0.0
    """Fixed load of the zone's own that no node reports."""
    why: str = ""
    """Where the budget comes from, in words."""
    dry_run: bool = False
    """Say what would be done, do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRule:
    """What is decided about a node, over what it says of itself. None leaves that as it is."""

    kind: str = ""
    """Name of its class, for people."""
    priority: int | None = None
    weight: float | None = None
    floor_w: float | None = None
    ceiling_w: float | None = None
    targets: tuple[str, ...] = ()
    """Names on the node's allow-list that may be paused; ``*`` for all of them."""
    on_lost: OnLost = OnLost.FALLBACK
    pause: str = ""
    """Who has asked for its work to be paused, in words; empty: nobody."""
    held: str = ""
    """What holds it below what it could use, besides its zone; for people."""


_AS_IT_SAYS: Final = NodeRule()


class Rules(Protocol):
    """Where limits come from."""

    @property
    def zones(self) -> Sequence[ZoneSpec]:
        """Every zone that has, or lies in one that has, a limit."""

    def limits(self, wall_s: float) -> Mapping[str, ZoneLimit]:
        """Return what holds at a moment (Unix time)."""

    def set_overrides(self, overrides: Sequence[Override]) -> None:
        """Take the limits that a person has set for a while."""

    def node(self, zone: str, name: str) -> NodeRule:
        """Return what is decided about a node."""

    def moved(self) -> Iterable[tuple[str, str]]:
        """Return the nodes, by zone and name, about which something else is decided than at the last call."""


class RulesAbove:
    """What rules that only decide more about nodes have in common: zones are as the rules below say.

    Args:
        rules: The rules below.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @property
    def zones(self) -> Sequence[ZoneSpec]:
        """Return the zones of the rules below."""
        return self._rules.zones

    def limits(self, wall_s: float) -> Mapping[str, ZoneLimit]:
        """Return the limits of the rules below."""
        return self._rules.limits(wall_s)

    def set_overrides(self, overrides: Sequence[Override]) -> None:
        """Hand overrides of zones to the rules below."""
        self._rules.set_overrides(overrides)


class SettingsRules:
    """Limits that stand in the collector's settings: one for each zone, always the same."""

    def __init__(self, zones: Sequence[ZoneSettings]) -> None:
        self.zones = [ZoneSpec(zone.name) for zone in zones]
        self._limits = {
            zone.name: ZoneLimit(
                budget_w=inf if zone.budget_w is None else zone.budget_w,
                unmanaged_w=zone.unmanaged_w,
                why="the settings' budget_w",
            )
            for zone in zones
        }

        self._overrides: tuple[Override, ...] = ()

    def set_overrides(self, overrides: Sequence[Override]) -> None:
        """Take the limits that a person has set for a while."""
        self._overrides = tuple(overrides)

    def limits(self, wall_s: float) -> Mapping[str, ZoneLimit]:
        """Return the settings' budgets, or what a person has set below them."""
        if not self._overrides:
            return self._limits
        limits = dict(self._limits)
        for one in self._overrides:
            limit = limits.get(one.zone)
            if limit is not None and one.watts is not None and one.watts < limit.budget_w and one.holds(wall_s):
                why = f"an override {told(one)}"
                limits[one.zone] = replace(limit, budget_w=one.watts, why=why)
        return limits

    def node(self, _zone: str, _name: str) -> NodeRule:
        """Return that every node is as it says."""
        return _AS_IT_SAYS

    def moved(self) -> Iterable[tuple[str, str]]:
        """Return none."""
        return ()
