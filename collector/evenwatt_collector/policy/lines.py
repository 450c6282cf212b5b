"""On which line of a TOML text a key stands. Pure.

``tomllib`` keeps no positions, and a parser that does is not worth a dependency: this scan needs to know headers, keys
and where strings and brackets end, no values. It is only asked about texts that ``tomllib`` has accepted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evenwatt_collector.policy.problems import Path

_PIECE: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'{3}.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}=,\n]|[^\s\[\]{}=,#"\']+',
    re.DOTALL,
)
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


class Lines:
    """Lines of every header and key of a text."""

    def __init__(self, text: str) -> None:
        self._at = _Scan(text).run()

    def of(self, path: Path) -> int:
        """Return the line (from 1) of a key, or of the nearest thing around it that has one; 0 without any."""
        while path:
            line = self._at.get(path)
            if line is not None:
                return line
            path = path[:-1]
        return 0


class _Scan:
    """One pass over the pieces: statements are headers or ``key = value``."""

    def __init__(self, text: str) -> None:
        self._pieces = list(_pieces(text))
        self._i = 0
        self._at: dict[Path, int] = {}
        self._newest_of: dict[Path, int] = {}
        """Index of the newest table of every array of tables."""
        self._table: Path = ()

    def run(self) -> dict[Path, int]:
        while self._i < len(self._pieces):
            if self._next() == "\n":
                self._i += 1
            elif self._next() == "[":
                self._header()
            else:
                self._pair(self._table)
        return self._at

    def _next(self) -> str:
        """Return the piece that comes next; at the end of the text its line ends."""
        return self._pieces[self._i][0] if self._i < len(self._pieces) else "\n"

    def _line(self) -> int:
        return self._pieces[min(self._i, len(self._pieces) - 1)][1]

    def _header(self) -> None:
        line, depth, parts = self._line(), 0, list[str]()
        while (piece := self._next()) != "\n":
            self._i += 1
            if piece == "[":
                depth += 1
            elif piece != "]":
                parts += _keys(piece)
        path: Path = ()
        for number, part in enumerate(parts):
            path = (*path, part)
            if depth > 1 and number == len(parts) - 1:
                self._newest_of[path] = self._newest_of.get(path, -1) + 1
            if path in self._newest_of:
                path = (*path, self._newest_of[path])
        self._note(path, line)
        self._table = path

    def _pair(self, table: Path) -> None:
        path, line = table, self._line()
        while self._next() not in ("=", "\n"):
            path = (*path, *_keys(self._next()))
            self._i += 1
        self._i += 1
        self._note(path, line)
        self._value(path)
        while self._next() not in ("\n", ",", "}", "]"):
            self._i += 1  # the rest of a value of several pieces, such as a date with a blank before its time

    def _value(self, path: Path) -> None:
        piece = self._next()
        self._i += 1
        if piece in "{[":
            self._inside("}" if piece == "{" else "]", path)

    def _inside(self, close: str, path: Path) -> None:
        number = 0
        while self._i < len(self._pieces) and self._next() != close:
            if self._next() in ",\n":
                number += self._next() == ","
                self._i += 1
            elif close == "}":
                self._pair(path)
            else:
                self._note((*path, number), self._line())
                self._value((*path, number))
        self._i += 1

    def _note(self, path: Path, line: int) -> None:
        for end in range(1, len(path) + 1):  # a dotted key makes the tables on its way
            self._at.setdefault(path[:end], line)


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    """Yield pieces with their lines; comments are left out."""
    line, end = 1, 0
    for match in _PIECE.finditer(text):
        line += text.count("\n", end, match.start())
        end = match.start()
        if not match[0].startswith("#"):
            yield match[0], line


def _keys(piece: str) -> list[str]:
    """Return the parts of a key or of a piece of one: ``a.b`` is two, ``"a.b"`` is one."""
    return [piece[1:-1]] if piece[0] in "\"'" else _BARE.findall(piece)
