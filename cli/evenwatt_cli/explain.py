"""``evenwatt explain``: why a node, zone or job is treated as it is, or was at a moment; the collector knows."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx

from evenwatt_cli.exits import Exit
from evenwatt_cli.moments import moment
from evenwatt_cli.operator_settings import load
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path


_JOB: Final = re.compile(r"[0-9a-f]{12}")


def explain(name: str, *, at: str | None, as_json: bool, config: Path | None) -> Exit:
    """Print the collector's answer.

    Raises:
        Failure: the collector cannot be asked, or knows no such name.
    """
    url = load(config).collector_url
    asked = {} if at is None else {"at": repr(moment(at, time.time()))}
    answer = _job(name, url) if at is None and _JOB.fullmatch(name) else None
    if answer is None:
        answer = _ask(f"{url}/api/v1/explain/{quote(name)}", url, asked)
    print(json.dumps(answer) if as_json else "\n".join(answer["lines"]))
    return Exit.OK


def _job(name: str, url: str) -> dict[str, Any] | None:
    """Return a job's reasons; None if there is no such job: a node may have such a name too."""
    try:
        return _ask(f"{url}/api/v1/jobs/{name}/explain", url, {})
    except _UnknownError:
        return None


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
