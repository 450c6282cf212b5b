"""Makes a report from the database, as known at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import fsum
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.shares import HOUR_S
from evenwatt_collector.report.adding import RETIRED_S, TIME, Adder, ReportZone
from evenwatt_collector.report.factors import detail_of, device_factors, site_factors
from evenwatt_collector.report.measures import figures_of
from evenwatt_collector.report.model import Report, Row
from evenwatt_collector.report.notes import Circumstances, notes
from evenwatt_collector.storage.connection import DatabaseError, connect, shown, snapshot
from evenwatt_collector.storage.energy import newest_ms
from evenwatt_collector.storage.intensity import devices, site_line
from evenwatt_collector.storage.schema import check
from evenwatt_collector.storage.weighing import COLUMNS, ZoneBook
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from evenwatt_collector.carbon.site import Devices
    from evenwatt_collector.report.asking import ReportQuery
    from evenwatt_collector.storage.connection import Connection


_NAMED: Final = 12
"""Names that an error lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """When and by what a report is made."""

    now_s: float
    version: str
    fleet: str


def build_report(connection: Connection, query: ReportQuery, made: Made) -> Report:
    """Return a report.

    Raises:
        LookupError: the zone or node that it is asked for is not known.
        DatabaseError: it cannot be read.
    """
    with snapshot(connection):  # else what is settled between two queries counts twice, or not at all
        return _Builder(connection, query, made).report()


def open_and_build(database: str, query: ReportQuery, made: Made) -> Report:
    """Return a report from a database that may be in use by a collector.

    Raises:
        Failure: it cannot be opened, or what is asked for is not in it.
    """
    connection = connect(database, write=False)
    try:
        check(connection, shown(database))
        return build_report(connection, query, made)
    except LookupError as error:
        raise Failure(f"{shown(database)}: {error.args[0]}") from None
    except DatabaseError as error:
        raise Failure(f"{shown(database)}: {error}", exit_code=EXIT_FAILURE) from None
    finally:
        connection.close()


