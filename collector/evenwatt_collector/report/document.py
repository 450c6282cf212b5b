"""A report as a JSON document, and back. Pure. ``docs/reports.md`` describes the document.

The document is the report as it is, field by field and unrounded, with ``schema`` and a part ``derived`` that holds
what follows from it (ranges, scores, a comparison); reading a document back ignores both.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.report.model import Report
from evenwatt_collector.report.sci import NoScore, Per, Score, score
from evenwatt_collector.report.totals import coverage, metered_share, time_coverage
from evenwatt_collector.report.uncertainty import CONFIDENCE, Spread, spread
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.report.compare import Comparison, NoComparison

SCHEMA: Final = "evenwatt-report/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What follows from a report; ``rows`` are in its order."""

    confidence: float
    coverage: float | None
    """Metered share of the period: the two below, multiplied; None where a row carries no time."""
    time_coverage: float | None
    metered_share: float | None
    total: Spread
    rows: tuple[Spread, ...]
    sci: Score | NoScore | None
    """Of the total; None where no unit was named."""
    sci_rows: tuple[Score | NoScore, ...]
    """Of the rows; empty where no unit was named, or where the user's own count is of the whole."""
    comparison: Comparison | NoComparison | None


def derive(report: Report, per: Per | None = None, comparison: Comparison | NoComparison | None = None) -> Derived:
    """Return what follows from a report."""
    by_row = per is not None and per.count is None
    return Derived(
        confidence=CONFIDENCE,
        coverage=coverage(report.total),
        time_coverage=time_coverage(report.total),
        metered_share=metered_share(report.total),
        total=spread(report.total),
        rows=tuple(spread(row.figures) for row in report.rows),
        sci=None if per is None else score([report.total], per),
        sci_rows=tuple(score([row.figures], per) for row in report.rows) if per is not None and by_row else (),
        comparison=comparison,
    )


def to_document(report: Report, derived: Derived | None = None) -> dict[str, Any]:
    """Return a report, and what follows from it, as JSON types."""
    document: dict[str, Any] = {"schema": SCHEMA, **msgspec.to_builtins(report)}
    document["derived"] = msgspec.to_builtins(derived or derive(report))
    return document


def to_json(report: Report) -> bytes:
    """Return :func:`to_document` as JSON, made row by row: thousands of rows at once would keep all threads waiting."""
    derived = derive(report)
    fields = {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
    judged = {field.name: getattr(derived, field.name) for field in dataclasses.fields(derived)}
    rows, spreads = _listed(report.rows), _listed(derived.rows)
    return msgspec.json.encode({"schema": SCHEMA, **fields, "rows": rows, "derived": {**judged, "rows": spreads}})


def _listed(items: Iterable[object]) -> msgspec.Raw:
    return msgspec.Raw(b"[" + b",".join(map(msgspec.json.encode, items)) + b"]")


def from_document(document: object) -> Report:
    """Read a report back.

    Raises:
        Failure: it is not one; it names the field.
    """
    try:
        return msgspec.convert(document, Report)
    except msgspec.ValidationError as error:
        raise Failure(f"this is no report ({error}); expected a document of the schema {SCHEMA}") from None
