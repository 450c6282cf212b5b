"""Grams a day become watts: runs each zone's carbon loop and hands its limit to the rules. Pure: wall time is given.

What a zone has emitted since midnight is what the ledger says now less what it said at midnight; after a restart the
database tells how much of today's was stored before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evenwatt_collector.carbon.emissions import JOULES_PER_KWH
from evenwatt_collector.carbon.loop import CarbonLoop, Intensities, ZoneNeed

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_collector.carbon import Factor
    from evenwatt_collector.policy import PolicyRules


@dataclass(frozen=True, slots=True)
class ZoneNow:
    """What the loop needs to know of a zone."""

    emitted_g: float
    """In all, by the ledger and what is not in it yet."""
    floors_w: float
    """Its nodes' floors and load that no node reports."""
    most_w: float
    """Its limit without the carbon loop."""
    factor: Factor
    known: Intensities | None = None
    """The grid's intensity over time; None: the factor is all that is known."""


class CarbonBudgets:
    """The carbon loops of all zones that have a budget in grams.

    Args:
        stored_since: Returns what a zone's stored records since a moment (Unix time) weigh, in grams; None while that
            is not known yet, since the database takes its time: then the zone is planned later.
    """

    def __init__(self, stored_since: Callable[[str, float], float | None]) -> None:
        self._stored_since = stored_since
        self._loops: dict[str, tuple[tuple[float, float, str], CarbonLoop]] = {}
        self._days: dict[str, tuple[float, float]] = {}
        """By zone: midnight, and what had been emitted in all by then."""
        self.infeasible: dict[str, str] = {}
        """Zones whose grams do not suffice even at their floors, in words."""

    def follow(self, rules: PolicyRules, wall_s: float, look: Callable[[str], ZoneNow | None]) -> None:
        """Plan where an interval has begun, and set the zones' limits in the rules."""
        wanted = {zone.name: zone.carbon for zone in rules.policy.document.zones if zone.carbon is not None}
        for name in set(self._loops) - set(wanted):
            del self._loops[name]
            rules.set_carbon(name, None)
        for name, carbon in wanted.items():
            now = look(name)
            if now is None:
                continue
            key = (carbon.grams_per_day, carbon.interval_s, carbon.timezone)
            if not self._opened(name, CarbonLoop(*key), now, wall_s):
                continue
            known = self._loops.get(name)
            if known is None or known[0] != key:
                known = self._loops[name] = (key, self._begin(name, key, now, wall_s))
            if known[1].due(wall_s):
                self._plan(rules, name, known[1], now, wall_s)

    def _opened(self, name: str, loop: CarbonLoop, now: ZoneNow, wall_s: float) -> bool:
        """Find out once what had been emitted before today; return whether that is known."""
        if name not in self._days:
            midnight_s, _ = loop.day(wall_s)
            stored_g = self._stored_since(name, midnight_s)
            if stored_g is None:
                return False
            self._days[name] = (midnight_s, now.emitted_g - stored_g)
        return True

    def _begin(self, name: str, key: tuple[float, float, str], now: ZoneNow, wall_s: float) -> CarbonLoop:
        """Begin in the middle: what is left, spread evenly over what is left of the day, is no step to be ramped."""
        fresh = CarbonLoop(*key)
        _, end_s = fresh.day(wall_s)
        left_g = max(0.0, key[0] - self._used_g(name, fresh, now, wall_s))
        grams_per_ws = now.factor.intensity_g_per_kwh * now.factor.pue / JOULES_PER_KWH
        even_w = left_g / (grams_per_ws * max(1.0, end_s - wall_s)) if grams_per_ws > 0 else now.most_w
        return CarbonLoop(*key, before_w=min(now.most_w, max(now.floors_w, even_w)))

    def _plan(self, rules: PolicyRules, name: str, loop: CarbonLoop, now: ZoneNow, wall_s: float) -> None:
        used_g = self._used_g(name, loop, now, wall_s)
        intensity = now.factor.intensity_g_per_kwh
        need = ZoneNeed(floors_w=min(now.floors_w, now.most_w), most_w=now.most_w, pue=now.factor.pue)
        plan = loop.step(wall_s, used_g, need, now.known or Intensities([(wall_s, intensity)], intensity))
        rules.set_carbon(name, float(plan.budget_w[0]) if plan.bound else None)
        self.infeasible.pop(name, None)
        if not plan.feasible:
            self.infeasible[name] = (
                f"carbon: {used_g:.0f} g used today, and its floors alone will bring it {plan.grams:.0f} g more: "
                "over its grams_per_day"
            )

    def _used_g(self, name: str, loop: CarbonLoop, now: ZoneNow, wall_s: float) -> float:
        midnight_s, _ = loop.day(wall_s)
        known = self._days[name]
        if known[0] != midnight_s:
            known = (midnight_s, now.emitted_g)
        self._days[name] = known
        return max(0.0, now.emitted_g - known[1])
