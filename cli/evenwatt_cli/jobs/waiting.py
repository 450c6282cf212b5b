"""Waits for jobs to end, and says on standard error how they stand."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

import msgspec

from evenwatt_cli.exits import Exit
from evenwatt_cli.jobs.words import ended, when, where
from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.model import JobRecord, JobState
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from evenwatt_cli.jobs.client import Client

_EVERY_S: Final = 2.0
_PATIENCE_S: Final = 300.0
"""The collector may be away for so long; a job does not depend on it being heard."""


def wait_for(client: Client, ids: list[str], *, as_json: bool) -> Exit:
    """Wait until all have ended; FAILURE unless all are done.

    Raises:
        Failure: the collector has been away for too long.
    """
    told: dict[str, str] = {}
    answered_s = time.monotonic()
    what = "it has" if len(ids) == 1 else f"all {len(ids)} have"
    print(f"waiting until {what} ended; Ctrl-C stops the waiting, not the job{'s'[: len(ids) - 1]}", file=sys.stderr)
    while True:
        try:
            records = [client.get(f"jobs/{id_}", JobRecord) for id_ in ids]
            answered_s = time.monotonic()
        except Failure as failure:
            if failure.exit_code not in {Exit.FAILURE, Exit.TIMEOUT} or time.monotonic() - answered_s > _PATIENCE_S:
                raise
            time.sleep(_EVERY_S)
            continue
        _tell(records, told)
        if not any(record.open for record in records):
            break
        time.sleep(_EVERY_S)
    if as_json:
        print(msgspec.json.encode({"jobs": records}).decode())
    else:
        print("\n".join(ended(record) for record in records))
    return Exit.OK if all(record.state is JobState.DONE for record in records) else Exit.FAILURE


def _tell(records: list[JobRecord], told: dict[str, str]) -> None:
    """Say what has changed: each state once, and on a terminal the progress as well."""
    live = sys.stderr.isatty()
    for record in records:
        done = f" {100 * progress.done_share(record):.0f} %" if record.length_s and live else ""
        line = f"{record.spec.name}: {record.state.value}{done}"
        if told.get(record.id) != line:
            told[record.id] = line
            detail = f" on {where(record)}, {when(record, time.time())}" if record.open else ""
            print(f"{line}{detail}", file=sys.stderr)
