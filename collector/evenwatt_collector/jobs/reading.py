"""From TOML or JSON to jobs, or to everything that is wrong with the text at once. Pure.

A text is one job, or ``jobs``, a list of several. Each may bear an ``id`` of 12 hexadecimal digits that its submitter
has chosen, so that sending it twice makes one job; within a text ``after`` may name jobs instead of ids.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from evenwatt_collector.jobs.spec import JobSpec
from evenwatt_collector.jobs.texts import MOST_BYTES, Form, UnreadableError, parsed
from evenwatt_collector.policy.lines import Lines
from evenwatt_collector.policy.problems import Path, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_JOBS: Final = 1_000
"""In one text."""

_ID: Final = re.compile(r"[0-9a-f]{12}")
_LONGEST: Final = 60
_TYPES: Final = {
    "float | null": "a number", "float": "a number", "int | null": "a whole number", "int": "a whole number",
    "bool": "true or false", "str | null": "text in quotes", "str": "text in quotes", "array": "a list in brackets",
    "object | null": "a table", "object": "a table",
}  # fmt: skip
_IDENTIFIER: Final = "1 to 63 of a-z, 0-9 and '-', and no '-' at its ends"
_EXPECTED: Final[dict[str, str]] = {
    "length": 'a length of time in quotes such as "45m" or "1h30m"',
    "dwell": 'a length of time in quotes such as "30m"',
    "max_run": 'a length of time in quotes such as "6h"',
    "quiet": 'a length of time in quotes such as "5m"',
    "earliest": 'a moment such as "2026-11-27T18:00:00Z", or "+2h" from now',
    "deadline": 'a moment such as "2026-11-27T18:00:00Z", or "+8h" from now',
    "template": f"a template's name: {_IDENTIFIER}",
    "home": f"a zone's name: {_IDENTIFIER}",
    "zone": f"a zone's name: {_IDENTIFIER}",
    "zones": f"a list of names of zones, each {_IDENTIFIER}",
    "nodes": 'a list of patterns of node names such as ["gpu-*"]',
    "values": "a table of texts of at most 200 characters, by the names of the template's placeholders",
    "speedup": "a list of 1 to 64 speeds above 0 on 1, 2, ... slots, such as [1.0, 1.9, 2.7]",
    "priority": "a whole number from 0 (gives way first) to 9 (first served)",
    "name": "a name of 1 to 100 characters",
    "after": "a list of ids of jobs (12 hexadecimal digits), or of names of jobs of the same text",
    "amount": "how many units there are to do, above 0",
    "unit": "the name of a unit of work that tasks report, such as step, image or token",
    "task": "what the variants of the model do, as the registry of models names it",
    "gb": "gigabytes to move, 0 or more",
    "power_w": "watts above 0 that it adds to a node",
    "checkpoint_s": "seconds, 0 or more",
    "least_run_s": "seconds, 0 or more",
    "max_slowdown": "a factor from 1 (not slower at all) to 100",
    "max_latency_s": "seconds above 0",
    "max_g_per_unit": "grams above 0",
    "retries": "a whole number from 0 to 100",
}


__all__ = ["MOST_BYTES", "MOST_JOBS", "Entry", "Form", "Read", "form_of", "read", "schema"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One job of a text."""

    id: str
    spec: JobSpec
    path: Path = ()
    """Where it stands in the text."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a text says."""

    entries: list[Entry]
    """Empty if there are problems."""
    problems: list[Problem]
    lines: Lines


def read(text: bytes, form: Form, new_id: Callable[[], str]) -> Read:
    """Read jobs; ``new_id`` makes an id (12 hexadecimal digits) for each that bears none."""
    lines = Lines("")
    try:
        raw, lines = parsed(text, form)
    except UnreadableError as error:
        return Read([], [error.problem], lines)
    problems: list[Problem] = []
    rows = list(_rows(raw, problems))
    ids = [_id_of(row, path, problems, new_id) for row, path in rows]
    _doubled(ids, rows, problems)
    named = _Named(ids, [row.get("name") for row, _ in rows])
    for row, path in rows:
        _resolve_names(row, path, named, problems)
        problems += _table(JobSpec, row, path)
    if problems:
        return Read([], [Problem(p.path, p.text, p.severity, lines.of(p.path)) for p in problems], lines)
    entries = [Entry(id_, msgspec.convert(row, JobSpec), path) for id_, (row, path) in zip(ids, rows, strict=True)]
    return Read(entries, [], lines)


