"""Makes inputs out of good ones: bytes, numbers and words changed anywhere, and values inside of JSON and MessagePack.

Deterministic for a seed. An input that leads to an answer of a new sort is kept, and changed further: that is what
leads into the depth of a parser without looking at its code (``guided`` looks at the code too).
"""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_BYTES: Final = 4_096
"""Of a usual input."""
HUGE_BYTES: Final = 300_000
"""Of one input in ten thousand: beyond every limit of a message."""
_KEPT: Final = 400
_SORTS: Final = 20_000

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_NUMBERS: Final = (
    b"0", b"-1", b"-0", b"1e308", b"1e309", b"-1e400", b"NaN", b"nan", b"Infinity", b"inf", b"-inf", b"4294967296",
    b"9007199254740993", b"9223372036854775808", b"18446744073709551616", b"1e-320", b"0.5", b"1_000", b"0x10", b"1e18",
    b"1000000001", b"9" * 40, b"9" * 400, b"9" * 5_000, b"\xd9\xa3", b"+1", b" 1", b"1 ", b"",
)  # fmt: skip
_BYTES: Final = (
    b"\0", b"\n", b"\r\n", b"\x1b[31m", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8",
    b"\\ud800",     b"\\u0000", b'"', b"'", b"\\", b"[", b"{", b"]", b"}", b":", b",", b"=", b"#", b"../",
    b"/", b"%s", b"{0}", b"null",
    b"true", b"[[[[[[[[[[[[[[[[[[[[", b'{"a":' * 20, b"A" * 500, b"[" * 3_000, b'{"a":' * 2_000,
)  # fmt: skip
_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63), 0.0, -0.0, 0.5, 1e9,
    1e18, 1e300,
    1e-300, -1e-9, "", "x", "x" * 64, "x" * 401, "a\n", "\0", "\x1b[2J", "../../etc/passwd", "%s%s", "é", "\U0001f600",
    "9" * 5_000, "nan", "node", "_ctl", [], {}, [[]], [None], {"": None}, {"a": 1}, b"", b"\xff" * 8,
)  # fmt: skip


class Mutator:
    """Makes inputs.

    Args:
        seeds: Good inputs.
        form: As in :class:`~tests.fuzz.parser.Parser`.
        words: More to put into inputs.
        seed: The same seed makes the same inputs.
    """

    def __init__(self, seeds: Sequence[bytes], form: str, words: Sequence[bytes], seed: int) -> None:
        self._dice = random.Random(seed)
        self._first = tuple(seeds)
        self._pool = list(seeds)
        self._form = form
        self._words = (*_BYTES, *words)
        self._seen: set[tuple[str, ...]] = set()
        self._values: list[Any] = list(_VALUES)
        for one in seeds:
            self._values += _parts(one, form)

    def make(self) -> bytes:
        """Return the next input."""
        dice = self._dice
        whole = dice.choice(self._pool if dice.random() < 0.7 else self._first)
        if dice.random() < 0.0001:
            return (whole or b"\0") * (HUGE_BYTES // (len(whole) or 1) + 1)
        if self._form in {"json", "msgpack"} and dice.random() < 0.6:
            whole = self._inside(whole)
            if dice.random() < 0.7:
                return whole
        for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
            whole = self._change(whole)
        return whole[: 4 * MOST_BYTES]

    def note(self, data: bytes, answer: tuple[str, ...]) -> None:
        """Keep an input whose answer is of a new sort."""
        if len(self._seen) < _SORTS and answer not in self._seen and len(data) <= 4 * MOST_BYTES:
            self._seen.add(answer)
            if len(self._pool) < _KEPT:
                self._pool.append(data)
            else:
                self._pool[self._dice.randrange(len(self._first), _KEPT)] = data

    @property
    def kinds(self) -> int:
        """Sorts of answers met."""
        return len(self._seen)

    def _change(self, data: bytes) -> bytes:  # noqa: PLR0911  (one for each way)
        dice = self._dice
        way = dice.randrange(10)
        size = len(data)
        at = dice.randrange(size + 1)
        if way == 0 and size:
            at = dice.randrange(size)
            return data[:at] + bytes((data[at] ^ (1 << dice.randrange(8)),)) + data[at + 1 :]
        if way == 1 and size:
            at = dice.randrange(size)
            return data[:at] + dice.randbytes(1) + data[at + 1 :]
        if way == 2:
            return data[:at] + data[at + dice.choice((1, 1, 2, 4, 16, 100)) :]
        if way == 3:
            part = data[at : at + dice.choice((1, 4, 16, 64))]
            return data[:at] + part * dice.choice((1, 1, 2, 50)) + data[at:]
        if way in {4, 5}:
            return data[:at] + dice.choice(self._words) + data[at:]
        if way == 6:
            return data[:at] + dice.randbytes(dice.choice((1, 2, 8))) + data[at:]
        if way == 7:
            other = dice.choice(self._pool)
            return data[:at] + other[dice.randrange(len(other) + 1) :]
        if way == 8:
            return data[:at]
        numbers = list(_NUMBER.finditer(data[:MOST_BYTES]))
        if not numbers:
            return data[:at] + dice.choice(_NUMBERS) + data[at:]
        start, end = dice.choice(numbers).span()
        return data[:start] + dice.choice(_NUMBERS) + data[end:]

    def _inside(self, data: bytes) -> bytes:
        tree = _tree(data, self._form)
        if not isinstance(tree, dict | list):
            return data
        try:
            for turn in range(self._dice.choice((1, 1, 2, 3))):
                self._spoil(tree, most=2 if turn else 600)  # more of more would be more than memory holds
            if self._form == "msgpack":
                return msgspec.msgpack.encode(tree)
            return json.dumps(tree, default=repr).encode("utf-8", "surrogatepass")
        except (ValueError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError):
            return data

    def _spoil(self, tree: Any, most: int) -> None:
        dice = self._dice
        node = tree
        while True:
            keys: Any = list(node) if isinstance(node, dict) else range(len(node))
            if not keys:
                return
            key = dice.choice(keys)
            if isinstance(node[key], dict | list) and node[key] and dice.random() < 0.7:
                node = node[key]
                continue
            break
        way = dice.random()
        if way < 0.6:
            node[key] = dice.choice(self._values)
        elif way < 0.7:
            del node[key]
        elif way < 0.8 and isinstance(node, list):
            node[key:key] = [node[key]] * dice.choice((1, 2, most))
        elif way < 0.9 and isinstance(node, dict):
            node[dice.choice(("x", "", str(key).upper(), "id"))] = node[key]
        elif isinstance(node[key], str):
            node[key] = node[key] + dice.choice(("\n", " ", "\0", "x", "x" * 400, "\u2028", "/../"))
        elif isinstance(node[key], int | float):
            node[key] = dice.choice(
                (-node[key], node[key] * 1_000, node[key] + 1, node[key] + 0.5, str(node[key])[:99])
            )
        else:
            node[key] = [node[key]]


def _tree(data: bytes, form: str) -> Any:
    try:
        return msgspec.msgpack.decode(data) if form == "msgpack" else msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _parts(data: bytes, form: str) -> list[Any]:
    """Return the small values of a good input: at another place they are of a right form and wrong."""
    found: list[Any] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for key, inner in node.items():
                found.append(key)
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)
        elif len(repr(node)) < 80:
            found.append(node)

    if form in {"json", "msgpack"}:
        walk(_tree(data, form))
    return found[:60]
