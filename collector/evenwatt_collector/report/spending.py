"""What each budget's scope has emitted in its day and month: small reports, as anybody could ask for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.budgets import BudgetSettings, Spent, period
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.build import Made, build_report
from evenwatt_collector.report.model import By, Figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.report.model import Report
    from evenwatt_collector.storage import Connection

BEHIND_S: Final = 180.0
"""Records are on their way for up to a minute or two; what is younger is not counted yet, and not missed either."""
RECENT_S: Final = 600.0
"""The rate is the mean over so long."""


def spent(connection: Connection, budgets: Sequence[BudgetSettings], made: Made) -> dict[str, Spent]:
    """Return what is spent, by budget's name.

    Raises:
        DatabaseError: the database cannot be read.
    """
    known: dict[tuple[object, ...], Report | None] = {}

    def ask(by: By, start_s: float, end_s: float, zone: str | None) -> Report | None:
        key = (by, start_s, end_s, zone)
        if key not in known:
            known[key] = _report(connection, made, ReportQuery(
                by=by, start_s=start_s, end_s=end_s, timezone="UTC", zone=zone
            ))  # fmt: skip
        return known[key]

    found = {}
    until_s = made.now_s - BEHIND_S
    for budget in budgets:
        kind, _, name = budget.scope.partition(":")
        by = By.ZONE if kind in {"fleet", "zone"} else By(kind)
        zone = name if kind == "zone" else None
        current = period(budget, made.now_s)
        whole = ask(by, current.start_s, until_s, zone)
        recent = ask(by, until_s - RECENT_S, until_s, zone)
        cover = ask(By.ZONE, current.start_s, until_s, zone)
        grams = _grams(whole, kind, name)
        rate = _grams(recent, kind, name)
        found[budget.name] = Spent(
            scope=budget.scope,
            day_g=None if budget.monthly else grams,
            month_g=grams if budget.monthly else None,
            rate_g_per_h=None if rate is None else rate * 3600.0 / _recorded_s(recent, until_s),
            coverage=_coverage(cover.total if cover else None),
        )
    return found


def zone_grams(connection: Connection, zone: str, start_s: float, made: Made) -> float:
    """Return what a zone has emitted since a moment, as known now; 0 if nothing is known of it."""
    query = ReportQuery(by=By.ZONE, start_s=start_s, end_s=made.now_s, timezone="UTC", zone=zone)
    report = _report(connection, made, query)
    return report.total.location_g if report else 0.0


def _recorded_s(recent: Report | None, until_s: float) -> float:
    """Return over how much of the recent time there was anything to record."""
    began_s = recent.recorded_from_s if recent else None
    return RECENT_S if began_s is None else min(RECENT_S, max(60.0, until_s - began_s))


def _report(connection: Connection, made: Made, query: ReportQuery) -> Report | None:
    """Return a report; an empty one for a period that has only begun, None for a zone that nothing is known of."""
    if query.end_s <= query.start_s:
        query = replace(query, end_s=query.start_s + 1e-3)
    try:
        return build_report(connection, query, made)
    except LookupError:
        return None


def _grams(report: Report | None, kind: str, name: str) -> float | None:
    if report is None:
        return None
    if kind in {"fleet", "zone"}:
        return report.total.location_g
    return sum(row.figures.location_g for row in report.rows if row.name == name)


def _coverage(total: Figures | None) -> float:
    if total is None:
        return 0.0
    whole_s = total.covered_s + total.missing_s
    return total.covered_s / whole_s if whole_s > 0 else 1.0
