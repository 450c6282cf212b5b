"""Makes a report from the database: whole days from their roll-ups, the rest from hours, as known at a moment.

Days that are rolled up and untouched since are added up by the database. What is left at the ends of the period, of
today, of days that were touched again, and everything that is asked as of an earlier moment, is weighed from hours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.shares import HOUR_S
from evenwatt_collector.carbon.site import device_line, held_at
from evenwatt_collector.report.groups import Group, owner_group, place_group
from evenwatt_collector.report.measures import figures_of
from evenwatt_collector.report.model import By, DeviceFactor, Moment, Report, Row, SiteFactor
from evenwatt_collector.report.notes import notes
from evenwatt_collector.report.sources import Sources
from evenwatt_collector.storage.connection import DatabaseError, connect, shown
from evenwatt_collector.storage.hours import LABEL, NODE, OWNER
from evenwatt_collector.storage.intensity import DAY_S, devices, known
from evenwatt_collector.storage.names import owners
from evenwatt_collector.storage.rollup import clean_days, sum_by
from evenwatt_collector.storage.schema import check
from evenwatt_collector.storage.weighing import AT, COLUMNS, Period, ZoneBook
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from evenwatt_collector.carbon.shares import Owner
    from evenwatt_collector.carbon.site import Devices
    from evenwatt_collector.carbon.weigh import Known, Use
    from evenwatt_collector.report.asking import ReportQuery
    from evenwatt_collector.storage.connection import Connection

    Floats = NDArray[np.float64]

ATTRIBUTION: Final = {
    "electricity-maps": "Electricity Maps, by contract with it",
    "watttime": "WattTime v3, by contract with it",
    "neso": "National Energy System Operator, Carbon Intensity API, CC BY 4.0",
    "entsoe": "ENTSO-E Transparency Platform, generation mix; fuel factors: docs/intensity.md",
    "eia": "US Energy Information Administration, generation mix, public domain; fuel factors: docs/intensity.md",
    "carbon-aware-sdk": "Carbon Aware SDK WebAPI; ask its operator for its source",
}
"""Who has to be named beside a figure; docs/intensity.md."""

_TIME: Final = Group("")
"""Stands for time that belongs to no row."""

_HOURLY_S: Final = 73 * HOUR_S
"""Up to three days, one of them with 25 hours, the time line is by the hour."""
_RETIRED_S: Final = 7 * DAY_S
"""A node that sent nothing for a week is taken to be gone, and not missed any longer (our choice)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """When and by what a report is made."""

    now_s: float
    version: str
    fleet: str


@dataclass(slots=True)
class _Zone:
    """One zone of a report."""

    number: int
    name: str
    nodes: dict[int, str]
    reach: dict[int, tuple[float, float]]
    """From when to when each node's records reach, Unix time."""
    known: Known
    book: ZoneBook


@dataclass(slots=True)
class _Sums:
    """What has been added up."""

    groups: dict[Group, Floats] = field(default_factory=dict)
    units: dict[Group, dict[str, float]] = field(default_factory=dict)
    missing_s: dict[Group, float] = field(default_factory=dict)
    covered_s: dict[int, float] = field(default_factory=dict)
    """By node."""
    line: dict[int, list[float]] = field(default_factory=dict)
    """By hour or day: joules and grams."""

    def add(self, group: Group, columns: Floats) -> None:
        have = self.groups.get(group)
        if have is not None:
            columns = sum_by(np.zeros(2, dtype=np.int64), np.stack((have, columns)), 1)[0]
        self.groups[group] = columns


