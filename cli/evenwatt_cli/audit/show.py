"""``evenwatt audit show``: the entries of a log, for people or as they stand."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from evenwatt_cli.audit.reading import read_logs
from evenwatt_cli.exits import Exit
from evenwatt_cli.moments import clock, moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evenwatt_daemon.audit import Entry

_HIDDEN: Final = frozenset({"boot", "sha256", "id", "audit"})
"""What nobody reads; ``--json`` has it."""


def show(paths: Sequence[Path], *, node: str | None, since: str | None, kind: str | None, as_json: bool) -> Exit:
    """Print entries, the oldest first; a log with faults is shown as far as it can be read, with exit code 4.

    Raises:
        Failure: there is no log, or ``since`` is no moment.
    """
    since_ms = moment(since, time.time(), "--since") * 1000 if since else 0.0
    logs = read_logs(paths)
    entries = sorted((entry for log in logs for entry in log.entries), key=lambda entry: (entry.at_ms, entry.head.n))
    for entry in entries:
        if entry.at_ms < since_ms or (kind and entry.kind != kind) or (node and entry.facts.get("node", node) != node):
            continue
        print(json.dumps(_document(entry)) if as_json else _line(entry))
    return Exit.REJECTED if any(log.walk.faults for log in logs) else Exit.OK


def _document(entry: Entry) -> dict[str, Any]:
    return {"n": entry.head.n, "kind": entry.kind, "at_ms": entry.at_ms, **entry.facts, "hash": entry.head.hash}


def _line(entry: Entry) -> str:
    facts = " ".join(
        f"{name}={_word(value)}" for name, value in entry.facts.items() if name not in _HIDDEN and value is not None
    )
    return f"{clock(entry.at_ms / 1000)}  {entry.head.n:>6}  {entry.kind:<10} {facts}".rstrip()


def _word(value: object) -> str:
    """Print a value so that no character of it acts on a terminal."""
    if isinstance(value, float):
        return f"{value:g}"
    text = value if isinstance(value, str) else json.dumps(value)
    plain = text.isascii() and text.isprintable() and " " not in text and text != ""
    return text if plain else json.dumps(text)
