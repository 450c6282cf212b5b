"""Files of the fake sysfs, held open: counters that are written, limits that somebody else writes.

**No torn numbers.** Readers of the page cache take no lock against writers. The kernel copies small blocks in pieces of
8 bytes, and with 13-byte writes one hammered ``pread`` in two hundred came back half old, half new (measured, x86-64,
ext4 and tmpfs). Blocks of 16 bytes never did in 10**7 reads. So every number here is exactly 16 bytes, one ``pwrite``
at offset 0: its digits, then newlines. The first line is byte for byte what the kernel prints, ``int()`` takes the
whole, and the size of the file never changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

WIDTH: Final = 16
"""Bytes of every number; room for 15 digits, 999 MJ in microjoules."""

Admit = Callable[[int, int], int]
"""(what somebody wrote, what was in force) -> what the device takes of it."""


def write_text(path: Path, text: str, mode: int = 0o444) -> None:
    """Write an attribute that never changes; the newline is added, as the kernel does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    path.chmod(mode)


def number_bytes(value: int) -> bytes:
    """Return a number as its 16 bytes."""
    return (b"%d" % value).ljust(WIDTH, b"\n")


class NumberFile:
    """A number that the twin writes and everybody reads."""

    __slots__ = ("_fd", "_value")

    def __init__(self, path: Path, value: int, mode: int = 0o444) -> None:
        self._fd = _create(path, mode)
        self._value = value - 1
        self.write(value)

    def write(self, value: int) -> None:
        """Show ``value``; costs nothing if it is shown already."""
        if value != self._value:
            self._value = value
            os.pwrite(self._fd, (b"%d" % value).ljust(WIDTH, b"\n"), 0)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


class LimitFile:
    """A number that somebody else writes and the device takes, rounds or refuses.

    A writer opens it ``O_WRONLY | O_TRUNC`` and writes ``120000000`` with or without a newline, as a shell does; who
    keeps it open without truncating must end a shorter number with a newline. An empty file is a writer in between:
    the last value holds. Nonsense is put back to the last value, which is what the kernel's EINVAL leaves behind.
    """

    __slots__ = ("_admit", "_fd", "_seen", "value")

    def __init__(self, path: Path, value: int, admit: Admit) -> None:
        self.value = value
        """What is in force."""
        self._admit = admit
        self._fd = _create(path, 0o644)
        self._seen = number_bytes(value)
        os.pwrite(self._fd, self._seen, 0)

    def poll(self) -> bool:
        """Look at the file, round or restore what was written; return whether the value in force changed."""
        raw = os.pread(self._fd, 64, 0)
        if raw == self._seen or not raw:
            return False
        # Half an update may have been read: only what reads the same twice is taken.
        if os.pread(self._fd, 64, 0) != raw:
            return False
        before = self.value
        self.value = self._taken(raw)
        self._seen = (b"%d" % self.value).ljust(max(WIDTH, len(raw)), b"\n")
        if raw != self._seen:
            os.pwrite(self._fd, self._seen, 0)
        return self.value != before

    def _taken(self, raw: bytes) -> int:
        try:
            asked = int(raw.split(maxsplit=1)[0])
        except (ValueError, IndexError):
            return self.value
        return self._admit(asked, self.value) if asked >= 0 else self.value

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def keep(_asked: int, current: int) -> int:
    """Take nothing: a locked register silently ignores what is written."""
    return current


def _create(path: Path, mode: int) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.fchmod(fd, mode)
    return fd
