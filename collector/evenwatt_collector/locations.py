"""Our zones and grids as the locations of the Carbon Aware API, and what is known of their intensity."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import TYPE_CHECKING

from evenwatt_collector.carbon.series import Kind, resolve
from evenwatt_collector.carbon.weigh import fallback
from evenwatt_collector.carbon_aware_api import Place
from evenwatt_collector.storage import connect
from evenwatt_collector.storage.intensity import readings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evenwatt_collector.carbon.series import Reading, Steps
    from evenwatt_collector.carbon.site import SiteFacts
    from evenwatt_collector.grids import Grids
    from evenwatt_collector.settings import CollectorSettings


class Locations:
    """Reads from the database, on a connection of its own for each question.

    Args:
        settings: The collector's.
        grids: What is known around now.
        facts: Returns what a zone's energy is weighed with.
    """

    def __init__(self, settings: CollectorSettings, grids: Grids, facts: Callable[[str], SiteFacts]) -> None:
        self._settings, self._grids = settings, grids
        self._facts = {found.grid: found for zone in settings.zones for found in [facts(zone.name)]}
        self._names = {grid: grid for grid in self._facts} | {
            zone.name: facts(zone.name).grid for zone in settings.zones
        }

    def locations(self) -> Mapping[str, Place]:
        """Return every grid that a zone of the settings is on, and every zone, by name."""
        return {name: Place(grid) for name, grid in self._names.items()}

    async def readings(self, grid: str, start_s: int, end_s: int) -> Steps:
        """Return what a grid's average intensity was over [start_s, end_s), as known now."""
        return await asyncio.to_thread(self._read, grid, start_s, end_s)

    async def forecast(self, grid: str, now_s: int) -> list[Reading]:
        """Return the forecast that counts now, contiguous and in order."""
        return self._grids.forecast(grid, now_s) if abs(now_s - time.time()) < 1.0 else await self._then(grid, now_s)

    async def _then(self, grid: str, now_s: int) -> list[Reading]:
        """Return the forecast that counted at an earlier moment."""
        steps = await asyncio.to_thread(self._read, grid, now_s, now_s + 5 * 86_400, now_s)
        found = [steps.readings[int(i)] for i in dict.fromkeys(steps.which.tolist()) if i >= 0]
        facts = self._facts[grid]
        return [reading for reading in found if reading.source != facts.fallback_source]

    def _read(self, grid: str, start_s: int, end_s: int, known_at_s: int | None = None) -> Steps:
        facts = self._facts[grid]
        with closing(connect(self._settings.where, write=False)) as connection:
            found = readings(connection, grid, Kind.AVERAGE, start_s, end_s, known_at_s)
        # The annual average stands for what has passed; of what is to come it says nothing.
        past_s = min(float(end_s), known_at_s or time.time())
        if past_s > start_s:
            found.append(fallback(facts, start_s, past_s))
        return resolve(found, start_s, end_s, order=facts.order)
