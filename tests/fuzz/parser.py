"""What a parser is to the fuzzer: what to call, what it may raise, and good inputs to begin with."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable


class WrongAcceptError(AssertionError):
    """An input was taken that should have been refused, or came back as something else."""


@dataclass(frozen=True, slots=True)
class Parser:
    """A parser of bytes from outside.

    Args:
        name: Unique; ``area-what``.
        covers: The modules whose code it is, for the list in the documentation and for coverage.
        target: Takes bytes and parses them; raises :class:`WrongAcceptError` for what should have been refused.
        refuses: The exceptions that are its documented answer to a bad input; nothing else may come out.
        seeds: Good inputs, and some that are nearly so.
        form: ``json``, ``msgpack``, ``text`` or ``bytes``: what the mutations know of it.
        words: What is worth putting into an input of this parser.
        slow: An input costs about a millisecond: fewer of them in the tests.
    """

    name: str
    covers: tuple[str, ...]
    target: Callable[[bytes], object]
    refuses: tuple[type[BaseException], ...]
    seeds: tuple[bytes, ...]
    form: str = "bytes"
    words: tuple[bytes, ...] = ()
    slow: bool = False


_LINE = re.compile(r"[\x00-\x1f\x7f]")


def check(condition: object, what: str) -> None:
    """Raise :class:`WrongAcceptError` unless ``condition`` holds."""
    if not condition:
        raise WrongAcceptError(what)


def check_plain(value: object, where: str = "") -> None:
    """Every number inside is finite, and every text can be stored and sent: no half characters."""
    if isinstance(value, bool | bytes | None | Enum):
        return
    if isinstance(value, float):
        check(math.isfinite(value), f"{where} is {value}")
    elif isinstance(value, str):
        check(not any("\ud800" <= c <= "\udfff" for c in value), f"{where} holds half a character: {value[:40]!a}")
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            check_plain(getattr(value, name), f"{where}.{name}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            check_plain(key, f"{where} key")
            check_plain(inner, f"{where}[{key!a:.20}]")
    elif isinstance(value, Sequence | set | frozenset):
        for inner in value:
            check_plain(inner, f"{where}[]")


def check_word(value: str, what: str) -> None:
    """A name holds nothing that could begin a line, in a log, a label or a file."""
    check(not _LINE.search(value), f"{what} holds a control character: {value[:40]!a}")


def drive(awaitable: Any) -> Any:
    """Run a coroutine that never really waits, without the cost of a loop."""
    try:
        awaitable.send(None)
    except StopIteration as end:
        return end.value
    awaitable.close()
    raise WrongAcceptError("it waits, so it is no parser alone")
