"""``evenwatt score``: asks, prints, and freezes baselines."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import msgspec

from evenwatt_cli.exits import Exit
from evenwatt_cli.score.asking import ask, made
from evenwatt_cli.score.beside import collector_database
from evenwatt_collector.score.answer import from_document, to_document
from evenwatt_collector.score.desk import open_and_freeze, open_and_score

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_cli.score.asking import Asked


def show_scores(asked: Asked, *, as_json: bool, database: str | None, config: Path | None) -> Exit:
    """Print scores.

    Returns:
        OK; DEGRADED where what was asked for by name, or the fleet, has no score or no grade, or where nothing has one.

    Raises:
        Failure: the call is wrong, the collector or database cannot be read, or there is no such work.
    """
    query, timezone = asked.query(time.time())
    if database is not None:
        found = open_and_score(database, query, made(config))
    else:
        found = from_document(ask("/api/v1/score", query.parameters(), config))
    if as_json:
        print(json.dumps(to_document(found)))
    else:
        from evenwatt_cli.score.score_text import print_scores

        print_scores(found, timezone)
    one = query.name is not None or query.subject == "fleet"
    missing = any(score.grade is None for score in found.scores) if one else True
    if one or not any(score.sci for score in found.scores):
        return Exit.DEGRADED if missing or not found.scores else Exit.OK
    return Exit.OK


def freeze_baseline(
    asked: Asked, pattern: str | None, *, as_json: bool, database: str | None, config: Path | None, anyway: bool = False
) -> Exit:
    """Freeze a baseline and say what it is.

    Raises:
        Failure: the call is wrong, there is nothing to freeze, or the database cannot be written.
    """
    query, timezone = asked.query(time.time(), named=False)
    name = "fleet" if asked.fleet else asked.name or ""
    where = database or collector_database(name)
    found = open_and_freeze(where, query, name, made(config), pattern, anyway=anyway)
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        from evenwatt_cli.score.score_text import print_baseline

        print_baseline(found, timezone)
    return Exit.OK
