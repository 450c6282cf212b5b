"""Forecasts at work: each grid's intensity and each zone's power, every half hour. A shell around ``carbon.forecast``.

A forecast of intensity is stored like any other statement, under the source ``evenwatt``. Where a provider forecasts
too, both are held against what was measured, and the one that has been better in most blocks of the horizon counts
around now. A forecast of power is told, and decides nothing yet.
Fitting takes seconds and runs in a thread; queries run on the keeper's.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evenwatt_collector.carbon.forecast.forecaster import Forecaster
from evenwatt_collector.carbon.forecast.history import History
from evenwatt_collector.carbon.forecast.provider import check_provider
from evenwatt_collector.carbon.forecast.sharpening import Sharpener
from evenwatt_collector.carbon.series import Basis, Kind, Reading, Standing, resolve, slot_means
from evenwatt_collector.storage import DatabaseError
from evenwatt_collector.storage import intensity as stored
from evenwatt_collector.storage.hours import LABEL, NODE
from evenwatt_collector.storage.memory import recall, remember
from evenwatt_collector.waiting import pause
from evenwatt_daemon import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_collector.carbon.forecast.history import Forecast
    from evenwatt_collector.carbon.forecast.provider import ProviderScore
    from evenwatt_collector.grids import Grids
    from evenwatt_collector.keeper import Keeper
    from evenwatt_collector.storage import Connection

Document = dict[str, Any]

SOURCE: Final = "evenwatt"
STEP_S: Final = 3600
HORIZON_S: Final = 96 * 3600
EVERY_S: Final = 1800.0
_FIRST_S: Final = 30.0
_INTENSITY_S: Final = 2 * 366 * 86_400
_COMPARED_S: Final = 60 * 86_400
_POWER_S: Final = 90 * 86_400
_LEAST_STEPS: Final = 2
_LEAST_NODE_STEPS: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is forecast."""

    kind: str
    """``grid`` (g/kWh), ``zone`` or ``node`` (W)."""
    name: str
    order: tuple[str, ...] = ()
    """A grid's sources, the most trusted first."""
    basis: Basis = Basis.LIFECYCLE

    @property
    def key(self) -> str:
        """Name under which its scores are remembered."""
        return f"forecast:{self.kind}:{self.name}"


class Forecasting:
    """Every forecast of one collector.

    Args:
        subjects: What to forecast.
        keeper: Reads histories, remembers scores.
        grids: Told whose forecast counts.
        sink: Takes forecasts of intensity.
    """

    def __init__(
        self, subjects: list[Subject], keeper: Keeper, grids: Grids, sink: Callable[[list[Reading]], None]
    ) -> None:
        self._log: Any = get_logger("forecasting")
        self._keeper, self._grids, self._sink = keeper, grids, sink
        self._beside: dict[Subject, tuple[ProviderScore, ...]] = {}
        self._forecasters = {
            subject: Forecaster(STEP_S, HORIZON_S, relative=subject.kind == "grid") for subject in subjects
        }
        self._sharpeners = {subject: Sharpener(HORIZON_S) for subject in subjects if subject.kind == "grid"}
        self._made: dict[Subject, Forecast] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Forecast until ``stop``."""
        for subject, forecaster in self._forecasters.items():
            await self._remember(subject, forecaster)
        await pause(stop, _FIRST_S)  # a start has other work
        while not stop.is_set():
            for subject, forecaster in self._forecasters.items():
                try:
                    await self._step(subject, forecaster)
                except (DatabaseError, ValueError) as error:
                    self._log.warning("no forecast this time", of=subject.name, kind=subject.kind, why=str(error))
            await pause(stop, EVERY_S - time.time() % EVERY_S + 60.0)  # providers publish on the hour

    def documents(self) -> list[Document]:
        """Return the latest forecasts, who made them, why, and how good they have been."""
        return [
            {
                **_document(subject, made, self._forecasters[subject]),
                "providers": [score.sentence() for score in self._beside.get(subject, ())],
            }
            for subject, made in self._made.items()
        ]

    async def node(self, zone: str, name: str) -> Document:
        """Forecast one node's power, on demand: a fleet has too many of them to do so all the time.

        Raises:
            LookupError: less than a day is known of it.
        """
        now_s = int(time.time())
        end_s = now_s // STEP_S * STEP_S
        history = await asyncio.wrap_future(self._keeper.ask(lambda c: _powers(c, zone, end_s, name)))
        if np.count_nonzero(np.isfinite(history.values)) < _LEAST_NODE_STEPS:
            raise LookupError(f"less than a day is known of node {name!r} in zone {zone!r}")

        def work() -> Document:
            forecaster = Forecaster(STEP_S, HORIZON_S, relative=False)
            forecaster.fit(history, now_s)
            return _document(
                Subject(kind="node", name=f"{zone}:{name}"), forecaster.predict(history, now_s), forecaster
            )

        return await asyncio.to_thread(work)

    async def _step(self, subject: Subject, forecaster: Forecaster) -> None:
        now_s = int(time.time())
        history = await asyncio.wrap_future(self._keeper.ask(lambda c: _history(c, subject, now_s)))
        if np.count_nonzero(np.isfinite(history.values)) < _LEAST_STEPS:
            return
        if forecaster.refit_due(now_s):
            await asyncio.to_thread(forecaster.fit, history, now_s)
            if subject in self._sharpeners:
                await asyncio.to_thread(self._sharpeners[subject].fit, history, now_s)
        forecaster.observe(history, now_s)
        made = forecaster.predict(history, now_s)
        if subject in self._sharpeners:
            made = self._sharpeners[subject].sharpened(made, history, now_s, self._running(subject, now_s))
        self._made[subject] = made
        if subject.kind == "grid":
            await self._compare(subject, forecaster, history, now_s)
            self._sink(_readings(subject, made, now_s))
        state = forecaster.state()
        self._keeper.ask(lambda c: remember(c, subject.key, state))

    def _running(self, subject: Subject, now_s: int) -> float | None:
        """Return what is measured or estimated of the running hour, g/kWh; None if it is only forecast."""
        steps = self._grids.steps(subject.name, now_s)
        reading = steps.at(now_s) if steps is not None else None
        happened = reading is not None and reading.standing in {Standing.MEASURED, Standing.ESTIMATED}
        return reading.g_per_kwh if reading is not None and happened else None

    async def _compare(self, subject: Subject, forecaster: Forecaster, history: History, now_s: int) -> None:
        """Let the better one of a provider's forecasts and ours count."""
        said = await asyncio.wrap_future(
            self._keeper.ask(
                lambda c: stored.readings(c, subject.name, Kind.AVERAGE, now_s - _COMPARED_S, now_s + HORIZON_S)
            )
        )
        theirs = [reading for reading in said if reading.source != SOURCE and reading.standing is Standing.FORECAST]
        scores = self._beside[subject] = check_provider(theirs, history, forecaster)
        ours = sum(score.better == "ours" for score in scores) - sum(score.better == score.source for score in scores)
        self._grids.lead(subject.name, SOURCE if ours > 0 else None)

    async def _remember(self, subject: Subject, forecaster: Forecaster) -> None:
        try:
            state = await asyncio.wrap_future(self._keeper.ask(lambda c: recall(c, subject.key)))
            if state is not None:
                forecaster.restore(state)
        except (DatabaseError, ValueError, KeyError, TypeError) as error:
            self._log.warning("what was remembered of a forecast cannot be read", of=subject.name, why=str(error))


