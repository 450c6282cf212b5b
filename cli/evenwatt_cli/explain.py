"""``evenwatt explain``: why a node, zone or job is treated as it is, or was at a moment; the collector knows."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from evenwatt_cli import asking
from evenwatt_cli.exits import Exit
from evenwatt_cli.jobs.client import Client, UnknownJobError
from evenwatt_cli.moments import moment
from evenwatt_cli.operator_settings import load
from evenwatt_cli.plain import plain
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path


def explain(name: str, *, at: str | None, as_json: bool, config: Path | None) -> Exit:
    """Print the collector's answer about a node or zone, else about a job: by id, the beginning of one, or name.

    Raises:
        Failure: the collector cannot be asked, or knows no such name.
    """
    settings = load(config)
    asked = {} if at is None else {"at": repr(moment(at, time.time()))}
    try:
        answer = asking.ask(settings, f"/api/v1/explain/{quote(name, safe='')}", asked)
    except asking.UnknownNameError as unknown:
        answer = _job(name, Client(settings), unknown, at)
    answer = plain(answer)
    print(json.dumps(answer) if as_json else "\n".join(answer["lines"]))
    return Exit.OK


def _job(name: str, client: Client, unknown: asking.UnknownNameError, at: str | None) -> dict[str, Any]:
    """Return a job's reasons.

    Raises:
        Failure: there is no such job either, or several, or a moment was asked for.
    """
    try:
        record = client.record(name)
    except UnknownJobError:
        raise Failure(
            f"{unknown}; nor is a job called so, by its name, its id or the beginning of its id: "
            f"`evenwatt jobs --all` lists them"
        ) from None
    if at is not None:
        raise Failure(f"--at: {name!r} is a job, and all its decisions are told at once; leave --at out")
    answer: dict[str, Any] = client.get(f"jobs/{record.id}/explain", dict[str, Any])
    return answer
