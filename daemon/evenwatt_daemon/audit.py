r"""An append-only log in which every entry holds the hash of the one before. Pure: bytes in, bytes and findings out.

An entry is one line of JSON, exactly as it stands in the file::

    {"n":2,"prev":"<hash of entry 1>","kind":"command","at_ms":1764295200000, ... ,"hash":"<64 hexadecimal digits>"}

``hash`` is the last field, and is the SHA-256 of ``"evenwatt-audit-v1\0"`` and every byte of the line before
``,"hash":``. ``prev`` is the ``hash`` of the entry before, and stands among those bytes: so a changed, added, left out
or moved entry shows. Nothing is ever encoded again to be checked. The first entry has number 1 and a ``prev`` of 64
zeros. What a chain cannot show by itself is that its end was cut off, or that all of it was written anew: for that its
head is told to others (``docs/audit.md``).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Fact = str | int | float | bool | list[Any] | None
Facts = dict[str, Fact]

CONTEXT: Final = b"evenwatt-audit-v1\0"
MAX_LINE_BYTES: Final = 16 * 1024
"""A command is at most 4 KiB; JSON may need six bytes for one of its characters."""
_TAIL: Final = re.compile(rb',"hash":"([0-9a-f]{64})"}\Z')
_TAIL_BYTES: Final = 75
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_OWN: Final = ("n", "prev", "kind", "at_ms", "hash")


class Head(NamedTuple):
    """The number and hash of the latest entry."""

    n: int
    hash: str

    def __str__(self) -> str:
        return f"{self.n}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read what :meth:`__str__` wrote.

        Raises:
            ValueError: it is something else.
        """
        number, _, digest = text.partition(":")
        if not (number.isascii() and number.isdigit() and len(number) <= 15 and _HASH.fullmatch(digest)):
            raise ValueError(f"{text!r} is not the head of an audit log: expected NUMBER:HASH")
        return cls(int(number), digest)


GENESIS: Final = Head(0, "0" * 64)
"""Before the first entry."""


class BadEntryError(ValueError):
    """A line that is not an entry, or not the one that was written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it was read."""

    head: Head
    prev: str
    kind: str
    at_ms: int
    """Wall time when it was written: a label, since clocks are set."""
    facts: Facts


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that a whole log would not have. ``n`` is the entry where it shows."""

    n: int
    where: str
    what: str


@dataclass(slots=True)
class Walk:
    """What walking a log found."""

    entries: int = 0
    first: int = 0
    """Number of the first entry; above 1 where older ones have been let go."""
    head: Head = GENESIS
    faults: list[Fault] = field(default_factory=list)


def make_line(head: Head, kind: str, at_ms: int, facts: Mapping[str, Fact]) -> tuple[bytes, Head]:
    """Return the line of the entry after ``head``, with its newline, and the new head.

    Raises:
        ValueError: a fact has the name of a field that every entry has, or is no JSON; or the line is too long.
    """
    taken = [name for name in _OWN if name in facts]
    if taken:
        raise ValueError(f"facts may not be called {', '.join(taken)}")
    fields = {"n": head.n + 1, "prev": head.hash, "kind": kind, "at_ms": at_ms, **facts}
    body = json.dumps(fields, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()[:-1]
    digest = _digest(body)
    line = b'%s,"hash":"%s"}\n' % (body, digest.encode())
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"an entry of {len(line)} bytes; at most {MAX_LINE_BYTES} are accepted")
    return line, Head(head.n + 1, digest)


def read_line(line: bytes) -> Entry:
    """Read one line without its newline, and check its own hash.

    Raises:
        BadEntryError: what is wrong with it.
    """
    if len(line) > MAX_LINE_BYTES:
        raise BadEntryError(f"{len(line)} bytes; an entry has at most {MAX_LINE_BYTES}")
    tail = _TAIL.search(line[-_TAIL_BYTES:])
    if tail is None:
        raise BadEntryError("does not end with its hash")
    digest = tail[1].decode()
    if _digest(line[:-_TAIL_BYTES]) != digest:
        raise BadEntryError("its bytes are not those that its hash was made of")
    try:
        fields: Any = json.loads(line, object_pairs_hook=_no_doubles, parse_constant=_no_constants)
    except (ValueError, RecursionError) as error:
        raise BadEntryError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise BadEntryError("not a JSON object")
    return _entry(fields, digest)


def walk(lines: Iterable[tuple[str, bytes]]) -> tuple[Walk, list[Entry]]:
    """Follow a chain through lines, each with where it stands; go on after a fault, to find all of them."""
    found, entries = Walk(), []
    for where, line in lines:
        number = found.head.n + 1
        try:
            entry = read_line(line)
        except BadEntryError as error:
            found.faults.append(Fault(number if found.entries else 0, where, str(error)))
            continue
        fault = _break(found, entry)
        if fault:
            found.faults.append(Fault(entry.head.n, where, fault))
        if not found.entries:
            found.first = entry.head.n
        found.entries += 1
        found.head = entry.head
        entries.append(entry)
    return found, entries


def _break(found: Walk, entry: Entry) -> str:
    """What is wrong with an entry where it stands; empty if nothing."""
    if not found.entries:
        wrong = entry.head.n == 1 and entry.prev != GENESIS.hash
        return "is called the first one but names one before it" if wrong else ""
    if entry.head.n != found.head.n + 1:
        return f"stands where entry {found.head.n + 1} is expected"
    if entry.prev != found.head.hash:
        return f"does not hold the hash of entry {found.head.n}: one of the two was changed or put in"
    return ""


def _entry(fields: dict[str, Any], digest: str) -> Entry:
    n, prev, kind, at_ms = (fields.pop(name, None) for name in _OWN[:4])
    fields.pop("hash")
    if not (_is_count(n) and n > 0 and _is_count(at_ms) and isinstance(kind, str) and isinstance(prev, str)):
        raise BadEntryError("lacks one of n, prev, kind and at_ms")
    return Entry(Head(n, digest), prev, kind, at_ms, fields)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _digest(body: bytes) -> str:
    return hashlib.sha256(CONTEXT + body).hexdigest()


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise BadEntryError("a name stands twice")
    return result


def _no_constants(name: str) -> float:
    raise BadEntryError(f"{name} is not a number")
