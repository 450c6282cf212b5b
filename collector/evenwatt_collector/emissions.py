"""The carbon side of the collector: grids and who speaks for them, budgets and their alerts. A shell around pure parts.

Nothing here is needed for power control: if a provider, the database or a webhook fails, grams are counted with what is
left, tagged as what it is, and watts are steered as before.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector import __version__
from evenwatt_collector.carbon.burn import BurnAlerts
from evenwatt_collector.carbon.emissions import grams
from evenwatt_collector.carbon.providers.build import last_resort, providers
from evenwatt_collector.carbon.providers.feed import GridFeed
from evenwatt_collector.carbon.providers.http import Net
from evenwatt_collector.carbon.series import Kind, Standing
from evenwatt_collector.decided import Decided, DecisionKind
from evenwatt_collector.forecasting import Forecasting, Subject
from evenwatt_collector.grids import BEHIND_S, Grids
from evenwatt_collector.report.build import Made
from evenwatt_collector.report.spending import spent
from evenwatt_collector.storage import DatabaseError
from evenwatt_collector.storage import intensity as stored
from evenwatt_collector.storage.memory import recall, remember
from evenwatt_collector.waiting import pause
from evenwatt_collector.webhooks import Webhooks
from evenwatt_daemon import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from evenwatt_collector.alerts import Alert
    from evenwatt_collector.carbon import Factor, IntensityTable
    from evenwatt_collector.carbon.budgets import BudgetSettings
    from evenwatt_collector.carbon.loop import Intensities
    from evenwatt_collector.carbon.providers.settings import GridSettings
    from evenwatt_collector.carbon.series import Reading
    from evenwatt_collector.carbon.site import SiteFacts
    from evenwatt_collector.keeper import Keeper
    from evenwatt_collector.live_stream import Hub
    from evenwatt_collector.settings import CollectorSettings
    from evenwatt_collector.storage import Connection
    from evenwatt_wire import Ledger

Document = dict[str, Any]

_BUDGETS_S: Final = 20.0
_BURN: Final = "burn"


class Emissions:
    """What a joule weighs now, and what is done about it.

    Args:
        settings: The collector's.
        table: Annual averages.
        keeper: Stores and queries.
        hub: Tells alerts.
        decided: Tells them as decisions.

    Raises:
        Failure: a source or webhook is not configured rightly.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        table: IntensityTable,
        keeper: Keeper,
        hub: Hub,
        decided: Callable[[Iterable[Decided]], None],
    ) -> None:
        self._log: Any = get_logger("emissions")
        self._settings, self._table, self._keeper, self._hub = settings, table, keeper, hub
        self._decided = decided
        self._facts: dict[str, SiteFacts] = {}
        self.grids = Grids({grid.name: tuple(source.name for source in grid.sources) for grid in settings.grids})
        self._net = Net(Path(settings.state_dir) / "intensity-cache")
        self._burn = BurnAlerts(settings.budgets)
        self._webhooks = Webhooks(settings.webhooks, Path(settings.state_dir) / "webhooks.json")
        self._feeds: list[GridFeed] = []
        self.forecasting = Forecasting(_subjects(settings), keeper, self.grids, self._take)
        self._spent: dict[str, Any] = {}
        self._trouble: str | None = None
        """Why budgets cannot be judged."""

    async def prepare(self) -> None:
        """Take up what is known from before; called once, before ``run``."""
        now_s = time.time()
        for zone in self._settings.zones:
            self.facts(zone.name)
        for device in self._settings.devices:
            since_s = _unix(device.since)
            self._keeper.ask(
                lambda c, d=device, s=since_s: stored.set_device(c, d.nodes, d.facts, s, int(now_s))  # type: ignore[misc]
            )
        try:
            self._burn.restore(await self._ask(lambda c: recall(c, _BURN)) or {})
        except (ValueError, DatabaseError) as error:
            self._log.warning("what was remembered of alerts cannot be read; they begin anew", why=str(error))
        for grid in self._settings.grids:
            if grid.sources:
                self._feeds.append(await self._feed(grid))

    async def run(self, stop: asyncio.Event) -> None:
        """Ask sources, forecast, judge budgets and deliver alerts until ``stop``."""
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(feed.run(stop), name=f"feed-{feed.grid}") for feed in self._feeds]
            asking.append(group.create_task(self.forecasting.run(stop), name="forecasting"))
            group.create_task(self._webhooks.run(stop), name="webhooks")
            if self._settings.budgets:
                group.create_task(self._judge(stop), name="budgets")
            await stop.wait()
            for task in asking:  # a provider that does not answer must not hold up the end
                task.cancel()
        await self._net.close()

    # --- what a joule weighs --------------------------------------------------------------------------------------

    def facts(self, zone: str) -> SiteFacts:
        """Return what a zone's energy is weighed with; what is new of it is stored."""
        found = self._facts.get(zone)
        if found is None:
            found = self._facts[zone] = self._settings.facts(zone, self._table)
            now_s, since_s = int(time.time()), _unix(self._settings.zone(zone).since)
            self._keeper.ask(lambda c: stored.set_site(c, zone, found, since_s, now_s))
        return found

    def factor(self, zone: str) -> Factor:
        """Return what a joule of a zone weighs now."""
        now_s = time.time()
        return self.grids.factor(self.facts(zone), now_s, now_s)

    def weigh(self, zone: str, record: Ledger) -> float:
        """Return what a record weighs by what is known on its arrival."""
        now_s = time.time()
        middle_s = min(now_s, (record.start_wall_ms + record.end_wall_ms) / 2e3)
        return grams(record.total.energy_j, self.grids.factor(self.facts(zone), middle_s, now_s))

    def intensities(self, zone: str) -> Intensities | None:
        """Return what the carbon loop counts with; None for a grid that no source tells of."""
        facts = self.facts(zone)
        return self.grids.intensities(facts, time.time()) if facts.order else None

    # --- what is told ---------------------------------------------------------------------------------------------

    def troubles(self) -> list[str]:
        """Return what is wrong, in words."""
        alarms = [alarm for feed in self._feeds if (alarm := feed.alarm()) is not None]
        alarms += [f"budgets: {self._trouble}"] if self._trouble else []
        alarms += [f"intensities: {self._keeper.alarm}"] if self._keeper.alarm else []
        return alarms

    def alarms(self, zone: str) -> list[str]:
        """Return open alerts that concern a zone or the whole fleet."""
        return [
            f"{alert.severity.value}: {alert.words}"
            for alert in self._burn.open
            if alert.scope in {"fleet", f"zone:{zone}"} or not alert.scope.startswith("zone:")
        ]

    def document(self) -> Document:
        """Return grids, budgets, alerts and webhooks for the status document."""
        now_s = time.time()
        return {
            "grids": [self._grid(feed, now_s) for feed in self._feeds],
            "budgets": [self._budget(budget) for budget in self._settings.budgets],
            "alerts": [alert.document() for alert in self._burn.open],
            "webhooks": self._webhooks.health(),
        }

    def _grid(self, feed: GridFeed, now_s: float) -> Document:
        reading, ahead = self.grids.reading(feed.grid, now_s, now_s), self.grids.forecast(feed.grid, now_s)
        speaking = feed.speaking()
        return {
            "grid": feed.grid,
            "intensity_g_per_kwh": reading.g_per_kwh if reading else None,
            "standing": reading.standing.value if reading else Standing.FALLBACK.value,
            "source": reading.source if reading else speaking.source,
            "speaking": speaking.source,
            "how": speaking.how,
            "forecast_until_s": ahead[-1].end_s if ahead else None,
            "forecast_source": ahead[-1].source if ahead else None,
            "alarm": feed.alarm(),
            "sources": [msgspec.to_builtins(health) for health in feed.health],
        }

    def _budget(self, budget: BudgetSettings) -> Document:
        now = self._spent.get(budget.name)
        return {
            "budget": budget.name,
            "scope": budget.scope,
            "grams_per_day": budget.grams_per_day,
            "grams_per_month": budget.grams_per_month,
            "spent_g": None if now is None else now.month_g if budget.monthly else now.day_g,
            "rate_g_per_h": None if now is None else now.rate_g_per_h,
            "coverage": None if now is None else now.coverage,
        }

    # --- loops ----------------------------------------------------------------------------------------------------

    async def _feed(self, grid: GridSettings) -> GridFeed:
        now_s = time.time()

        def known(connection: Connection) -> tuple[list[Reading], int | None]:
            recent = [
                reading
                for kind in Kind
                for reading in stored.readings(connection, grid.name, kind, now_s - BEHIND_S, now_s + BEHIND_S)
            ]
            ends = [stored.newest_s(connection, grid.name, source.name) for source in grid.sources]
            return recent, max((end for end in ends if end is not None), default=None)

        readings, until_s = await self._ask(known)
        self.grids.take(readings, now_s)
        chain = providers(grid, self._net)
        return GridFeed(grid.name, chain, last_resort(grid, self._table), self._take, known_until_s=until_s)

    def _take(self, readings: list[Reading]) -> None:
        """Take readings; the annual average is a fact of the site and no news."""
        news = [reading for reading in readings if reading.standing is not Standing.FALLBACK]
        if news:
            self.grids.take(news, time.time())
            self._keeper.take(news)

    async def _judge(self, stop: asyncio.Event) -> None:
        """Judge budgets, again and again."""
        while not stop.is_set():
            made = Made(now_s=time.time(), version=__version__, fleet=self._settings.fleet)
            try:
                self._spent = dict(await self._ask(lambda c, m=made: spent(c, self._settings.budgets, m)))  # type: ignore[misc]
                self._trouble = None
            except DatabaseError as error:
                self._spent, self._trouble = {}, str(error)
            for alert in self._burn.step(made.now_s, self._spent):
                self._log.warning("budget", alert=alert.words, state=alert.state.value, severity=alert.severity.value)
                self._hub.say("alerts", alert.document())
                self._decided([_decided(alert)])
                self._webhooks.post(alert)
            state = self._burn.state()
            self._keeper.ask(lambda c, s=state: remember(c, _BURN, s))  # type: ignore[misc]
            await pause(stop, _BUDGETS_S)

    def _ask(self, job: Callable[[Connection], Any]) -> Awaitable[Any]:
        return asyncio.wrap_future(self._keeper.ask(job))


def _decided(alert: Alert) -> Decided:
    what = f"{alert.severity.value}, {alert.state.value}: {alert.words}"
    words = f"{what}. {alert.advice}" if alert.advice else what
    zone = alert.scope.removeprefix("zone:") if alert.scope.startswith("zone:") else ""
    return Decided(kind=DecisionKind.ALERT, wall_s=alert.at_s, zone=zone, name=alert.about, words=words)


def _subjects(settings: CollectorSettings) -> list[Subject]:
    """Return what is forecast: each grid that a source tells of, each zone of the settings."""
    grids = [
        Subject(kind="grid", name=grid.name, order=tuple(source.name for source in grid.sources), basis=grid.basis)
        for grid in settings.grids
        if grid.sources
    ]
    return [*grids, *(Subject(kind="zone", name=zone.name) for zone in settings.zones)]


def _unix(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
