"""Names for shell completion, asked of the collector while a person waits for Tab: in a moment, or none at all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import typer  # noqa: TC002  (typer reads annotations at run time)

_TIMEOUT_S: Final = 1.0
_MOST: Final = 200
_WORD: Final = re.compile(r"[\w.:@%+/=,-]+")


def node(context: typer.Context, incomplete: str) -> list[str]:
    """Return names of nodes."""
    return _begin(incomplete, (row["node"] for row in _rows(context, "nodes")))


def zone(context: typer.Context, incomplete: str) -> list[str]:
    """Return names of zones."""
    return _begin(incomplete, (row["zone"] for row in _rows(context, "zones")))


def place(context: typer.Context, incomplete: str) -> list[str]:
    """Return names of zones and nodes."""
    return zone(context, incomplete) + node(context, incomplete)


def job(context: typer.Context, incomplete: str) -> list[str]:
    """Return names of the latest jobs, and the ids of those that are meant by them."""
    rows = _rows(context, "jobs")
    return _begin(incomplete, [str(row["name"]) for row in rows] + ([row["id"] for row in rows] if incomplete else []))


def place_or_job(context: typer.Context, incomplete: str) -> list[str]:
    """Return names of zones, nodes and jobs."""
    return place(context, incomplete) + job(context, incomplete)


def watched(context: typer.Context, incomplete: str) -> list[str]:
    """Return what ``watch`` can follow."""
    kinds = ("status", "events", "alerts", "decisions", "nodes", "workloads", "jobs")
    return _begin(incomplete, kinds) + place(context, incomplete)


def _begin(incomplete: str, names: Any) -> list[str]:
    """Return those that begin so: only what a shell takes as one word."""
    found = (str(name) for name in names)
    return sorted({name for name in found if name.startswith(incomplete) and _WORD.fullmatch(name)})[:_MOST]


def _rows(context: typer.Context, kind: str) -> list[dict[str, Any]]:
    """Return rows of the status document; nothing where it cannot be had: a shell has no place for an error."""
    try:
        from evenwatt_cli.asking import ask
        from evenwatt_cli.operator_settings import load
        from evenwatt_cli.plain import plain

        named = context.params.get("config")
        document = ask(load(Path(named) if named else None), "/api/v1/status", timeout_s=_TIMEOUT_S)
        rows: list[dict[str, Any]] = plain(document.get(kind, []))
    except Exception:  # noqa: BLE001
        return []
    return rows
