"""Published figures of models, from CSV or JSON tables. Pure: text in, rows out.

A row names ``task``, ``model``, ``unit`` and its energy: ``joules_per_unit``, or ``wh_per_1000`` (watt-hours per 1,000
units, as leaderboards of inference energy print it). It may name ``variant``, ``latency_s``, ``units_per_s``,
``device``, ``boundary`` (what the energy counts), ``parameters``, ``precision``, ``memory_gb``, and a quality:
``quality``, ``metric``, ``better``, ``quality_source``. JSON is a list of such objects.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import Struct, convert

from evenwatt_collector.models.registry import Name, Positive, Published, Quality, Variant, VariantName
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_ROWS: Final = 20_000
_J_PER_WH_PER_1000: Final = 3.6
"""3,600 J a watt-hour, over 1,000 units."""


class TableRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row as it stands in the file."""

    task: Name
    model: Name
    variant: VariantName = ""
    unit: Name
    joules_per_unit: Positive | None = None
    wh_per_1000: Positive | None = None
    latency_s: Positive | None = None
    units_per_s: Positive | None = None
    device: str = ""
    boundary: str = ""
    parameters: Positive | None = None
    precision: str = ""
    memory_gb: Positive | None = None
    quality: float | None = None
    metric: str = ""
    better: Literal["higher", "lower"] = "higher"
    quality_source: str = ""


class Table(Struct, frozen=True, kw_only=True):
    """What was imported under one source; a later import under the same name takes its place."""

    source: str
    imported_s: float
    rows: list[TableRow]

    def variants(self) -> list[Variant]:
        """Return the variants that it tells of, each once."""
        found: dict[str, Variant] = {}
        for row in self.rows:
            variant = _variant(row, self.source)
            known = found.get(variant.label)
            if known is None or known.quality is None:
                found[variant.label] = variant
        return list(found.values())

    def published(self) -> list[Published]:
        """Return its figures."""
        return [
            Published(
                label=_variant(row, self.source).label,
                unit=row.unit,
                joules_per_unit=_joules(row),
                latency_s=row.latency_s,
                units_per_s=row.units_per_s,
                device=row.device,
                boundary=row.boundary,
                source=self.source,
                imported_s=self.imported_s,
            )
            for row in self.rows
        ]


def read_table(text: str, form: Literal["csv", "json"], where: str) -> list[TableRow]:
    """Read a table.

    Raises:
        Failure: naming the row and column, what was found and what was expected.
    """
    rows = _csv(text, where) if form == "csv" else _json(text, where)
    if not rows:
        raise Failure(f"{where}: no rows; expected at least task, model, unit and joules_per_unit or wh_per_1000")
    if len(rows) > MOST_ROWS:
        raise Failure(f"{where}: {len(rows)} rows, expected {MOST_ROWS} at the most; import parts of it")
    made = [_row(row, f"{where}: row {i}") for i, row in enumerate(rows, start=1)]
    _check_once(made, where)
    return made


def together(tables: Iterable[Table]) -> tuple[list[Variant], list[Published]]:
    """Return the variants and figures of several tables; of a variant, the newest table's facts count."""
    ordered = sorted(tables, key=lambda table: table.imported_s)
    variants = {variant.label: variant for table in ordered for variant in table.variants()}
    return list(variants.values()), [figure for table in ordered for figure in table.published()]


def _csv(text: str, where: str) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise Failure(f"{where}: not CSV: {error}") from None
    for i, row in enumerate(rows, start=1):
        if None in row:
            raise Failure(f"{where}: row {i}: more values than columns; quote values that hold commas")
    return [{key.strip(): value.strip() for key, value in row.items() if value and value.strip()} for row in rows]


def _json(text: str, where: str) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(text.encode(), type=list[dict[str, Any]])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Failure(f"{where}: {error}; expected a JSON list of objects") from None


def _row(raw: dict[str, Any], where: str) -> TableRow:
    unknown = sorted(set(raw) - set(TableRow.__struct_fields__))
    if unknown:
        known = ", ".join(TableRow.__struct_fields__)
        raise Failure(f"{where}: unknown column {unknown[0]!r}; known are {known}")
    try:
        row = convert(raw, TableRow, strict=False)
    except msgspec.ValidationError as error:
        raise Failure(f"{where}: {str(error).replace(' - at `$.', ' in column `')}") from None
    if (row.joules_per_unit is None) == (row.wh_per_1000 is None):
        raise Failure(f"{where}: expected one of joules_per_unit and wh_per_1000")
    if row.quality is not None and not row.metric:
        raise Failure(f"{where}: quality {row.quality:g} names no metric; add a column metric")
    return row


def _check_once(rows: Sequence[TableRow], where: str) -> None:
    seen: dict[tuple[str, ...], int] = {}
    for i, row in enumerate(rows, start=1):
        key = (row.task, row.model, row.variant, row.unit, row.device)
        if key in seen:
            raise Failure(f"{where}: rows {seen[key]} and {i} tell of the same variant on the same device; keep one")
        seen[key] = i


def _joules(row: TableRow) -> float:
    return row.joules_per_unit or _J_PER_WH_PER_1000 * (row.wh_per_1000 or 0.0)


def _variant(row: TableRow, source: str) -> Variant:
    quality = None
    if row.quality is not None:
        quality = Quality(metric=row.metric, value=row.quality, better=row.better, source=row.quality_source or source)
    return Variant(
        task=row.task,
        model=row.model,
        variant=row.variant,
        unit=row.unit,
        parameters=row.parameters,
        precision=row.precision,
        memory_gb=row.memory_gb,
        quality=quality,
    )
