"""The policy's file followed, and the limits in grams that it sets: who hears of either when it changes."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evenwatt_collector import __version__
from evenwatt_collector.carbon_budget import CarbonBudgets, ZoneNow
from evenwatt_collector.decided import Decided, DecisionKind
from evenwatt_collector.policy import limits_at
from evenwatt_collector.report.build import Made
from evenwatt_collector.report.spending import zone_grams
from evenwatt_collector.storage import DatabaseError, connect
from evenwatt_daemon import Failure, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from evenwatt_collector.books import Books
    from evenwatt_collector.emissions import Emissions
    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.policy import Watcher
    from evenwatt_collector.settings import CollectorSettings
    from evenwatt_collector.steering import Steering
    from evenwatt_collector.zone import Zone
    from evenwatt_daemon.audit import Fact


@dataclass(frozen=True, slots=True)
class Ground:
    """What a policy is about, and who hears of it."""

    settings: CollectorSettings
    fleet: Fleet
    books: Books
    emissions: Emissions
    steering: Steering
    zones: Mapping[str, Zone]
    changed: Callable[[], None]
    """The watcher has other rules from now on."""
    note: Callable[[str, Mapping[str, Fact]], None]
    decided: Callable[[Iterable[Decided]], None]


class Policing:
    """Follows a policy.

    Args:
        watcher: Of its file.
        ground: What it is about.
    """

    def __init__(self, watcher: Watcher, ground: Ground) -> None:
        self._log: Any = get_logger("policy")
        self._watcher, self._ground = watcher, ground
        self._carbon = CarbonBudgets(self._grams_since)
        self._asked: dict[str, asyncio.Task[float]] = {}

    def follow(self) -> None:
        """Take a changed policy, and the carbon loop's limits."""
        watcher, ground = self._watcher, self._ground
        path, before = ground.settings.policy, watcher.trouble
        taken = watcher.poll()
        if taken:
            ground.changed()
            self._log.info("policy taken", path=path)
            ground.note("policy", watcher.facts())
            self._tell("another policy holds from now on")
        if watcher.trouble and watcher.trouble != before:
            self._log.error("policy refused", why=watcher.trouble)
            ground.note("policy-refused", {"why": watcher.trouble})
            self._tell(f"the policy was refused, and the one before holds: {watcher.trouble}")
        elif before and not watcher.trouble and not taken:
            self._log.info("the policy's file is good again, and says what holds", path=path)
        self._carbon.follow(watcher.rules, time.time(), self._zone_now)

    def troubles(self, served: Callable[[str], bool]) -> list[str]:
        """Say what is wrong with the policy: control goes on by the one before.

        Args:
            served: Whether a zone has a connection.
        """
        missing = [zone.name for zone in self._watcher.rules.zones if not served(zone.name)]
        said = [self._watcher.trouble] if self._watcher.trouble else []
        if missing:
            said.append(f"zones new in the policy: {', '.join(missing)}; restart the collector to connect to them")
        return [*said, *self._carbon.infeasible.values()]

    def _tell(self, words: str) -> None:
        self._ground.decided([Decided(kind=DecisionKind.POLICY, wall_s=time.time(), words=words)])

    def _zone_now(self, name: str) -> ZoneNow | None:
        """Return what the carbon loop needs; None before anything was decided about the zone."""
        ground, rules = self._ground, self._watcher.rules
        zone = ground.zones.get(name)
        if zone is None or ground.steering.zone(name) is None:
            return None
        limit = limits_at(rules.policy, time.time(), rules.overrides, {})[name]
        inside = [ground.zones[inner] for inner in ground.steering.inside(name) if inner in ground.zones]
        emitted_g = sum(
            ground.books.grams(part.name) + part.unrecorded_g(ground.fleet, ground.books) for part in (zone, *inside)
        )
        floors_w, known = ground.steering.floors_w(name), ground.emissions.intensities(name)
        return ZoneNow(emitted_g, floors_w, limit.budget_w, zone.factor, known)

    def _grams_since(self, name: str, wall_s: float) -> float | None:
        """Return what a zone's stored records since a moment weigh; asked until the database has answered once."""
        asked = self._asked.get(name)
        if asked is None:
            asked = self._asked[name] = asyncio.create_task(asyncio.to_thread(self._read_grams, name, wall_s))
        if not asked.done():
            return None
        del self._asked[name]
        if isinstance(error := asked.exception(), Failure | DatabaseError):
            self._log.warning("what was emitted today cannot be read; asked again", zone=name, why=str(error))
            return None
        return asked.result()

    def _read_grams(self, name: str, wall_s: float) -> float:
        settings = self._ground.settings
        made = Made(now_s=time.time(), version=__version__, fleet=settings.fleet)
        with closing(connect(settings.where, write=False)) as connection:
            return zone_grams(connection, name, wall_s, made)
