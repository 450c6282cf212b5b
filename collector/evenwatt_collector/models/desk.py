"""Who answers for models: reads the registry, the ledger and the moment, and asks the pure parts.

What tasks did lately is read from the ledger at most once in 20 seconds, and what they did before at most once in ten
minutes, on a connection of its own.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from evenwatt_collector.models.card import Asked, Card, make_card
from evenwatt_collector.models.choice import Choice, PlaceNow, Question, choose
from evenwatt_collector.models.costs import Costs
from evenwatt_collector.models.measured import Measured
from evenwatt_collector.models.registry import ModelsFile, Published, Registry, Variant, make_registry
from evenwatt_collector.models.runs import read_pieces, task_labels
from evenwatt_collector.models.tables import Table, together
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.build import Made, build_report
from evenwatt_collector.report.model import By
from evenwatt_collector.storage import DatabaseError, connect
from evenwatt_collector.storage.connection import shown
from evenwatt_collector.storage.documents import latest_documents
from evenwatt_collector.storage.schema import check
from evenwatt_daemon import EXIT_FAILURE, Failure, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_collector.models.measured import Piece
    from evenwatt_collector.storage import Connection

_T = TypeVar("_T")
KIND: Final = "models-table"
"""Documents in which imported tables are kept, by source."""
_RECENT_S: Final = 20.0
_WHOLE_S: Final = 600.0


class VariantView(Struct, frozen=True, kw_only=True):
    """A variant with everything that is known of what it costs."""

    label: str
    variant: Variant
    imported: bool
    """Only an imported table tells of it."""
    measured: list[Measured]
    published: list[Published]
    caveats: list[str]
    """Of the measured figures, by node or kind."""


class ModelsDesk(Protocol):
    """What HTTP and the command line ask; a Failure says what was wrong with the question or the registry."""

    async def models(self, task: str | None = None) -> list[VariantView]:
        """Return the variants of a task, or all."""

    async def choose(self, question: Question) -> Choice:
        """Return which variant and node weigh least now."""

    async def card(self, asked: Asked) -> Card:
        """Return a model's card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a desk looks."""

    database: str
    file: str
    """The registry (TOML); empty: none."""
    made: Callable[[], Made]
    """Now, the version and the fleet."""
    places: Callable[[], list[PlaceNow]]
    """Nodes and grids now."""


class Models:
    """The desk of a collector, or of the command line on a database (then without places)."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._pieces: dict[int, list[Piece]] = {}
        """By the day with which they begin."""
        self._whole_s = self._recent_s = float("-inf")
        """When all of them were read, and when the latest."""
        self._lock = asyncio.Lock()

    async def costs(self) -> Costs:
        """Return what every variant costs, by the registry as it is now.

        Raises:
            Failure: the registry or the database cannot be read.
        """
        async with self._lock:  # whoever comes meanwhile gets what the first one reads
            now_s = time.monotonic()
            whole, recent = now_s - self._whole_s > _WHOLE_S, now_s - self._recent_s > _RECENT_S
            registry, pieces = await asyncio.to_thread(self._read, whole=whole, recent=recent)
            if whole:
                self._pieces, self._whole_s = pieces, now_s
            if whole or recent:
                self._pieces, self._recent_s = self._pieces | pieces, now_s
            every = [piece for day in self._pieces.values() for piece in day]
            return await asyncio.to_thread(Costs, registry, every, self._sources.made().now_s)

    def places(self) -> list[PlaceNow]:
        """Return nodes and grids now."""
        return self._sources.places()

    async def models(self, task: str | None = None) -> list[VariantView]:
        """See ModelsDesk."""
        costs = await self.costs()
        variants = costs.registry.variants if task is None else costs.registry.of_task(task)
        now_s = self._sources.made().now_s
        return [_view(variant, costs, now_s) for variant in sorted(variants, key=lambda one: (one.task, one.label))]

    async def choose(self, question: Question) -> Choice:
        """See ModelsDesk."""
        costs = await self.costs()
        return await asyncio.to_thread(choose, question, costs, self.places(), self._sources.made().now_s)

    async def card(self, asked: Asked) -> Card:
        """See ModelsDesk."""
        costs = await self.costs()
        return await asyncio.to_thread(self._card, asked, costs)

    def _read(self, *, whole: bool, recent: bool) -> tuple[Registry, dict[int, list[Piece]]]:
        stated = load_settings(ModelsFile, self._sources.file) if self._sources.file else ModelsFile()

        def both(connection: Connection) -> tuple[Registry, dict[int, list[Piece]]]:
            variants, published = together(imported_tables(connection))
            registry = make_registry(stated, variants, published, self._sources.file or "models")
            if not whole and not recent:
                return registry, {}
            return registry, read_pieces(connection, self._sources.made(), recent=not whole)

        return self._ask(both)

    def _card(self, asked: Asked, costs: Costs) -> Card:
        made = self._sources.made()

        def read(connection: Connection) -> Card:
            since_s = _since_s(connection) if asked.start_s is None else asked.start_s
            end_s = made.now_s if asked.end_s is None else asked.end_s
            if since_s >= end_s:
                raise Failure(f"from: found {since_s:.0f}, expected less than {end_s:.0f}, the end of the period")

            def report(by: By) -> ReportQuery:
                return ReportQuery(
                    by=by, start_s=since_s, end_s=end_s, timezone="UTC", known_at_s=asked.known_at_s, model=asked.model
                )

            by_phase = build_report(connection, report(By.PHASE), made)
            if not by_phase.rows:
                raise Failure(_unknown_model(connection, asked.model))
            by_task = build_report(connection, report(By.TASK), made)
            return make_card(asked, by_phase, by_task, task_labels(connection), costs.registry, costs.measured)

        return self._ask(read)

    def _ask(self, job: Callable[[Connection], _T]) -> _T:
        where = self._sources.database
        try:
            with closing(connect(where, write=False)) as connection:
                check(connection, shown(where))
                return job(connection)
        except DatabaseError as error:
            raise Failure(f"{shown(where)}: {error}", exit_code=EXIT_FAILURE) from None


def imported_tables(connection: Connection) -> list[Table]:
    """Return the tables that were imported, the newest of each source.

    Raises:
        DatabaseError: it cannot be read.
        Failure: one of them is not as this version keeps them.
    """
    found = []
    for document in latest_documents(connection, KIND):
        try:
            found.append(msgspec.convert(document.value, Table))
        except msgspec.ValidationError as error:
            raise Failure(f"imported table {document.name!r}: {error}; import it again") from None
    return found


def _view(variant: Variant, costs: Costs, now_s: float) -> VariantView:
    measured = [one for one in costs.measured if one.label == variant.label]
    return VariantView(
        label=variant.label,
        variant=variant,
        imported=variant.label in costs.registry.imported,
        measured=measured,
        published=[one for one in costs.registry.published if one.label == variant.label],
        caveats=[f"{one.node or one.kind}: {words}" for one in measured for words in one.caveats(now_s)],
    )


def _since_s(connection: Connection) -> float:
    rows = connection.rows("SELECT MIN(first_ms) FROM node")
    return float(rows[0][0] // 3_600_000 * 3600) if rows and rows[0][0] is not None else 0.0


def _unknown_model(connection: Connection, name: str) -> str:
    rows = connection.rows("SELECT DISTINCT model FROM owner WHERE model <> '' ORDER BY model LIMIT 13")
    known = ", ".join(model for (model,) in rows[:12]) or "none"
    return f"nothing that names the model {name!r} used energy in this period; models in the ledger are {known}"