def _document(subject: Subject, made: Forecast, forecaster: Forecaster) -> Document:
    return {
        "kind": subject.kind,
        "name": subject.name,
        "unit": "g/kWh" if subject.kind == "grid" else "W",
        "start_s": made.start_s,
        "step_s": made.step_s,
        "quantiles": {f"{q:g}": made.at(q).tolist() for q in made.quantiles},
        "model": made.model,
        "why": made.why,
        "scores": asdict(forecaster.scores()),
    }


def _history(connection: Connection, subject: Subject, now_s: int) -> History:
    """Return what is known by the hour, up to the hour that runs."""
    end_s = now_s // STEP_S * STEP_S
    if subject.kind == "grid":
        return _intensities(connection, subject, end_s)
    return _powers(connection, subject.name, end_s)


def _intensities(connection: Connection, subject: Subject, end_s: int) -> History:
    start_s = end_s - _INTENSITY_S
    said = stored.readings(connection, subject.name, Kind.AVERAGE, start_s, end_s)
    happened = [reading for reading in said if reading.standing in {Standing.MEASURED, Standing.ESTIMATED}]
    start_s = max(start_s, min((reading.start_s for reading in happened), default=end_s - STEP_S) // STEP_S * STEP_S)
    steps = resolve(happened, start_s, end_s, order=subject.order)
    edges = np.arange(start_s, end_s + 1, STEP_S, dtype=np.float64)
    return History(start_s=start_s, step_s=STEP_S, values=slot_means(steps.edges, steps.g_per_kwh, edges))


def _powers(connection: Connection, zone: str, end_s: int, node: str | None = None) -> History:
    """Return a zone's or node's mean power by the hour; an hour without a record is unknown."""
    last = end_s // STEP_S
    first = last - _POWER_S // STEP_S
    rows = connection.rows(
        "SELECT hour, SUM(energy_j) FROM hour WHERE cut = ? AND hour >= ? AND hour < ? "
        "AND zone = (SELECT id FROM zone WHERE name = ?) "
        "AND node = COALESCE((SELECT node.id FROM node JOIN zone ON zone.id = node.zone "
        "WHERE zone.name = ? AND node.name = ?), 0) GROUP BY hour ORDER BY hour",
        (LABEL if node is None else NODE, first, last, zone, zone, node or ""),
    )
    first = int(rows[0][0]) if rows else last - 1
    values = np.full(last - first, np.nan)
    for hour, energy_j in rows:
        values[int(hour) - first] = energy_j / STEP_S
    return History(start_s=first * STEP_S, step_s=STEP_S, values=values)


def _readings(subject: Subject, made: Forecast, now_s: int) -> list[Reading]:
    return [
        Reading(
            grid=subject.name,
            start_s=made.start_s + i * made.step_s,
            end_s=made.start_s + (i + 1) * made.step_s,
            g_per_kwh=round(float(value), 1),
            kind=Kind.AVERAGE,
            basis=subject.basis,
            source=SOURCE,
            standing=Standing.FORECAST,
            issued_s=now_s,
            recorded_s=now_s,
        )
        for i, value in enumerate(made.at(0.5))
        if np.isfinite(value)
    ]
