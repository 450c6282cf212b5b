"""Adds up what a report is asked for: whole days from their roll-ups, the rest from hours, as known at a moment.

Days that are rolled up and untouched since are added up by the database, also as of an earlier moment if they were
rolled up by then. What is left at the ends of the period, of today, and of days that were touched since, is weighed
from hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.shares import HOUR_S
from evenwatt_collector.report.groups import Group, of_model, owner_group, place_group
from evenwatt_collector.report.model import By, Moment
from evenwatt_collector.report.sources import Sources
from evenwatt_collector.report.sums import Sums
from evenwatt_collector.storage.grouping import Grouped, keys_of, pairs_of, sum_by
from evenwatt_collector.storage.hours import LABEL, NODE, OWNER
from evenwatt_collector.storage.intensity import DAY_S
from evenwatt_collector.storage.names import owners
from evenwatt_collector.storage.rollup import clean_days
from evenwatt_collector.storage.weighing import AT, COLUMNS, Period, ZoneBook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from evenwatt_collector.carbon.shares import Owner
    from evenwatt_collector.carbon.site import SiteFacts
    from evenwatt_collector.report.asking import ReportQuery
    from evenwatt_collector.storage.connection import Connection
    from evenwatt_collector.storage.weighing import Table

    Floats = NDArray[np.float64]

TIME: Final = Group("")
"""Stands for time that belongs to no row."""
RETIRED_S: Final = 7 * DAY_S
"""A node that sent nothing for a week is taken to be gone, and not missed any longer (our choice)."""
UNDER_WAY_S: Final = 180.0
"""Records come once a minute, and may take two more."""
_HOURLY_S: Final = 73 * HOUR_S
"""Up to three days, one of them with 25 hours, the time line is by the hour."""


@dataclass(slots=True)
class ReportZone:
    """One zone of a report."""

    number: int
    name: str
    nodes: dict[int, str]
    reach: dict[int, tuple[float, float]]
    """From when to when each node's records reach, Unix time."""
    line: Sequence[tuple[float, SiteFacts]]
    """Facts of the site, by since when they hold."""
    book: ZoneBook


