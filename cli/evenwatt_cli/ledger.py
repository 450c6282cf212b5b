"""``evenwatt ledger``: what a database holds; export, import; corrected intensities."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import ValidationError, convert

from evenwatt_cli import progress
from evenwatt_cli.exits import Exit
from evenwatt_cli.moments import moment
from evenwatt_collector.carbon.providers.contract import ProviderError
from evenwatt_collector.carbon.providers.files import FileSource
from evenwatt_collector.carbon.providers.settings import FileSettings
from evenwatt_collector.carbon.series import Basis, Kind
from evenwatt_collector.carbon.site import SiteFacts
from evenwatt_collector.storage import DatabaseError, connect
from evenwatt_collector.storage.connection import shown
from evenwatt_collector.storage.exchange import export, import_
from evenwatt_collector.storage.identity import renew
from evenwatt_collector.storage.intensity import record
from evenwatt_collector.storage.schema import check
from evenwatt_collector.storage.shards import release, shards
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evenwatt_collector.storage import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A file of intensities and what it is of."""

    file: Path
    grid: str
    source: str
    marginal: bool
    direct: bool
    unit: str


def show_info(database: str, *, as_json: bool) -> Exit:
    """Print what a database holds."""
    try:
        with closing(connect(database, write=False)) as connection:
            check(connection, shown(database))
            found = {"database": shown(database), **_info(connection)}
    except DatabaseError as error:
        raise Failure(f"{shown(database)}: {error}", exit_code=EXIT_FAILURE) from None
    if as_json:
        print(json.dumps(found))
        return Exit.OK
    print(f"{found['database']}: {found['zones']} zones, {found['nodes']} nodes, {found['tasks']} tasks")
    print(f"records    {found['records']:>12,}  from {_day(found['first_ms'])} to {_day(found['last_ms'])}")
    print(f"hours      {found['hours']:>12,}")
    print(f"days       {found['days']:>12,}  {found['stale_days']} of them to be rolled up")
    for one in found["shards"]:
        print(f"shard      {one['name'] or '-':>12}  {', '.join(one['zones'])}  {one['url']}".rstrip())
    for row in found["readings"]:
        span = f"from {_day(row['from_s'] * 1000)} to {_day(row['to_s'] * 1000)}"
        what = f"{row['grid']}, {row['kind']}, {row['source']} {row['standing']}"
        print(f"intensity  {row['readings']:>12,}  {span}: {what}")
    return Exit.OK


def export_to(file: Path, database: str) -> Exit:
    """Export, with progress on standard error of a terminal."""
    with progress.counting("exporting") as tell:
        rows = export(database, file, _adding(tell))
    print(f"{file}: {rows:,} rows, {file.stat().st_size / 1e6:.1f} MB")
    return Exit.OK


def import_from(file: Path, database: str) -> Exit:
    """Import, with progress on standard error of a terminal."""
    with progress.counting("importing") as tell:
        rows = import_(file, database, _adding(tell))
    print(f"{shown(database)}: {rows:,} rows")
    return Exit.OK


def ask_again(zone: str, since: str, database: str) -> Exit:
    """Give what a database holds of a zone a new name, which its nodes answer by sending all they keep."""
    since_s = moment(since, time.time(), "--since") if since else 0.0
    try:
        with closing(connect(database, exclusive=False)) as connection:
            check(connection, shown(database))
            known = [str(row[0]) for row in connection.rows("SELECT name FROM zone ORDER BY name")]
            if zone not in known:
                raise Failure(f"{shown(database)}: no zone {zone!r} in it; it holds {', '.join(known) or 'none'}")
            renew(connection, zone, int(since_s * 1000))
    except DatabaseError as error:
        raise Failure(f"{shown(database)}: {error}; nobody is asked", exit_code=EXIT_FAILURE) from None
    print(f"zone {zone}: its nodes are asked within a minute to send again what they keep, once a collector runs")
    return Exit.OK


def release_zone(zone: str, database: str) -> Exit:
    """Let another shard have a zone."""
    try:
        with closing(connect(database, exclusive=False)) as connection:
            check(connection, shown(database))
            had = release(connection, zone, database)
    except DatabaseError as error:
        raise Failure(f"{shown(database)}: {error}; nothing was changed", exit_code=EXIT_FAILURE) from None
    print(f"zone {zone}: {f'shard {had}' if had else 'a collector without a shard'} has it no more")
    return Exit.OK


