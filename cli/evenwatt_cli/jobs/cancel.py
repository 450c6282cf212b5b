"""``evenwatt cancel``: gives jobs up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from evenwatt_cli.exits import Exit
from evenwatt_cli.jobs.client import Client
from evenwatt_cli.jobs.mqtt import send_cancels
from evenwatt_collector.jobs.model import JobRecord, JobState
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path


def cancel_jobs(names: list[str], *, via: str, as_json: bool, config: Path | None) -> Exit:
    """Cancel jobs, and say how each of them stands; REJECTED if one had ended otherwise.

    Raises:
        Failure: there is no such job, or the collector cannot be asked.
    """
    if via == "mqtt":
        return send_cancels(names, config=config, as_json=as_json)
    if via != "http":
        raise Failure(f"--via {via!r}: expected http or mqtt")
    client = Client.of(config)
    ids = [client.record(name).id for name in names]  # all are known before the first is cancelled
    records = [client.delete(f"jobs/{id_}", JobRecord) for id_ in ids]
    if as_json:
        print(msgspec.json.encode({"jobs": records}).decode())
    else:
        for record in records:
            word = "is being stopped" if record.open else _WORDS.get(record.state, record.state.value)
            print(f"{record.id}  {record.spec.name}: {word}")
    gone = all(record.open or record.state is JobState.CANCELLED for record in records)
    return Exit.OK if gone else Exit.REJECTED


_WORDS = {
    JobState.CANCELLED: "cancelled",
    JobState.DONE: "was done already; nothing to cancel",
    JobState.FAILED: "had failed already; nothing to cancel",
}
