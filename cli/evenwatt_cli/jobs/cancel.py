"""``evenwatt cancel``: gives jobs up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from evenwatt_cli.exits import Exit
from evenwatt_cli.jobs.client import Client, is_id
from evenwatt_cli.jobs.mqtt import send_cancels
from evenwatt_collector.jobs.model import JobRecord, JobState
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path


def cancel_jobs(names: list[str], *, via: str, as_json: bool, config: Path | None) -> Exit:
    """Cancel jobs, and say how each of them stands; REJECTED if one had ended already.

    Raises:
        Failure: there is no such job, or the collector cannot be asked.
    """
    if via == "mqtt":
        return send_cancels(_ids(names, config), config=config, as_json=as_json)
    if via != "http":
        raise Failure(f"--via {via!r}: expected http or mqtt")
    client = Client.of(config)
    found = [client.record(name) for name in names]  # all are known before the first is cancelled
    over = {record.id for record in found if not record.open}
    records = [client.delete(f"jobs/{record.id}", JobRecord) for record in found]
    if as_json:
        print(msgspec.json.encode({"jobs": records}).decode())
    else:
        for record in records:
            print(f"{record.id}  {record.spec.name}: {_words(record, over=record.id in over)}")
    gone = all(record.open or record.state is JobState.CANCELLED for record in records)
    return Exit.OK if gone and not over else Exit.REJECTED


def _ids(names: list[str], config: Path | None) -> list[str]:
    """Return ids, looking up over HTTP what is none."""
    ids = []
    for name in names:
        try:
            ids.append(name if is_id(name) else Client.of(config).record(name).id)
        except Failure as failure:
            if failure.exit_code not in {Exit.FAILURE, Exit.TIMEOUT}:
                raise
            raise Failure(
                f"{name!r} is no id, and names are looked up over HTTP: {failure}; or name jobs by all 12 digits, as "
                f"`evenwatt jobs --json` shows them",
                exit_code=failure.exit_code,
            ) from None
    return ids


def _words(record: JobRecord, *, over: bool) -> str:
    if record.open:
        return "is being stopped"
    return "was cancelled already" if over and record.state is JobState.CANCELLED else _WORDS[record.state]


_WORDS = {
    JobState.CANCELLED: "cancelled",
    JobState.DONE: "was done already; nothing to cancel",
    JobState.FAILED: "had failed already; nothing to cancel",
}
