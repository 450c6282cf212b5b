"""Services of a running collector follow their grids: the shell around ``variants``, and the collector's own desk.

Whoever owns the loop calls :meth:`Following.step` about once a minute and publishes what it returns.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector import __version__
from evenwatt_collector.models.desk import Models, Sources
from evenwatt_collector.models.now import ahead_of, places_now
from evenwatt_collector.models.variants import Held, VariantController, services_of
from evenwatt_collector.report.build import Made
from evenwatt_collector.storage.memory import recall, remember
from evenwatt_daemon import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from evenwatt_collector.emissions import Emissions
    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.jobs.spec import JobSpec
    from evenwatt_collector.models.rules import Ahead
    from evenwatt_collector.models.variants import Change
    from evenwatt_collector.settings import CollectorSettings
    from evenwatt_collector.storage import Connection
    from evenwatt_wire.messages import Deployment

_MEMORY: Final = "services"


def make_desk(settings: CollectorSettings, fleet: Fleet, emissions: Emissions) -> Models:
    """Return the desk of a collector."""
    return Models(
        Sources(
            database=settings.where,
            file=settings.models,
            made=lambda: Made(now_s=time.time(), version=__version__, fleet=settings.fleet),
            places=lambda: places_now(fleet, emissions.factor, time.monotonic()),
        )
    )


class Following:
    """The services of one collector.

    Args:
        desk: Knows the variants, their costs and the nodes.
        emissions: Knows the forecasts.
        fleet: Knows the zones.
    """

    def __init__(self, desk: Models, emissions: Emissions, fleet: Fleet) -> None:
        self._log: Any = get_logger("services")
        self._desk, self._emissions, self._fleet = desk, emissions, fleet
        self._controller = VariantController()

    @property
    def troubles(self) -> list[str]:
        """Return what is wrong with services, in words."""
        return [f"service {name}: {why}" for name, why in sorted(self.why.items())]

    @property
    def why(self) -> Mapping[str, str]:
        """Why no variant could be chosen, by service."""
        return self._controller.troubles

    @property
    def changes(self) -> list[Change]:
        """What the last step changed."""
        return self._controller.changes

    def restore(self, connection: Connection) -> None:
        """Take up what ran before; what is damaged is decided anew.

        Raises:
            DatabaseError: it cannot be read.
        """
        try:
            self._controller = VariantController(msgspec.convert(recall(connection, _MEMORY) or {}, dict[str, Held]))
        except msgspec.ValidationError as error:
            self._log.warning("what services ran before cannot be read; it is decided anew", why=str(error))

    def keep(self, connection: Connection) -> None:
        """Remember what runs.

        Raises:
            DatabaseError: it was not stored.
        """
        remember(connection, _MEMORY, self._controller.state())

    async def step(self, specs: Iterable[JobSpec]) -> list[Deployment]:
        """Decide for each service among jobs; what changed is logged.

        Raises:
            Failure: the registry or the database cannot be read; what was decided before still holds.
        """
        services = services_of(specs)
        if not services and not self._controller.state():
            self._controller.changes.clear()
            return []  # where there are none the ledger need not be read
        costs, wall_s = await self._desk.costs(), time.time()
        ahead = {zone: found for zone in self._fleet.zones if (found := self._ahead(zone, wall_s)) is not None}
        # Of thousands of nodes it takes a moment, and the loop steers meanwhile.
        said = await asyncio.to_thread(self._controller.step, wall_s, services, self._desk.places(), ahead, costs)
        for change in self._controller.changes:
            self._log.info("variant", service=change.service, before=change.before, after=change.after, why=change.why)
        return said

    def _ahead(self, zone: str, wall_s: float) -> Ahead | None:
        return ahead_of(self._emissions.grids.forecast(self._emissions.facts(zone).grid, wall_s), wall_s)
