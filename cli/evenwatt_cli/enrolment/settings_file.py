"""Changing a few keys of a TOML file without touching what else is in it, comments included. Pure.

Every change is read back: where the result does not say exactly what was there plus what was asked for, there is none.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = str | int
_TABLE: Final = re.compile(r"^\s*\[")


class ChangeError(ValueError):
    """A file that is written in a way that this cannot change safely."""


def changed(text: str, values: Mapping[tuple[str, str], Value]) -> str:
    """Return the text with keys of tables set; the table ``""`` is the top.

    Raises:
        ChangeError: it is not TOML, or is written in a way that this cannot change safely.
    """
    try:
        wanted: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, a number of thousands of digits, or lists without end
        raise ChangeError(f"not TOML: {error}") from None
    lines = text.splitlines()
    beside: dict[str, str] = {}
    for (table, key), value in values.items():
        _set(lines, table, key, value, beside.get(table))
        beside[table] = key
        if table and not isinstance(wanted.setdefault(table, {}), dict):
            raise ChangeError(f"{table} is not a table")
        (wanted[table] if table else wanted)[key] = value
    result = "\n".join(lines) + "\n"
    try:
        found = tomllib.loads(result)
    except tomllib.TOMLDecodeError:
        found = {}
    if found != wanted:
        raise ChangeError("its tables are written in a way that cannot be changed safely")
    return result


def _set(lines: list[str], table: str, key: str, value: Value, beside: str | None) -> None:
    """Set a key where it stands, else where it stands commented out, else below ``beside``, else first of its table."""
    start, end = _span(lines, table)
    row = f"{key} = {json.dumps(value)}"
    for kind in (rf"\s*{re.escape(key)}\s*=", rf"#\s*{re.escape(key)}\s*="):
        for at in range(start, end):
            if re.match(kind, lines[at]):
                lines[at] = row
                return
    if beside is not None:
        start = next(at + 1 for at in range(start, end) if re.match(rf"\s*{re.escape(beside)}\s*=", lines[at]))
    elif not table:
        start = next((at for at in range(start, end) if not lines[at].startswith("#")), end)
    lines.insert(start, row)


def _span(lines: list[str], table: str) -> tuple[int, int]:
    """Return the lines of a table, without its head; one that is missing is added."""
    start = 0
    if table:
        head = re.compile(rf"^\s*\[\s*{re.escape(table)}\s*\]\s*(#.*)?$")
        at = next((i for i, line in enumerate(lines) if head.match(line)), None)
        if at is None:
            lines += ["", f"[{table}]"]
            at = len(lines) - 1
        start = at + 1
    end = next((i for i in range(start, len(lines)) if _TABLE.match(lines[i])), len(lines))
    return start, end