def form_of(name: str, text: bytes) -> Form:
    """Return in which form a text is: by the file's ending, else by its first character."""
    if name.endswith(".json"):
        return "json"
    if name.endswith(".toml"):
        return "toml"
    return "json" if text.lstrip()[:1] == b"{" else "toml"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of what may be submitted."""
    (found,), definitions = msgspec.json.schema_components([JobSpec], ref_template="#/$defs/{name}")
    job = dict(definitions["JobSpec"])
    job["properties"] = {
        "id": {"type": "string", "pattern": "^[0-9a-f]{12}$", "description": "Chosen by who submits."},
        **job["properties"],
    }
    job["properties"]["after"] = {
        "type": "array", "items": {"type": "string"}, "default": [],
        "description": "Jobs that must have succeeded first: ids, or names of jobs of the same document.",
    }  # fmt: skip
    several = {
        "type": "object", "properties": {"jobs": {"type": "array", "items": found, "maxItems": MOST_JOBS}},
        "required": ["jobs"], "additionalProperties": False,
    }  # fmt: skip
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "evenwatt jobs",
        "anyOf": [found, several],
        "$defs": {**definitions, "JobSpec": job},
    }


# --- the list of jobs -------------------------------------------------------------------------------------------------


def _rows(raw: object, problems: list[Problem]) -> Iterator[tuple[dict[str, Any], Path]]:
    """Yield each job's table and where it stands."""
    if not isinstance(raw, dict):
        problems.append(Problem((), f"found {_shown(raw)}, expected a job or a table with a list of jobs"))
    elif "jobs" not in raw:
        if raw:
            yield _plain_table(raw), ()
        else:
            problems.append(Problem((), "there is no job in it; write at least a name, a template and a length"))
    elif others := sorted(raw.keys() - {"jobs"}):
        problems.append(
            Problem((others[0],), "stands beside [[jobs]]; move it into one of them: nothing is common to all")
        )
    elif not isinstance(raw["jobs"], list) or not raw["jobs"]:
        problems.append(Problem(("jobs",), f"found {_shown(raw['jobs'])}, expected jobs; write [[jobs]] for each"))
    elif len(raw["jobs"]) > MOST_JOBS:
        problems.append(Problem(("jobs",), f"found {len(raw['jobs'])} jobs, expected at most {MOST_JOBS}; split them"))
    else:
        for number, row in enumerate(raw["jobs"]):
            if isinstance(row, dict):
                yield _plain_table(row), ("jobs", number)
            else:
                problems.append(Problem(("jobs", number), f"found {_shown(row)}, expected a table"))


def _plain_table(row: dict[str, Any]) -> dict[str, Any]:
    """Return a copy in which moments that TOML has read are text again."""
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}


def _id_of(row: dict[str, Any], path: Path, problems: list[Problem], new_id: Callable[[], str]) -> str:
    given = row.pop("id", None)
    if given is None:
        return new_id()
    if not isinstance(given, str) or not _ID.fullmatch(given):
        problems.append(Problem((*path, "id"), f"found {_shown(given)}, expected 12 hexadecimal digits (0-9, a-f)"))
        return new_id()
    return given


def _doubled(ids: list[str], rows: list[tuple[dict[str, Any], Path]], problems: list[Problem]) -> None:
    first: dict[str, Path] = {}
    for id_, (_, path) in zip(ids, rows, strict=True):
        if id_ in first:
            problems.append(Problem((*path, "id"), f"{id_!r} stands twice; give each job its own"))
        first[id_] = path


class _Named:
    """Ids of a text's jobs by their names."""

    def __init__(self, ids: list[str], names: list[object]) -> None:
        self.by_name: dict[str, list[str]] = {}
        for id_, name in zip(ids, names, strict=True):
            if isinstance(name, str):
                self.by_name.setdefault(name, []).append(id_)

    def find(self, text: str) -> tuple[str | None, str]:
        """Return the id that a name or id stands for, or None and what is wrong with it."""
        found = self.by_name.get(text)
        if found is None:
            if _ID.fullmatch(text):
                return text, ""
            near = difflib.get_close_matches(text, self.by_name, n=1)
            fix = f"did you mean {near[0]!r}?" if near else "name a job of the same text, or the id of one submitted"
            return None, f"{_shown(text)} is neither the name of a job here nor an id; {fix}"
        if len(found) > 1:
            return None, f"{len(found)} jobs are called {text!r}; give each its own name"
        return found[0], ""


def _resolve_names(row: dict[str, Any], path: Path, named: _Named, problems: list[Problem]) -> None:
    after = row.get("after")
    if not isinstance(after, list) or not all(isinstance(text, str) for text in after):
        return  # said where types are looked at
    ids = []
    for number, text in enumerate(after):
        id_, wrong = named.find(text)
        if id_ is None:
            problems.append(Problem((*path, "after", number), wrong))
        else:
            ids.append(id_)
    row["after"] = ids


# --- one job ----------------------------------------------------------------------------------------------------------


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
            inner = None if raw[key] is None else _struct_in(expected.type)  # null stands for what is left out
            yield from _table(inner, raw[key], (*path, key)) if inner else _leaf(expected.type, raw[key], (*path, key))
        elif expected.required:
            yield Problem((*path, key), f"missing; add {key} = ... with {_EXPECTED.get(key, 'a value')}")


@cache
def _fields(kind: type[Struct]) -> dict[str, FieldInfo]:
    return {known.encode_name: known for known in fields(kind)}


def _leaf(kind: Any, raw: object, path: Path) -> Iterator[Problem]:
    try:
        value = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at ")
        index = re.findall(r"\[(\d+)\]", at)
        found = raw[int(index[0])] if isinstance(raw, list) and index else raw
        inner: Path = (*path, *map(int, index))
        yield Problem(inner, f"found {_shown(found)}, expected {_EXPECTED.get(str(path[-1]), _plain(what))}")
    else:
        figures = value if isinstance(value, list) else [value]
        if any(isinstance(figure, float) and not isfinite(figure) for figure in figures):
            yield Problem(path, f"found {_shown(raw)}, expected finite numbers")


def _struct_in(kind: Any) -> type[Struct] | None:
    for inner in (kind, *get_args(kind)):
        if isinstance(inner, type) and issubclass(inner, Struct):
            return inner
    return None


def _plain(what: str) -> str:
    """Return msgspec's words without its type names: ``Expected `float` >= 0.0``."""
    text = what.removeprefix("Expected ")
    for type_name, words in _TYPES.items():
        text = text.replace(f"`{type_name}`", words)
    return text.split(", got ")[0].replace("`", "")


def _shown(raw: object) -> str:
    """Return a value as it stands in the text, shortened."""
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, date | time):
        return raw.isoformat()
    text = repr(raw).replace("'", '"')
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
