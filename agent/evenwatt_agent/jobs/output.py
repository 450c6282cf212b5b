"""What a run writes to its standard output and error: kept on disk within bounds, and told as clean text.

The file is a row of pieces named by the offset of their first byte; the oldest piece goes when a new one begins. Work
that writes faster than is good for a disk loses the rest of it, and the file says so.
"""

from __future__ import annotations

import codecs
import itertools
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_PIECES: Final = 4
_RATE_BYTES_PER_S: Final = 256 * 1024
_BURST_BYTES: Final = 1024 * 1024
_CATCH_UP: Final = 8
"""Reports over which a backlog is told whole."""

# Terminal sequences (ECMA-48 CSI and OSC), other controls, and what changes the direction of text.
_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_UNSAFE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


class OutputFile:
    """Writes a run's output.

    Args:
        folder: Of the run.
        most_bytes: What is kept at most.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._piece_bytes = folder, max(4_096, most_bytes // _PIECES)
        self._offset = 0
        self._piece = 0
        self._budget = float(_BURST_BYTES)
        self._at_s = time.monotonic()
        self._left_out = 0

    def write(self, data: bytes) -> None:
        """Keep what was read; what cannot be kept is counted and said later."""
        now_s = time.monotonic()
        self._budget = min(_BURST_BYTES, self._budget + (now_s - self._at_s) * _RATE_BYTES_PER_S)
        self._at_s = now_s
        if len(data) > self._budget:
            self._left_out += len(data)
            return
        self._budget -= len(data)
        if self._left_out:
            data = f"\n[{self._left_out} bytes left out here]\n".encode() + data
        try:
            self._append(data)
            self._left_out = 0
        except OSError:
            self._left_out += len(data)

    def close(self) -> None:
        """Say what was left out at the end."""
        if self._left_out:
            with suppress(OSError):
                self._append(f"\n[{self._left_out} bytes left out here]\n".encode())

    def _append(self, data: bytes) -> None:
        if self._offset - self._piece >= self._piece_bytes:
            self._piece = self._offset
            for old in pieces(self._folder)[: -_PIECES + 1]:
                (self._folder / f"log.{old}").unlink()
        with (self._folder / f"log.{self._piece}").open("ab") as file:
            file.write(data)
        self._offset += len(data)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Output to be told."""

    skipped: int
    """Characters left out before it; what the file has lost already counts in bytes."""
    text: str
    next_byte: int
    """Where the next one begins in the file."""


def pieces(folder: Path) -> list[int]:
    """Return the offsets of the pieces that are kept, in order."""
    with suppress(OSError):
        return sorted(
            int(path.name[4:]) for path in folder.iterdir() if path.name.startswith("log.") and path.name[4:].isdigit()
        )
    return []


def excerpt(folder: Path, start: int, most: int, *, last: bool) -> Excerpt:
    """Return output from byte ``start`` on, at most ``most`` characters. Where too much waits, the latest is told.

    Args:
        folder: Of the run.
        start: Byte at which the excerpt before ended.
        most: Characters that one report may carry.
        last: Nothing will follow, so the end must be in it.
    """
    data, begins = _read(folder, start)
    text, used = _decode(data, last=last)
    lost = begins - start
    if len(text) <= most:
        return Excerpt(lost, text, begins + used)
    if not last and not lost and len(text) <= most * _CATCH_UP:
        text, used = _decode(data[:most], last=False)
        return Excerpt(0, text, begins + used)
    return Excerpt(lost + len(text) - most, text[-most:], begins + used)


def waiting(folder: Path, start: int, most: int) -> bool:
    """Whether more than ``most`` characters wait to be told from byte ``start`` on."""
    data, _ = _read(folder, start)
    return len(data) > most


def clean(text: str) -> str:
    """Return text without what a terminal or a page would obey."""
    return _UNSAFE.sub("", _SEQUENCE.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def _read(folder: Path, start: int) -> tuple[bytes, int]:
    """Return what is kept from byte ``start`` on, and where it begins."""
    kept = pieces(folder)
    begins = max(start, kept[0]) if kept else start
    data = b""
    for piece, following in itertools.zip_longest(kept, kept[1:], fillvalue=None):
        if piece is None or (following is not None and following <= begins):
            continue
        with suppress(OSError), (folder / f"log.{piece}").open("rb") as file:
            file.seek(max(0, begins + len(data) - piece))
            data += file.read()
    return data, begins


def _decode(data: bytes, *, last: bool) -> tuple[str, int]:
    """Return clean text, and how many bytes it was; a character that is not complete yet waits, unless it is last."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data, final=last)
    waiting = decoder.getstate()[0]
    return clean(text), len(data) - len(waiting)