def add_intensity(figures: Figures, database: str, *, as_json: bool) -> Exit:
    """Store what a file says of a grid's intensity, as known from now on."""
    try:
        settings = FileSettings(
            name=figures.source,
            path=str(figures.file),
            kind=Kind.MARGINAL if figures.marginal else Kind.AVERAGE,
            basis=Basis.DIRECT if figures.direct else Basis.LIFECYCLE,
            unit=convert(figures.unit, Literal["g/kWh", "kg/MWh", "lb/MWh"]),
        )
        source = FileSource(settings, figures.grid, Basis.LIFECYCLE)
        now_s = int(time.time())
        readings = asyncio.run(source.past(0, now_s, now_s))
    except ValidationError:
        raise Failure(f"--unit: found {figures.unit!r}, expected g/kWh, kg/MWh or lb/MWh") from None
    except ProviderError as error:
        raise Failure(str(error)) from None
    if not readings:
        raise Failure(
            f"{figures.file}: no figure of the past in it; expected columns start and g_per_kwh, or time and g"
        )
    good = [reading for reading in readings if reading.fault() is None]
    try:
        with closing(connect(database, exclusive=False)) as connection:
            check(connection, shown(database))
            _check_source(connection, figures)
            new = record(connection, good)
    except DatabaseError as error:
        raise Failure(f"{shown(database)}: {error}; nothing was stored", exit_code=EXIT_FAILURE) from None
    said = {"grid": figures.grid, "source": figures.source, "read": len(readings), "new": new,
            "faulty": len(readings) - len(good)}  # fmt: skip
    if as_json:
        print(json.dumps(said))
    else:
        print(f"{figures.grid}: {new} of {len(readings)} figures are new; {said['faulty']} were faulty and left out")
        for reading in readings:
            if (fault := reading.fault()) is not None:
                print(f"  from {_day(reading.start_s * 1000)}: {fault}")
    return Exit.OK if len(good) == len(readings) else Exit.DEGRADED


def _check_source(connection: Connection, figures: Figures) -> None:
    """See that the figures can ever count: of a grid that a zone is on, and of a source that it knows.

    Raises:
        Failure: they cannot, or a source of this name would stand behind all others.
    """
    facts = [msgspec.json.decode(text, type=SiteFacts) for (text,) in connection.rows("SELECT facts FROM site")]
    orders = {held.grid: held.order for held in facts}
    if figures.grid not in orders:
        known = ", ".join(sorted(grid for grid in orders if ":" not in grid)) or "none"
        raise Failure(f"--grid {figures.grid!r}: no zone in this database is on it; there are {known}")
    order = orders[figures.grid]
    if order and figures.source not in order:
        raise Failure(
            f"--source {figures.source!r}: grid {figures.grid} has {', '.join(order)}; name the one that is corrected"
        )


def _info(connection: Connection) -> dict[str, Any]:
    def one(sql: str) -> Any:
        return connection.rows(sql)[0][0]

    readings = connection.rows(
        "SELECT grid, kind, source, standing, COUNT(*), MIN(start_s), MAX(end_s) FROM reading "
        "GROUP BY grid, kind, source, standing ORDER BY grid, kind, source, standing"
    )
    names = ("grid", "kind", "source", "standing", "readings", "from_s", "to_s")
    return {
        "zones": one("SELECT COUNT(*) FROM zone"),
        "nodes": one("SELECT COUNT(*) FROM node"),
        "tasks": one("SELECT COUNT(*) FROM task"),
        "records": one("SELECT COUNT(*) FROM ledger"),
        "first_ms": one("SELECT MIN(first_ms) FROM node"),
        "last_ms": one("SELECT MAX(last_ms) FROM node"),
        "hours": one("SELECT COUNT(*) FROM hour"),
        "days": one("SELECT COUNT(*) FROM day_state"),
        "stale_days": one("SELECT COUNT(*) FROM day_state WHERE stale = 1"),
        "readings": [dict(zip(names, row, strict=True)) for row in readings],
        "shards": [one._asdict() for one in shards(connection)],
    }


def _adding(tell: Callable[[float], None]) -> Callable[[str, int], None]:
    """Return what adds up the rows of all tables, each of which is counted from its own beginning."""
    rows: dict[str, int] = {}

    def told(table: str, row: int) -> None:
        rows[table] = row
        tell(sum(rows.values()))

    return told


def _day(wall_ms: int | None) -> str:
    return "-" if wall_ms is None else f"{datetime.fromtimestamp(wall_ms / 1e3, UTC):%Y-%m-%d %H:%M} UTC"
