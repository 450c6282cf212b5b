"""Reads from the database what scores are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.series import Kind
from evenwatt_collector.carbon.weigh import period_mean
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.build import build_report
from evenwatt_collector.report.model import By
from evenwatt_collector.score.baseline import KIND, Baseline, from_document
from evenwatt_collector.score.material import Material, Part, Place, Run
from evenwatt_collector.storage.documents import documents
from evenwatt_collector.storage.intensity import known, site_line
from evenwatt_collector.storage.jobs import outcomes
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from evenwatt_collector.report.build import Made
    from evenwatt_collector.report.model import Figures, Report
    from evenwatt_collector.score.material import By as Cut
    from evenwatt_collector.storage.connection import Connection

_MOST_BASELINES: Final = 10_000


def gather(connection: Connection, by: Cut, period: tuple[float, float], made: Made) -> Material:
    """Return what happened in a period, [start, end) in Unix time.

    Raises:
        DatabaseError: it cannot be read.
    """
    start_s, end_s = period
    parts: dict[str, dict[str, Figures]] = {}
    reports: dict[str, Report] = {}
    places, left_out = {}, []
    for zone, number, nodes in connection.rows(
        "SELECT zone.name, zone.id, COUNT(node.id) FROM zone LEFT JOIN node ON node.zone = zone.id "
        "GROUP BY zone.name, zone.id ORDER BY zone.name"
    ):
        if not site_line(connection, number):
            left_out += [f"left out, since no grid is configured for it: zone {zone}"] if nodes else []
            continue
        here = reports[zone] = build_report(connection, _query(by, start_s, end_s, zone=zone), made)
        for row in here.rows:
            if not row.residual:
                parts.setdefault(row.name, {})[zone] = row.figures
        until_s = min(end_s, here.known_at_s)
        began_s = min(until_s, max(start_s, here.recorded_from_s or until_s))
        # Of the time before anything was recorded there is nothing to compare with, and often no intensity.
        since_s = began_s if began_s < until_s else start_s
        facts = known(connection, number, since_s, until_s) if until_s > start_s else None
        if facts is not None:
            places[zone] = Place(
                mean_g_per_kwh=period_mean(facts, since_s, until_s), total=here.total, recorded_s=until_s - began_s
            )
    return Material(
        by=by,
        start_s=start_s,
        end_s=end_s,
        known_at_s=min((here.known_at_s for here in reports.values()), default=made.now_s),
        made_s=made.now_s,
        version=made.version,
        fleet=made.fleet,
        parts=tuple(Part(name=name, by_zone=by_zone) for name, by_zone in sorted(parts.items())),
        places=places,
        outcomes=tuple(outcomes(connection, start_s, end_s)),
        factors=tuple(_factors(reports.values())),
        notes=(*_notes(reports), *left_out),
    )


def runs(connection: Connection, workload: str, period: tuple[float, float], made: Made) -> tuple[Run, ...]:
    """Return the runs of a workload's tasks; raises as above."""
    report = build_report(connection, _query("task", *period, workload=workload), made)
    return tuple(
        Run(
            name=f"{row.zone}:{row.name}" if row.zone else row.name,
            grams=row.figures.location_g + (row.figures.embodied_g or 0.0),
            units=row.figures.units,
        )
        for row in report.rows
        if not row.residual
    )


def baselines(connection: Connection) -> tuple[list[Baseline], list[str]]:
    """Return all versions of all baselines, and what is wrong with those that cannot be used.

    Raises:
        DatabaseError: they cannot be read.
    """
    found, troubles = [], []
    for document in documents(connection, KIND, limit=_MOST_BASELINES):
        try:
            found.append(from_document(document.value))
        except Failure as failure:
            troubles.append(str(failure))
    return found, troubles


def _query(
    by: str, start_s: float, end_s: float, *, zone: str | None = None, workload: str | None = None
) -> ReportQuery:
    return ReportQuery(by=By(by), start_s=start_s, end_s=end_s, timezone="UTC", zone=zone, workload=workload)


def _factors(reports: Iterable[Report]) -> list[str]:
    """Say which intensities and which overheads reports rest on."""
    intensities, overheads = set(), set()
    for report in reports:
        overheads |= {f"PUE {site.zone} {site.pue:g}" for site in report.sites}
        for used in report.used:
            if used.kind is Kind.AVERAGE:
                more = f"; {used.detail}" if used.detail else ""
                intensities.add(f"{used.grid} by {used.source} ({used.basis}, {used.standing}{more})")
    return [*sorted(intensities), *sorted(overheads)]


def _notes(reports: Mapping[str, Report]) -> list[str]:
    """Return what a reader has to know: once what holds for all zones, else with the zone's name."""
    zones: dict[str, list[str]] = {}
    for zone, report in reports.items():
        for note in report.notes:
            zones.setdefault(note, []).append(zone)
    return [note if len(where) == len(reports) else f"{', '.join(where)}: {note}" for note, where in zones.items()]
