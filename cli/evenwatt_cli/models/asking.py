"""Asks the collector about models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from evenwatt_cli.exits import Exit
from evenwatt_cli.operator_settings import load
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TIMEOUT_S = 120.0
"""What tasks cost is read from the ledger at the first question."""


def ask(path: str, parameters: Sequence[tuple[str, str | float | None]], config: Path | None) -> Any:
    """Return the collector's answer to ``GET /api/v1/PATH``; parameters that are None are left out.

    Raises:
        Failure: it cannot be asked, or says what is wrong with the question.
    """
    url = load(config).collector_url
    said = tuple((name, str(value)) for name, value in parameters if value is not None)
    try:
        answer = httpx.get(f"{url}/api/v1/{path}", params=said, timeout=_TIMEOUT_S)
        document = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise Failure(
            f"{url} gives no answer: {str(error) or type(error).__name__}; start the collector, or set collector_url "
            "in --config",
            exit_code=Exit.FAILURE,
        ) from None
    if answer.is_error:
        why = document.get("error") if isinstance(document, dict) else None
        code = Exit.FAILURE if answer.is_server_error else Exit.USAGE
        raise Failure(str(why or f"{url} answered {answer.status_code}"), exit_code=code)
    return document
