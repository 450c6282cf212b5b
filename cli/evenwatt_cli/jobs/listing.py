"""``evenwatt jobs``: jobs in a table, or one of them in full."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from evenwatt_cli.exits import Exit
from evenwatt_cli.jobs.client import Client
from evenwatt_cli.jobs.detail import detail
from evenwatt_cli.jobs.words import NO_SERVICES, expected_g, shortened, when, where
from evenwatt_cli.reporting.words import mass
from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.model import JobRecord, JobState
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rich.console import RenderableType

_EVERY_S: Final = 2.0
_MOST_NAME: Final = 18
_LEAST_NAME: Final = 11
_MOST_WHERE: Final = 12
_GAP: Final = 2
_LESS_WANTED: Final = ("CO2e", "WHERE", "DONE")
"""Columns that are left out where there is no room, in this order."""
_BENDING: Final = frozenset({"NAME", "WHEN"})
_FIGURES: Final = frozenset({"DONE", "CO2e"})
STYLES: Final = {
    JobState.WAITING: "", JobState.STARTING: "yellow", JobState.RUNNING: "green", JobState.STOPPING: "yellow",
    JobState.DONE: "dim", JobState.FAILED: "red", JobState.CANCELLED: "dim",
}  # fmt: skip


_NEXT: Final = "evenwatt jobs NAME-OR-ID shows one, evenwatt explain NAME-OR-ID says why"


@dataclass(frozen=True, slots=True)
class Look:
    """What a person wants to see."""

    job: str | None
    everything: bool
    states: tuple[str, ...]
    workload: str | None
    limit: int
    watch: bool
    logs: bool
    as_json: bool
    config: Path | None


def show_jobs(look: Look) -> Exit:
    """Print them; DEGRADED if one is late, or the one that is shown has failed.

    Raises:
        Failure: the call makes no sense, or the collector cannot be asked.
    """
    if look.logs and look.job is None:
        raise Failure("--logs: name the job whose log is wanted")
    if look.watch and (look.as_json or look.logs):
        raise Failure("--watch shows a table: leave --json and --logs out")
    client = Client.of(look.config)
    if look.logs:
        return _logs(client, look)
    if look.watch:
        screen = Console(highlight=False, markup=False)
        return _watch(screen, lambda: _view(client, look, screen.width)[1])
    console = Console(highlight=False, markup=False, soft_wrap=False)
    records, view = _view(client, look, console.width)
    if look.as_json:
        print(msgspec.json.encode(records[0] if look.job else {"jobs": records}).decode())
    else:
        console.print(view)
        if records and look.job is None and console.is_terminal:
            console.print(_NEXT, style="dim")
    failed = look.job is not None and records[0].state is JobState.FAILED
    return Exit.DEGRADED if failed or any(record.open and record.late for record in records) else Exit.OK


def _logs(client: Client, look: Look) -> Exit:
    record = client.record(look.job or "")
    if look.as_json:
        print(client.text(f"jobs/{record.id}/logs", "application/json"))
        return Exit.OK
    text = client.text(f"jobs/{record.id}/logs")
    print(text, end="")
    if not text:
        print(f"evenwatt: nothing is kept of a log of {record.spec.name!r}: {_silent(record)}", file=sys.stderr)
    return Exit.OK


def _silent(record: JobRecord) -> str:
    if record.spec.service is not None:
        return "a service is not started here, only told its variant; what runs it has its log"
    if record.spec.external:
        return f"{record.spec.external} runs it, and has its log"
    if not record.runs:
        return "it has never been started" + (f" ({record.why})" if record.why else "")
    if record.open:
        return "its run has written nothing yet, or the node has not sent it yet"
    return "its runs wrote nothing, or it was longer ago than logs are kept"


def _view(client: Client, look: Look, width: int) -> tuple[list[JobRecord], RenderableType]:
    if look.job is not None:
        record = client.record(look.job)
        return [record], detail(record, time.time(), _serving(client, [record]).get(record.id))
    states = look.states or (() if look.everything else ("open",))
    asked = [("state", state) for state in states]
    asked += [("workload", look.workload)] if look.workload is not None else []
    records = client.records(asked, look.limit)
    return records, table(records, time.time(), width, open_only=states == ("open",), serving=_serving(client, records))


def _serving(client: Client, records: list[JobRecord]) -> dict[str, str]:
    running = [one for one in records if one.spec.service is not None and one.state is JobState.RUNNING]
    return client.serving([(one.id, one.spec.name) for one in running])


def _watch(screen: Console, view: Callable[[], RenderableType]) -> Exit:
    with Live(view(), console=screen, auto_refresh=False, transient=False) as live:
        try:
            while True:
                time.sleep(_EVERY_S)
                live.update(view(), refresh=True)
        except KeyboardInterrupt:
            return Exit.OK


def table(
    records: list[JobRecord], now_s: float, width: int, *, open_only: bool, serving: Mapping[str, str] = NO_SERVICES
) -> RenderableType:
    """Return jobs as a table; in a narrow terminal columns are left out instead of cutting all of them."""
    if not records:
        what = "No job is open." if open_only else "No job fits."
        return Text(f"{what} Submit one with `evenwatt submit`; --all shows those that have ended.")
    rows = [_row(record, now_s, serving) for record in records]
    columns = _fitting(rows, width)
    if not _fits(rows, columns, width):
        rows = [row | {"WHEN": row["WHEN"].partition(", done in ")[0]} for row in rows]
        left = width - _LEAST_NAME - sum(_wide(rows, column) + _GAP for column in columns if column not in _BENDING)
        rows = [row | {"WHEN": shortened(row["WHEN"], max(_LEAST_NAME, left - _GAP))} for row in rows]
    room = width - sum(_wide(rows, column) + _GAP for column in columns if column != "NAME")
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1), expand=False)
    for column in columns:
        made.add_column(column, no_wrap=True, overflow="ellipsis", justify="right" if column in _FIGURES else "left")
    for record, row in zip(records, rows, strict=True):
        late = record.open and record.late
        styles = {"STATE": STYLES[record.state], "WHEN": "red" if late else ""}
        cells = row | {"NAME": shortened(row["NAME"], max(_LEAST_NAME, room))}
        made.add_row(*(Text(cells[column], style=styles.get(column, "")) for column in columns))
    return made


def _row(record: JobRecord, now_s: float, serving: Mapping[str, str]) -> dict[str, str]:
    service = record.spec.service is not None
    late = record.open and record.late and bool(record.pieces or record.runs)
    return {
        "ID": record.id[:8],
        "NAME": shortened(record.spec.name, _MOST_NAME),
        "STATE": record.state.value,
        "DONE": "" if service else f"{100 * progress.done_share(record):.0f} %",
        "WHERE": "" if service and record.open else shortened(where(record), _MOST_WHERE),
        "WHEN": ("late, " if late else "") + when(record, now_s, serving.get(record.id)),
        "CO2e": "" if service and record.open else mass(expected_g(record)),
    }


def _fitting(rows: list[dict[str, str]], width: int) -> list[str]:
    """Return the columns that there is room for."""
    columns = list(rows[0])
    for column in _LESS_WANTED:
        if _fits(rows, columns, width):
            break
        columns.remove(column)
    return columns


def _fits(rows: list[dict[str, str]], columns: list[str], width: int) -> bool:
    names = min(_wide(rows, "NAME"), _LEAST_NAME)
    return names + sum(_wide(rows, one) + _GAP for one in columns if one != "NAME") <= width


def _wide(rows: list[dict[str, str]], column: str) -> int:
    return max(len(column), *(cell_len(row[column]) for row in rows))