class Adder:
    """What has been added up of one report.

    Args:
        connection: To read from.
        query: What is asked.
        node: Number of the node that it is asked of; None: all.
        known_s: As known at this moment.
        now: Whether that is now, so that roll-ups may be used.
    """

    def __init__(
        self, connection: Connection, query: ReportQuery, node: int | None, known_s: float, *, now: bool
    ) -> None:
        self._connection, self._query, self._node, self._known_s = connection, query, node, known_s
        self.sums, self.sources = Sums(), Sources()
        self._owners: dict[int, Owner] = {}
        self._cut = self._choose_cut()
        # A time line by the hour needs the hours; of many owners on many nodes there are too many of them.
        short = query.end_s - query.start_s <= _HOURLY_S
        self._hourly = short and (self._cut != OWNER or node is not None)
        self._as_of_ms = None if now else int(known_s * 1000)

    def add(self, zone: ReportZone) -> None:
        """Add a zone."""
        self._add_zone(zone)
        if not self._query.part:
            self._add_missing(zone)

    def total(self) -> Floats:
        """Return the sum over all rows."""
        groups = self.sums.groups
        if not groups:
            return np.zeros(len(COLUMNS))
        whole: Floats = sum_by(np.zeros(len(groups), dtype=np.int64), np.stack(list(groups.values())), 1)[0]
        return whole

    def _choose_cut(self) -> int:
        query = self._query
        if query.by in {By.ZONE, By.NODE}:
            return OWNER if query.part else NODE
        return OWNER if query.by is By.TASK or self._node is not None else LABEL

    def _add_zone(self, zone: ReportZone) -> None:
        """Add a zone: its clean whole days, and the hours around them."""
        query, at_s = self._query, self._query.start_s
        first, last = int(-(-query.start_s // DAY_S)), int(query.end_s // DAY_S)
        clean = [] if self._hourly else clean_days(self._connection, zone.number, first, last, self._as_of_ms)
        for begin, end in clean:
            self._add_hours(zone, at_s, begin * DAY_S)
            self._add_days(zone, begin, end)
            at_s = end * DAY_S
        self._add_hours(zone, at_s, query.end_s)
        self._add_work(zone)

    def _add_hours(self, zone: ReportZone, start_s: float, end_s: float) -> None:
        """Add hours, piece by piece: many of them together would take much memory."""
        if end_s <= start_s:
            return
        period, known_ms = Period.of(start_s, end_s), int(self._known_s * 1000)
        # A label's embodied grams are those of its owners on each node.
        cut = OWNER if self._cut == LABEL and zone.book.embodied else self._cut
        sums = Grouped()
        for piece in zone.book.pieces(cut, period, known_ms, self._node):
            table = zone.book.table(cut, piece, known_ms, self._node)
            if len(table.hours):
                self._add_piece(zone, table, sums)
        self._add(zone, self._known_pairs(sums.keys), sums.columns)
        for piece in zone.book.pieces(NODE, period, known_ms):
            if not self._query.part:
                whole = zone.book.table(NODE, piece, known_ms, self._node)
                nodes, which = np.unique(whole.nodes, return_inverse=True)
                covered_s = np.bincount(which.ravel(), whole.columns[:, AT["covered_s"]], len(nodes))
                self._cover(nodes.tolist(), covered_s.tolist())
            for use in zone.book.used([piece], known_ms):
                self.sources.add(zone.name, use)

    def _add_piece(self, zone: ReportZone, table: Table, sums: Grouped) -> None:
        """Add a table to the sums by node and owner, and what of it is asked for to the time line."""
        pairs, which = sums.add(table)
        if not self._query.part:
            self._add_line(table.hours, table.columns)
            return
        kept = np.array([self._group(zone, *pair) is not None for pair in self._known_pairs(pairs)])
        inside = kept[which]
        self._add_line(table.hours[inside], table.columns[inside])

    def _known_pairs(self, keys: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return nodes and owners of keys; the owners are known by name then."""
        pairs = pairs_of(keys)
        missing = {owner for _, owner in pairs if owner and owner not in self._owners}
        self._owners |= owners(self._connection, missing)
        return pairs

    def _add_days(self, zone: ReportZone, first: int, last: int) -> None:
        sums = ", ".join(
            f"SUM(COALESCE({name}, location_g)), COUNT({name})" if name == "market_g" else f"SUM({name})"
            for name in COLUMNS
        )
        where, more = "zone = ? AND day >= ? AND day < ? AND cut = ?", [zone.number, first, last, self._cut]
        if self._node is not None:
            where, more = f"{where} AND node = ?", [*more, self._node]
        rows = self._connection.rows(
            f"SELECT node, owner, {sums} FROM day WHERE {where} GROUP BY node, owner",
            more,
        )
        if rows:
            columns = np.array([_without_count(row[2:]) for row in rows], dtype=np.float64)
            keys = keys_of(*(np.array([row[i] for row in rows], dtype=np.int64) for i in (0, 1)))
            kept = self._add(zone, self._known_pairs(keys), columns)
            if self._cut == NODE:
                self._cover([row[0] for row in rows], columns[:, AT["covered_s"]].tolist())
            owner_numbers = {row[1] for row, keep in zip(rows, kept.tolist(), strict=True) if keep}
            self._add_day_line(where, more, None if kept.all() else owner_numbers)
        if self._cut != NODE and not self._query.part:
            named = [*more[:3], NODE, *more[4:]]
            covered = self._connection.rows(f"SELECT node, SUM(covered_s) FROM day WHERE {where} GROUP BY node", named)
            self._cover([row[0] for row in covered], [row[1] for row in covered])
        for row in self._connection.rows(
            "SELECT kind, basis, source, standing, grid, SUM(energy_j), SUM(grams), MIN(least_g_per_kwh), "
            "MAX(most_g_per_kwh) FROM day_used WHERE zone = ? AND day >= ? AND day < ? "
            "GROUP BY kind, basis, source, standing, grid",
            (zone.number, first, last),
        ):
            self.sources.add_row(zone.name, row)

    def _add(self, zone: ReportZone, pairs: list[tuple[int, int]], columns: Floats) -> NDArray[np.bool_]:
        """Add sums of (node, owner); return which of them are asked for."""
        groups = [self._group(zone, node, owner) for node, owner in pairs]
        kept = np.array([group is not None for group in groups], dtype=np.bool_)
        numbers: dict[Group, int] = {}
        which = [numbers.setdefault(group, len(numbers)) for group in groups if group is not None]
        sums = sum_by(np.array(which, dtype=np.int64), columns[kept], len(numbers))
        for group, number in numbers.items():
            self.sums.add(group, sums[number])
        return kept

    def _group(self, zone: ReportZone, node: int, owner: int) -> Group | None:
        query = self._query
        if query.workload is not None:
            named = owner_group(By.WORKLOAD, self._owners[owner], "", "").name
            if query.workload != named:
                return None
        if query.model is not None and not of_model(self._owners[owner].model, query.model):
            return None
        if query.by in {By.ZONE, By.NODE}:
            return place_group(query.by, zone.name, zone.nodes.get(node, ""))
        return owner_group(query.by, self._owners[owner], zone.name, zone.nodes.get(node, ""))

    def _add_work(self, zone: ReportZone) -> None:
        """Add units of work and running time, by the hour in which they were reported."""
        query, known_ms = self._query, int(self._known_s * 1000)
        least, most = self._connection.rows("SELECT (SELECT MIN(hour) FROM work), (SELECT MAX(hour) FROM work)")[0]
        if least is None:
            return
        first = max(int(least), int(query.start_s // HOUR_S))
        last = min(int(most), int(-(-query.end_s // HOUR_S)) - 1)
        if first > last:
            return
        values: list[object] = [first, last, zone.number, known_ms]
        where = "work.zone = ? AND work.recorded_ms <= ?"
        if self._node is not None:
            where, values = f"{where} AND work.node = ?", [*values, self._node]
        # The key of the table begins with the hour: hour by hour a zone's rows are found without those of all others.
        rows = self._connection.rows(
            "WITH RECURSIVE asked (hour) AS (SELECT CAST(? AS BIGINT) UNION ALL SELECT hour + 1 FROM asked "
            "WHERE hour < ?) SELECT node, owner, unit, SUM(amount) FROM asked JOIN work ON work.hour = asked.hour "
            f"WHERE {where} GROUP BY node, owner, unit",
            values,
        )
        self._owners |= owners(self._connection, {row[1] for row in rows} - set(self._owners))
        for node, owner, unit, amount in rows:
            group = self._group(zone, node, owner)
            if group is not None:
                done = self.sums.units.setdefault(group, {})
                done[unit] = done.get(unit, 0.0) + amount

    def _add_missing(self, zone: ReportZone) -> None:
        """Add the time in which nodes ought to have been covered and were not."""
        end_s, missing = min(self._query.end_s, self._known_s), self.sums.missing_s
        for number, (first_s, last_s) in zone.reach.items():
            # Of a node that has just been heard the newest record is on its way, and not missing.
            until_s = last_s if self._known_s - last_s < UNDER_WAY_S else last_s + RETIRED_S
            length_s = min(end_s, until_s) - max(self._query.start_s, first_s)
            if length_s > 0 and self._node in {None, number}:
                # Below nodes, time is nobody's: it stands in the total alone.
                group = TIME if self._cut != NODE else place_group(self._query.by, zone.name, zone.nodes[number])
                left_s = length_s - self.sums.covered_s.get(number, 0.0)
                missing[group] = missing.get(group, 0.0) + max(0.0, left_s)

    def _cover(self, nodes: list[int], covered_s: list[float]) -> None:
        for node, seconds in zip(nodes, covered_s, strict=True):
            self.sums.covered_s[node] = self.sums.covered_s.get(node, 0.0) + seconds

    # --- the time line --------------------------------------------------------------------------------------------

    def _add_line(self, hours: NDArray[np.int64], columns: Floats) -> None:
        ticks = hours if self._hourly else hours // 24
        distinct, which = np.unique(ticks, return_inverse=True)
        energy_j = np.bincount(which.ravel(), columns[:, AT["energy_j"]])
        grams = np.bincount(which.ravel(), columns[:, AT["location_g"]])
        for tick, joules, weight in zip(distinct.tolist(), energy_j.tolist(), grams.tolist(), strict=True):
            self._tick(tick, joules, weight)

    def _add_day_line(self, where: str, values: list[int], kept: set[int] | None) -> None:
        """Add days to the time line; of some owners only, if ``kept`` names them."""
        also = "" if kept is None else ", owner"
        for day, joules, weight, *owner in self._connection.rows(
            f"SELECT day, SUM(energy_j), SUM(location_g){also} FROM day WHERE {where} GROUP BY day{also}", values
        ):
            if kept is None or owner[0] in kept:
                self._tick(day, joules, weight)

    def _tick(self, tick: int, joules: float, weight_g: float) -> None:
        sums = self.sums.line.setdefault(tick, [0.0, 0.0])
        sums[0] += joules
        sums[1] += weight_g

    def line(self) -> tuple[Moment, ...]:
        """Return the time line."""
        length_s, query = HOUR_S if self._hourly else DAY_S, self._query
        return tuple(
            Moment(
                start_s=max(query.start_s, tick * length_s),
                end_s=min(query.end_s, (tick + 1) * length_s),
                energy_j=joules,
                location_g=weight_g,
            )
            for tick, (joules, weight_g) in sorted(self.sums.line.items())
        )


def _without_count(values: tuple[float | None, ...]) -> list[float]:
    """Drop the count of contracts: a sum of none is nothing configured."""
    market = COLUMNS.index("market_g")
    known_market = values[market] if values[market + 1] else None
    flat = [*values[:market], known_market, *values[market + 2 :]]
    return [float("nan") if value is None else float(value) for value in flat]
