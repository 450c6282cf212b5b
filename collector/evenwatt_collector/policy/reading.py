"""From the text of a policy to a checked document, or to everything that is wrong with it at once. Pure.

msgspec stops at the first error and does not number array elements, so this goes through the tables itself and lets
msgspec judge one value at a time.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from datetime import date, datetime, time
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from evenwatt_collector.policy.lines import Lines
from evenwatt_collector.policy.problems import Path, Problem
from evenwatt_collector.policy.schema import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_LINE: Final = re.compile(r"^(?P<what>.*?) \(at line (?P<line>\d+), column (?P<column>\d+)\)$", re.DOTALL)
_LONGEST: Final = 60
_TYPES: Final = {
    "float | null": "a number", "float": "a number", "int | null": "a whole number", "int": "a whole number",
    "bool | null": "true or false", "bool": "true or false", "str": "text in quotes", "array": "a list in brackets",
}  # fmt: skip
_EXPECTED: Final[dict[str, str]] = {
    "from": 'a time of day in quotes such as "07:30"',
    "to": 'a time of day in quotes such as "19:00" or "24:00"',
    "start": "a moment with its offset from UTC, without quotes, such as 2026-01-15T17:00:00+01:00",
    "end": "a moment with its offset from UTC, without quotes, such as 2026-01-15T19:00:00+01:00",
    "name": "a name in quotes; a zone's has 1 to 63 of a-z, 0-9 and '-', and no '-' at its ends",
    "parent": "the name of another zone",
    "zone": "the name of a zone",
    "nodes": 'a list of globs such as ["gpu-*"]',
    "priority": "a whole number from 0 (gives way first) to 9 (last)",
    "margin": "a fraction from 0.02 to 0.5",
    "on_lost": '"fallback", "hold" or "restore"',
    "days": 'a list of "mon", "tue", "wed", "thu", "fri", "sat", "sun"',
}


def read(text: str) -> tuple[Document | None, list[Problem], Lines]:
    """Return the document, or None with what is wrong; and where its keys stand."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [_syntax(str(error), text)], Lines("")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or lists without end
        return None, [Problem((), f"not TOML: {error}; a policy has no such value")], Lines("")
    lines = Lines(text)
    problems = located(list(_table(Document, raw, ())), lines)
    return (None if problems else msgspec.convert(raw, Document)), problems, lines


def located(problems: list[Problem], lines: Lines) -> list[Problem]:
    """Return the problems with their lines."""
    return [Problem(p.path, p.text, p.severity, lines.of(p.path)) for p in problems]


def _syntax(message: str, text: str) -> Problem:
    found = _AT_LINE.match(message)
    if found is None:  # "at end of document"
        return Problem((), f"not TOML: {message}; complete the last line", line=text.count("\n") + 1)
    return Problem((), f"not TOML at column {found['column']}: {found['what']}; correct it", line=int(found["line"]))


def _table(kind: type[Struct], raw: object, path: Path) -> Iterator[Problem]:
    if not isinstance(raw, dict):
        yield Problem(path, f"found {_shown(raw)}, expected a table")
        return
    known = _fields(kind)
    for key in sorted(raw.keys() - known.keys()):
        near = difflib.get_close_matches(key, known, n=1)
        fix = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
        yield Problem((*path, key), f"unknown key; {fix}")
    for key, expected in known.items():
        if key in raw:
            yield from _value(expected.type, raw[key], (*path, key))
        elif expected.required:
            yield Problem(
                (*path, key), f"missing; add {key} = ... with {_EXPECTED.get(key, 'a number of watts or grams')}"
            )


@cache
def _fields(kind: type[Struct]) -> dict[str, FieldInfo]:
    return {known.encode_name: known for known in fields(kind)}


def _value(kind: Any, raw: object, path: Path) -> Iterator[Problem]:
    table, is_array = _struct_in(kind)
    if table is None:
        yield from _leaf(kind, raw, path)
    elif not is_array:
        yield from _table(table, raw, path)
    elif isinstance(raw, list):
        for number, item in enumerate(raw):
            yield from _table(table, item, (*path, number))
    else:
        header = ".".join(str(part) for part in path if isinstance(part, str))
        yield Problem(path, f"found {_shown(raw)}, expected an array of tables; write [[{header}]]")


def _leaf(kind: Any, raw: object, path: Path) -> Iterator[Problem]:
    try:
        value = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at ")
        index = re.findall(r"\[(\d+)\]", at)
        inner: Path = (*path, *map(int, index))
        expected = _EXPECTED.get(str(path[-1]), _plain(what))
        found = raw[int(index[0])] if isinstance(raw, list) and index else raw
        yield Problem(inner, f"found {_shown(found)}, expected {expected}")
    else:
        if isinstance(value, datetime) and value.tzinfo is None:
            yield Problem(path, f"found {_shown(raw)}, expected {_EXPECTED['start']}")
        elif isinstance(value, float) and not isfinite(value):
            yield Problem(path, f"found {raw}, expected a finite number")


def _struct_in(kind: Any) -> tuple[type[Struct] | None, bool]:
    """Return the table that a type holds, and whether it holds an array of them."""
    for inner in (kind, *get_args(kind)):
        if isinstance(inner, type) and issubclass(inner, Struct):
            return inner, get_origin(kind) is tuple
    return None, False


def _plain(what: str) -> str:
    """Return msgspec's words without its type names: ``Expected `float` >= 0.0``."""
    text = what.removeprefix("Expected ")
    for type_name, words in _TYPES.items():
        text = text.replace(f"`{type_name}`", words)
    return text.split(", got ")[0].replace("`", "")


def _shown(raw: object) -> str:
    """Return a value as it stands in the file, shortened."""
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, datetime | date | time):
        return raw.isoformat()
    text = repr(raw).replace("'", '"')
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
