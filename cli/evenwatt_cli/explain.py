"""``evenwatt explain``: why a node, zone or job is treated as it is, or was at a moment; the collector knows."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

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
    url = settings.collector_url
    asked = {} if at is None else {"at": repr(moment(at, time.time()))}
    try:
        answer = _ask(f"{url}/api/v1/explain/{quote(name)}", url, asked)
    except _UnknownError as unknown:
        answer = _job(name, Client(settings), unknown, at)
    answer = plain(answer)
    print(json.dumps(answer) if as_json else "\n".join(answer["lines"]))
    return Exit.OK


def _job(name: str, client: Client, unknown: _UnknownError, at: str | None) -> dict[str, Any]:
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


class _UnknownError(Failure):
    """The collector knows nothing of that name."""


def _ask(address: str, url: str, parameters: dict[str, str]) -> dict[str, Any]:
    try:
        answer = httpx.get(address, params=parameters, timeout=3.0)
        said: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise Failure(
            f"{url} cannot say why: {str(error) or type(error).__name__}; start the collector, or set collector_url "
            f"in --config",
            exit_code=Exit.FAILURE,
        ) from None
    if answer.is_error:
        kind = _UnknownError if answer.status_code == httpx.codes.NOT_FOUND else Failure
        raise kind(str(said.get("error", f"{url} answered {answer.status_code}")))
    return said
