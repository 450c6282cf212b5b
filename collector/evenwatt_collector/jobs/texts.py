"""From bytes to what TOML or JSON says, strictly: what is doubled, endless or half a character is refused. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Final, Literal

import msgspec

from evenwatt_collector.policy.lines import Lines
from evenwatt_collector.policy.problems import Problem

MOST_BYTES: Final = 1_048_576
Form = Literal["toml", "json"]

_AT_LINE: Final = re.compile(r"^(?P<what>.*?) \(at line (?P<line>\d+), column (?P<column>\d+)\)$", re.DOTALL)


class UnreadableError(Exception):
    """A text that is neither; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def parsed(text: bytes, form: Form) -> tuple[object, Lines]:
    """Return what a text says, and where its keys stand.

    Raises:
        UnreadableError: it is too long, no UTF-8, or not of that form.
    """
    if len(text) > MOST_BYTES:
        raise UnreadableError(Problem((), f"{len(text):,} bytes, expected at most {MOST_BYTES:,}; split it"))
    try:
        words = text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise UnreadableError(Problem((), "not UTF-8 text; save it as UTF-8", line=line)) from None
    return (_toml(words), Lines(words)) if form == "toml" else (_json(words), Lines(""))


def _toml(words: str) -> object:
    try:
        return tomllib.loads(words)
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.match(str(error))
        if found is None:  # "at end of document"
            text = f"not TOML: {error}; complete the last line"
            raise UnreadableError(Problem((), text, line=words.count("\n") + 1)) from None
        text = f"not TOML at column {found['column']}: {found['what']}; correct it"
        raise UnreadableError(Problem((), text, line=int(found["line"]))) from None
    except RecursionError:
        raise UnreadableError(Problem((), "nested too deeply; a job has no lists within lists")) from None
    except ValueError as error:  # a number of thousands of digits
        raise UnreadableError(Problem((), f"not TOML: {error}; a job has no such number")) from None


def _json(words: str) -> object:
    try:
        msgspec.json.decode(words)  # strict: no NaN, no half characters
        return json.loads(words, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        text = f"not JSON at column {error.colno}: {error.msg}; correct it"
        raise UnreadableError(Problem((), text, line=error.lineno)) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise UnreadableError(Problem((), f"not JSON: {error}; correct it")) from None
    except RecursionError:
        raise UnreadableError(Problem((), "nested too deeply; a job has no lists within lists")) from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        doubled = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {doubled!r} stands twice in one object; leave one out")
    return table