class _Builder:
    """One report being made."""

    def __init__(self, connection: Connection, query: ReportQuery, made: Made) -> None:
        self._connection, self._query, self._made = connection, query, made
        # Whole seconds, so that the moment that a report prints is the one that brings it back.
        newest_s = newest_ms(connection, float(int(made.now_s))) / 1e3
        self._known_s = newest_s if query.known_at_s is None else min(query.known_at_s, newest_s)
        self._now = self._known_s >= newest_s
        self._devices: Mapping[str, Devices] = devices(connection, query.known_at_s)
        self._strangers: list[str] = []
        self._zones = self._find_zones()
        self._node = self._find_node()
        self._adder = Adder(connection, query, self._node, self._known_s, now=self._now)

    def report(self) -> Report:
        """Return it."""
        query, adder, zones = self._query, self._adder, self._zones
        for zone in zones:
            adder.add(zone)
        total = figures_of(
            adder.total(),
            _added(adder.sums.units.values()),
            fsum(adder.sums.missing_s.values()),
            fsum(adder.sums.covered_s.values()),
        )
        return Report(
            by=query.by,
            start_s=query.start_s,
            end_s=query.end_s,
            timezone=query.timezone,
            known_at_s=self._known_s,
            made_s=self._made.now_s,
            version=self._made.version,
            fleet=self._made.fleet,
            rows=tuple(self._rows()),
            total=total,
            used=adder.sources.used(partial(detail_of, lines=[zone.line for zone in zones])),
            sites=tuple(
                site for zone in zones for site in site_factors(zone.name, zone.line, query.start_s, query.end_s)
            ),
            devices=tuple(
                device
                for zone in zones
                for device in device_factors(zone.name, self._named(zone), self._devices, query.end_s)
            ),
            line=adder.line(),
            recorded_from_s=self._recorded_from_s(),
            notes=notes(query, total, self._circumstances()),
        )

    def _find_zones(self) -> list[ReportZone]:
        query, found = self._query, []
        for number, name in self._connection.rows("SELECT id, name FROM zone ORDER BY name"):
            if query.zone not in {None, name}:
                continue
            rows = self._connection.rows(
                "SELECT id, name, first_ms, last_ms, known_ms FROM node WHERE zone = ?", (number,)
            )
            line = site_line(self._connection, number, query.known_at_s)
            if not line:
                self._strangers += [name] if rows else []
                continue
            nodes = {row[0]: row[1] for row in rows}
            reach = {
                row[0]: (row[2] / 1e3, row[3] / 1e3)
                for row in rows
                if row[2] is not None and row[4] <= self._known_s * 1000
            }
            if not self._now:
                reach |= self._reach_then(number, reach)
            book = ZoneBook(self._connection, (number, name), self._devices, nodes, query.known_at_s)
            found.append(ReportZone(number, name, nodes, reach, line, book))
        if query.zone is not None and not found:
            rows = self._connection.rows("SELECT name FROM zone ORDER BY name")
            raise LookupError(f"no zone {query.zone!r} in the ledger; known are {_some([row[0] for row in rows])}")
        return found

    def _reach_then(self, zone: int, reach: Mapping[int, tuple[float, float]]) -> dict[int, tuple[float, float]]:
        """Return up to when nodes had been heard at the moment of the report, of those that the ledger still tells."""
        known_ms = int(self._known_s * 1000)
        rows = self._connection.rows(
            "SELECT boot.node, MAX(ledger.end_ms) FROM ledger JOIN boot ON boot.id = ledger.boot "
            "WHERE ledger.stored_ms > ? AND ledger.stored_ms <= ? AND boot.zone = ? GROUP BY boot.node",
            (known_ms - int(RETIRED_S * 1000), known_ms, zone),
        )
        return {node: (reach[node][0], last_ms / 1e3) for node, last_ms in rows if node in reach}

    def _find_node(self) -> int | None:
        """Return the number of the node that is asked for, by ``NODE`` or ``ZONE:NODE``."""
        if self._query.node is None:
            return None
        where, _, name = self._query.node.rpartition(":")
        known = [(zone, number, node) for zone in self._zones for number, node in zone.nodes.items()]
        found = [(zone, number) for zone, number, node in known if node == name and where in {"", zone.name}]
        if not found:
            raise LookupError(
                f"no node {self._query.node!r} in the ledger; known are {_some([node for _, _, node in known])}"
            )
        if len(found) > 1:
            zones = ", ".join(zone.name for zone, _ in found)
            raise LookupError(f"node {name!r} is in zones {zones}; write ZONE:{name}")
        self._zones = [found[0][0]]
        return found[0][1]

    def _named(self, zone: ReportZone) -> list[str]:
        """Return the nodes of a zone that are asked for."""
        return [name for number, name in zone.nodes.items() if self._asked(number)]

    def _rows(self) -> list[Row]:
        groups = (set(self._adder.sums.groups) | set(self._adder.sums.missing_s)) - {TIME}
        rows = [
            Row(
                name=group.name,
                residual=group.residual,
                zone=group.zone,
                node=group.node,
                figures=figures_of(
                    self._adder.sums.groups.get(group, np.zeros(len(COLUMNS))),
                    self._adder.sums.units.get(group, {}),
                    self._adder.sums.missing_s.get(group, 0.0),
                ),
            )
            for group in groups
        ]
        return sorted(rows, key=lambda row: (row.residual, -row.figures.location_g, row.name, row.zone, row.node))

    def _recorded_from_s(self) -> float | None:
        return min(
            (first_s for zone in self._zones for number, (first_s, _) in zone.reach.items() if self._asked(number)),
            default=None,
        )

    def _circumstances(self) -> Circumstances:
        end_s = min(self._query.end_s, self._known_s)
        nodes = [name for zone in self._zones for name in self._named(zone)]
        weighed = [
            device
            for zone in self._zones
            for device in device_factors(zone.name, self._named(zone), self._devices, self._query.end_s)
        ]
        return Circumstances(
            known_s=self._known_s,
            recorded_from_s=self._recorded_from_s(),
            strangers=self._strangers,
            # Not retired, and nothing came up to the end of the period.
            silent=sorted(
                zone.nodes[number]
                for zone in self._zones
                for number, (_, last_s) in zone.reach.items()
                if self._asked(number) and last_s < end_s - HOUR_S and last_s + RETIRED_S > self._query.start_s
            ),
            nodes=len(nodes),
            devices=len(weighed),
        )

    def _asked(self, number: int) -> bool:
        return self._node in {None, number}


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "") if names else "none"


def _added(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for table in tables:
        for unit, amount in table.items():
            total[unit] = total.get(unit, 0.0) + amount
    return total
