"""``evenwatt jobs``: jobs in a table, or one of them in full."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from evenwatt_cli.exits import Exit
from evenwatt_cli.jobs.client import Client
from evenwatt_cli.jobs.detail import detail
from evenwatt_cli.jobs.words import expected_g, when, where
from evenwatt_cli.reporting.words import mass
from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.model import JobRecord, JobState
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import RenderableType

_EVERY_S: Final = 2.0
STYLES: Final = {
    JobState.WAITING: "", JobState.STARTING: "yellow", JobState.RUNNING: "green", JobState.STOPPING: "yellow",
    JobState.DONE: "dim", JobState.FAILED: "red", JobState.CANCELLED: "dim",
}  # fmt: skip


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
        record = client.record(look.job or "")
        print(client.text(f"jobs/{record.id}/logs"), end="")
        return Exit.OK
    if look.watch:
        return _watch(lambda: _view(client, look)[1])
    records, view = _view(client, look)
    if look.as_json:
        print(msgspec.json.encode(records[0] if look.job else {"jobs": records}).decode())
    else:
        Console(highlight=False, soft_wrap=False).print(view)
    failed = look.job is not None and records[0].state is JobState.FAILED
    return Exit.DEGRADED if failed or any(record.open and record.late for record in records) else Exit.OK


def _view(client: Client, look: Look) -> tuple[list[JobRecord], RenderableType]:
    if look.job is not None:
        record = client.record(look.job)
        return [record], detail(record, time.time())
    states = look.states or (() if look.everything else ("open",))
    asked = [("state", state) for state in states]
    asked += [("workload", look.workload)] if look.workload is not None else []
    records = client.records(asked, look.limit)
    return records, table(records, time.time(), open_only=states == ("open",))


def _watch(view: Callable[[], RenderableType]) -> Exit:
    with Live(view(), console=Console(highlight=False), auto_refresh=False, transient=False) as live:
        try:
            while True:
                time.sleep(_EVERY_S)
                live.update(view(), refresh=True)
        except KeyboardInterrupt:
            return Exit.OK


def table(records: list[JobRecord], now_s: float, *, open_only: bool) -> RenderableType:
    """Return jobs as a table that fits 60 columns and uses 80."""
    if not records:
        what = "No job is open." if open_only else "No job fits."
        return Text(f"{what} Submit one with `evenwatt submit`; --all shows those that have ended.")
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1), expand=False)
    made.add_column("ID", no_wrap=True)
    made.add_column("NAME", overflow="ellipsis", no_wrap=True, max_width=18)
    made.add_column("STATE", no_wrap=True)
    made.add_column("DONE", justify="right", no_wrap=True)
    made.add_column("WHERE", overflow="ellipsis", no_wrap=True, max_width=12)
    made.add_column("WHEN", overflow="ellipsis", no_wrap=True)
    made.add_column("CO2e", justify="right", no_wrap=True)
    for record in records:
        late = record.open and record.late and bool(record.pieces or record.runs)
        made.add_row(
            record.id[:8],
            record.spec.name,
            Text(record.state.value, style=STYLES[record.state]),
            f"{100 * progress.done_share(record):.0f} %",
            where(record),
            Text(when(record, now_s) + (" (late)" if late else ""), style="red" if late else ""),
            mass(expected_g(record)),
        )
    return made
