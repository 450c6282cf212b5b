"""A policy as control asks it (``evenwatt_collector.rules.Rules``). Pure: wall time is an argument."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Final

from evenwatt_collector.control import Limits, OnLost, ZoneSpec
from evenwatt_collector.policy.policy import class_of, limits_at, next_change_s
from evenwatt_collector.rules import NodeRule, ZoneLimit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evenwatt_collector.overrides.model import Override
    from evenwatt_collector.policy.policy import Limit, Policy

_ON_LOST: Final = {"fallback": OnLost.FALLBACK, "hold": OnLost.HOLD, "restore": OnLost.RESTORE}
_KEPT: Final = Limits().margin
"""Control itself never hands this fraction out."""


class PolicyRules:
    """The rules of a checked policy.

    Args:
        policy: The policy.
        overrides: Limits that a person has set for a while.
        carbon_w: Limits by the carbon loop, per zone.
    """

    def __init__(
        self, policy: Policy, overrides: Sequence[Override] = (), carbon_w: Mapping[str, float] | None = None
    ) -> None:
        self.policy, self.overrides = policy, tuple(overrides)
        self.zones = [ZoneSpec(zone.name, zone.parent) for zone in policy.document.zones]
        self._carbon_w: dict[str, float] = dict(carbon_w or {})
        self._nodes: dict[tuple[str, str], NodeRule] = {}
        self._limits: dict[str, ZoneLimit] = {}
        self._from_s = self._until_s = 0.0
        """From when and until when ``_limits`` are what holds."""

    @property
    def carbon_w(self) -> Mapping[str, float]:
        """Limits by the carbon loop, per zone."""
        return self._carbon_w

    def set_overrides(self, overrides: Sequence[Override]) -> None:
        """Take what a person has set: limits of zones for a while."""
        self.overrides = tuple(overrides)
        self._until_s = self._from_s

    def set_carbon(self, zone: str, budget_w: float | None) -> None:
        """Set or, with None, remove the carbon loop's limit of a zone."""
        if budget_w is None:
            self._carbon_w.pop(zone, None)
        else:
            self._carbon_w[zone] = budget_w
        self._until_s = self._from_s

    def limits(self, wall_s: float) -> Mapping[str, ZoneLimit]:
        """Return what holds at a moment: of everything that bounds a zone, the lowest."""
        if not self._from_s <= wall_s < self._until_s:
            found = limits_at(self.policy, wall_s, self.overrides, self._carbon_w)
            moving = any(bound.moving for limit in found.values() for bound in limit.bounds)
            self._from_s = wall_s
            self._until_s = wall_s if moving else next_change_s(self.policy, wall_s, self.overrides)
            self._limits = {name: _zone_limit(limit) for name, limit in found.items()}
        return self._limits

    def node(self, zone: str, name: str) -> NodeRule:
        """Return what is decided about a node."""
        rule = self._nodes.get((zone, name))
        if rule is None:
            rule = self._nodes[zone, name] = self._rule(zone, name)
        return rule

    def moved(self) -> Iterable[tuple[str, str]]:
        """Return none: a changed policy is other rules."""
        return ()

    def _rule(self, zone: str, name: str) -> NodeRule:
        kind, default = class_of(self.policy, zone, name), self.policy.document.on_lost
        if kind is None:
            return NodeRule(on_lost=_ON_LOST[default])
        return NodeRule(
            kind=kind.name,
            priority=kind.priority,
            weight=kind.weight,
            floor_w=kind.floor_w,
            ceiling_w=kind.ceiling_w,
            targets=(kind.targets or ("*",)) if kind.pausable else (),
            on_lost=_ON_LOST[kind.on_lost or default],
        )


def _zone_limit(limit: Limit) -> ZoneLimit:
    """Return a limit as control takes it: a margin beyond its own is taken off the budget."""
    margin, budget_w, why = limit.zone.margin, limit.budget_w, limit.why
    if margin > _KEPT and isfinite(budget_w):
        why += f", {budget_w:g} W less a margin of {100 * margin:g} %"
        budget_w *= (1 - margin) / (1 - _KEPT)
    return ZoneLimit(budget_w=budget_w, unmanaged_w=limit.zone.unmanaged_w, why=why, dry_run=limit.dry_run)