def build_report(connection: Connection, query: ReportQuery, made: Made) -> Report:
    """Return a report.

    Raises:
        LookupError: the zone or node that it is asked for is not known.
        DatabaseError: it cannot be read.
    """
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
        self._known_s = made.now_s if query.known_at_s is None else min(query.known_at_s, made.now_s)
        self._now = query.known_at_s is None or query.known_at_s >= made.now_s
        self._sums, self._sources = _Sums(), Sources()
        self._owners: dict[int, Owner] = {}
        self._devices: Mapping[str, Devices] = devices(connection, query.known_at_s)
        self._strangers: list[str] = []
        self._zones = self._find_zones()
        self._node = self._find_node()
        self._cut = self._choose_cut()
        # A time line by the hour needs the hours; of many owners on many nodes there are too many of them.
        short = query.end_s - query.start_s <= _HOURLY_S
        self._hourly = short and (self._cut != OWNER or self._node is not None)

    def report(self) -> Report:
        """Return it."""
        for zone in self._zones:
            self._add_zone(zone)
            if self._query.workload is None:
                self._add_missing(zone)
        rows = tuple(self._rows())
        total = figures_of(
            sum_by(np.zeros(len(self._sums.groups), dtype=np.int64), np.stack(list(self._sums.groups.values())), 1)[0]
            if self._sums.groups
            else np.zeros(len(COLUMNS)),
            _added(self._sums.units.values()),
            fsum(self._sums.missing_s.values()),
            fsum(self._sums.covered_s.values()),
        )
        query = self._query
        return Report(
            by=query.by,
            start_s=query.start_s,
            end_s=query.end_s,
            timezone=query.timezone,
            known_at_s=self._known_s,
            made_s=self._made.now_s,
            version=self._made.version,
            fleet=self._made.fleet,
            rows=rows,
            total=total,
            used=self._sources.used(self._detail),
            sites=tuple(site for zone in self._zones for site in self._sites(zone)),
            devices=tuple(device for zone in self._zones for device in self._device_factors(zone)),
            line=self._line(),
            notes=notes(query, total, self._known_s, self._strangers, self._silent()),
        )

    # --- what is asked for ----------------------------------------------------------------------------------------

    def _find_zones(self) -> list[_Zone]:
        query, found = self._query, []
        for number, name in self._connection.rows("SELECT id, name FROM zone ORDER BY name"):
            if query.zone not in {None, name}:
                continue
            rows = self._connection.rows("SELECT id, name, first_ms, last_ms FROM node WHERE zone = ?", (number,))
            facts = known(self._connection, number, query.start_s, query.end_s, query.known_at_s)
            if facts is None:
                self._strangers += [name] if rows else []
                continue
            nodes = {row[0]: row[1] for row in rows}
            reach = {row[0]: (row[2] / 1e3, row[3] / 1e3) for row in rows if row[2] is not None}
            book = ZoneBook(self._connection, (number, name), facts, self._devices, nodes)
            found.append(_Zone(number, name, nodes, reach, facts, book))
        if query.zone is not None and not found:
            raise LookupError(f"no zone {query.zone!r} in the ledger")
        return found

    def _find_node(self) -> int | None:
        if self._query.node is None:
            return None
        found = [
            (zone, number) for zone in self._zones for number, name in zone.nodes.items() if name == self._query.node
        ]
        if not found:
            raise LookupError(f"no node {self._query.node!r} in the ledger")
        if len(found) > 1:
            where = ", ".join(zone.name for zone, _ in found)
            raise LookupError(f"node {self._query.node!r} is in zones {where}; name one with --zone")
        self._zones = [found[0][0]]
        return found[0][1]

    def _choose_cut(self) -> int:
        query = self._query
        if query.by in {By.ZONE, By.NODE}:
            return NODE if query.workload is None else OWNER
        return OWNER if query.by is By.TASK or self._node is not None else LABEL

    @property
    def _by_days(self) -> bool:
        """Whether days that are rolled up may be used: they hold what is known now."""
        return self._now and not self._hourly

    # --- adding up ------------------------------------------------------------------------------------------------

    def _add_zone(self, zone: _Zone) -> None:
        """Add a zone: its clean whole days, and the hours around them."""
        query, at_s = self._query, self._query.start_s
        first, last = int(-(-query.start_s // DAY_S)), int(query.end_s // DAY_S)
        for begin, end in clean_days(self._connection, zone.number, first, last) if self._by_days else []:
            self._add_hours(zone, at_s, begin * DAY_S)
            self._add_days(zone, begin, end)
            at_s = end * DAY_S
        self._add_hours(zone, at_s, query.end_s)
        self._add_work(zone)

    def _add_hours(self, zone: _Zone, start_s: float, end_s: float) -> None:
        if end_s <= start_s:
            return
        period, known_ms = Period.of(start_s, end_s), int(self._known_s * 1000)
        # A label's embodied grams are those of its owners on each node.
        cut = OWNER if self._cut == LABEL and zone.book.embodied else self._cut
        table = zone.book.table(cut, period, known_ms, self._node)
        if len(table.hours):
            keys = np.stack((table.nodes, table.owners), axis=1)
            pairs, which = np.unique(keys, axis=0, return_inverse=True)
            kept = self._add(zone, pairs.tolist(), sum_by(which.ravel(), table.columns, len(pairs)))
            inside = kept[which.ravel()]
            self._add_line(table.hours[inside], table.columns[inside])
        if self._query.workload is None:
            whole = table if cut == NODE else zone.book.table(NODE, period, known_ms, self._node)
            self._cover(whole.nodes.tolist(), whole.columns[:, AT["covered_s"]].tolist())
        for use in zone.book.used(period, known_ms):
            self._sources.add(zone.name, use)

    def _add_days(self, zone: _Zone, first: int, last: int) -> None:
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
            kept = self._add(zone, [[row[0], row[1]] for row in rows], columns)
            if self._cut == NODE:
                self._cover([row[0] for row in rows], columns[:, AT["covered_s"]].tolist())
            owner_numbers = [row[1] for row, keep in zip(rows, kept.tolist(), strict=True) if keep]
            self._add_day_line(where, more, None if kept.all() else owner_numbers)
        if self._cut != NODE and self._query.workload is None:
            named = [*more[:3], NODE, *more[4:]]
            covered = self._connection.rows(f"SELECT node, SUM(covered_s) FROM day WHERE {where} GROUP BY node", named)
            self._cover([row[0] for row in covered], [row[1] for row in covered])
        for row in self._connection.rows(
            "SELECT kind, basis, source, standing, grid, SUM(energy_j), SUM(grams), MIN(least_g_per_kwh), "
            "MAX(most_g_per_kwh) FROM day_used WHERE zone = ? AND day >= ? AND day < ? "
            "GROUP BY kind, basis, source, standing, grid",
            (zone.number, first, last),
        ):
            self._sources.add_row(zone.name, row)

    def _add(self, zone: _Zone, pairs: list[list[int]], columns: Floats) -> NDArray[np.bool_]:
        """Add sums of (node, owner); return which of them are asked for."""
        missing = {owner for _, owner in pairs if owner and owner not in self._owners}
        self._owners |= owners(self._connection, missing)
        groups = [self._group(zone, node, owner) for node, owner in pairs]
        kept = np.array([group is not None for group in groups])
        numbers: dict[Group, int] = {}
        which = [numbers.setdefault(group, len(numbers)) for group in groups if group is not None]
        sums = sum_by(np.array(which, dtype=np.int64), columns[kept], len(numbers))
        for group, number in numbers.items():
            self._sums.add(group, sums[number])
        return kept

    def _group(self, zone: _Zone, node: int, owner: int) -> Group | None:
        query = self._query
        if query.workload is not None:
            named = owner_group(By.WORKLOAD, self._owners[owner], "", "").name
            if query.workload != named:
                return None
        if query.by in {By.ZONE, By.NODE}:
            return place_group(query.by, zone.name, zone.nodes.get(node, ""))
        return owner_group(query.by, self._owners[owner], zone.name, zone.nodes.get(node, ""))

    def _add_work(self, zone: _Zone) -> None:
        """Add units of work and running time, by the hour in which they were reported."""
        query, known_ms = self._query, int(self._known_s * 1000)
        where = "zone = ? AND hour >= ? AND hour < ? AND recorded_ms <= ?"
        values: list[object] = [zone.number, int(query.start_s // HOUR_S), int(-(-query.end_s // HOUR_S)), known_ms]
        if self._node is not None:
            where, values = f"{where} AND node = ?", [*values, self._node]
        rows = self._connection.rows(
            f"SELECT node, owner, unit, SUM(amount) FROM work WHERE {where} GROUP BY node, owner, unit",
            values,
        )
        self._owners |= owners(self._connection, {row[1] for row in rows} - set(self._owners))
        for node, owner, unit, amount in rows:
            group = self._group(zone, node, owner)
            if group is not None:
                done = self._sums.units.setdefault(group, {})
                done[unit] = done.get(unit, 0.0) + amount

    def _add_missing(self, zone: _Zone) -> None:
        """Add the time in which nodes ought to have been covered and were not."""
        end_s, missing = min(self._query.end_s, self._known_s), self._sums.missing_s
        for number, (first_s, last_s) in zone.reach.items():
            length_s = min(end_s, last_s + _RETIRED_S) - max(self._query.start_s, first_s)
            if length_s > 0 and self._node in {None, number}:
                # Below nodes, time is nobody's: it stands in the total alone.
                group = _TIME if self._cut != NODE else place_group(self._query.by, zone.name, zone.nodes[number])
                left_s = length_s - self._sums.covered_s.get(number, 0.0)
                missing[group] = missing.get(group, 0.0) + max(0.0, left_s)

    def _cover(self, nodes: list[int], covered_s: list[float]) -> None:
        for node, seconds in zip(nodes, covered_s, strict=True):
            self._sums.covered_s[node] = self._sums.covered_s.get(node, 0.0) + seconds

    # --- the time line --------------------------------------------------------------------------------------------

    def _add_line(self, hours: NDArray[np.int64], columns: Floats) -> None:
        ticks = hours if self._hourly else hours // 24
        distinct, which = np.unique(ticks, return_inverse=True)
        energy_j = np.bincount(which.ravel(), columns[:, AT["energy_j"]])
        grams = np.bincount(which.ravel(), columns[:, AT["location_g"]])
        for tick, joules, weight in zip(distinct.tolist(), energy_j.tolist(), grams.tolist(), strict=True):
            self._tick(tick, joules, weight)

    def _add_day_line(self, where: str, values: list[int], kept: list[int] | None) -> None:
        if kept is not None:
            marks = ", ".join("?" * len(kept))
            where, values = f"{where} AND owner IN ({marks})", [*values, *kept]
        for day, joules, weight in self._connection.rows(
            f"SELECT day, SUM(energy_j), SUM(location_g) FROM day WHERE {where} GROUP BY day",
            values,
        ):
            self._tick(day, joules, weight)

    def _tick(self, tick: int, joules: float, weight_g: float) -> None:
        sums = self._sums.line.setdefault(tick, [0.0, 0.0])
        sums[0] += joules
        sums[1] += weight_g

    def _line(self) -> tuple[Moment, ...]:
        length_s, query = HOUR_S if self._hourly else DAY_S, self._query
        return tuple(
            Moment(
                start_s=max(query.start_s, tick * length_s),
                end_s=min(query.end_s, (tick + 1) * length_s),
                energy_j=joules,
                location_g=weight_g,
            )
            for tick, (joules, weight_g) in sorted(self._sums.line.items())
        )

    # --- the rest -------------------------------------------------------------------------------------------------

    def _rows(self) -> list[Row]:
        groups = (set(self._sums.groups) | set(self._sums.missing_s)) - {_TIME}
        rows = [
            Row(
                name=group.name,
                residual=group.residual,
                zone=group.zone,
                node=group.node,
                figures=figures_of(
                    self._sums.groups.get(group, np.zeros(len(COLUMNS))),
                    self._sums.units.get(group, {}),
                    self._sums.missing_s.get(group, 0.0),
                ),
            )
            for group in groups
        ]
        return sorted(rows, key=lambda row: (row.residual, -row.figures.location_g, row.name, row.zone, row.node))

    def _sites(self, zone: _Zone) -> list[SiteFactor]:
        query, line = self._query, zone.known.line
        edges = [*(since for since, _ in line), float("inf")]
        found = []
        for i, (_, facts) in enumerate(line):
            start_s, end_s = max(edges[i], query.start_s), min(edges[i + 1], query.end_s)
            if start_s < end_s:
                contract = facts.contract
                rest = None if contract is None else contract.rest_g_per_kwh
                found.append(
                    SiteFactor(
                        zone=zone.name,
                        start_s=start_s,
                        end_s=end_s,
                        pue=facts.pue,
                        market_g_per_kwh=None if contract is None else contract.g_per_kwh,
                        market_detail=""
                        if contract is None
                        else _contract_words(contract.share, rest, contract.detail),
                        wue_l_per_kwh=facts.wue_l_per_kwh,
                        grid_water_l_per_kwh=facts.grid_water_l_per_kwh,
                    )
                )
        return found

    def _detail(self, use: Use) -> str:
        """Return year, licence and attribution of a source."""
        for zone in self._zones:
            for _, facts in zone.known.line:
                if (facts.grid, facts.fallback_source) == (use.grid, use.source):
                    return facts.fallback_detail
        return ATTRIBUTION.get(use.source, "")

    def _device_factors(self, zone: _Zone) -> list[DeviceFactor]:
        found = []
        for number, name in sorted(zone.nodes.items(), key=lambda entry: entry[1]):
            line = device_line(zone.name, name, self._devices)
            if line and self._node in {None, number}:
                facts = held_at(line, self._query.end_s)
                found.append(
                    DeviceFactor(
                        node=name, embodied_g=facts.embodied_g, lifetime_s=facts.lifetime_s, detail=facts.detail
                    )
                )
        return found

    def _silent(self) -> list[str]:
        """Return nodes that are not retired and have sent nothing up to the end of the period."""
        end_s = min(self._query.end_s, self._known_s)
        return sorted(
            zone.nodes[number]
            for zone in self._zones
            for number, (_, last_s) in zone.reach.items()
            if self._node in {None, number} and last_s < end_s - HOUR_S and last_s + _RETIRED_S > self._query.start_s
        )


def _without_count(values: tuple[float | None, ...]) -> list[float]:
    """Drop the count of contracts: a sum of none is nothing configured."""
    market = COLUMNS.index("market_g")
    known_market = values[market] if values[market + 1] else None
    flat = [*values[:market], known_market, *values[market + 2 :]]
    return [float("nan") if value is None else float(value) for value in flat]


def _contract_words(share: float, rest: float | None, detail: str) -> str:
    other = "the grid's average" if rest is None else f"a residual mix of {rest:g} g/kWh"
    return f"{share:.0%} of the energy by contract, the rest by {other}{f'; {detail}' if detail else ''}"


def _added(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for table in tables:
        for unit, amount in table.items():
            total[unit] = total.get(unit, 0.0) + amount
    return total
