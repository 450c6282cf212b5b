"""Files of sysfs: a number read through a descriptor that stays open, and small texts read once.

``open/read/close`` per sample costs about fifteen times a ``pread`` on a held descriptor; and the permission check of
``energy_uj`` is made when it is opened, not when it is read.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MOST_DIGITS: Final = 21
"""Of 64 bits and a sign: a file that holds more is no number of the kernel's."""
_MOST_CPUS: Final = 8_192
"""NR_CPUS of the largest kernels."""
_CPUS: Final = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?([,\s]+[0-9]{1,5}(-[0-9]{1,5})?)*")


def open_file(path: Path) -> int:
    """Open a file for reading; return its descriptor."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


class HeldNumber:
    """One integer in one file, re-read through a held descriptor.

    Args:
        path: The file.
        opener: Opens it, also when it is opened again; from the thread that reads it.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, opener: Callable[[Path], int] = open_file) -> None:
        self._path, self._opener = path, opener
        self._fd = opener(path)

    @property
    def fd(self) -> int:
        """The descriptor; its number stays."""
        return self._fd

    def read(self) -> int:
        """Return the number.

        Raises:
            OSError: the file is gone or refuses.
            ValueError: it does not hold an integer.
        """
        return int(os.pread(self._fd, 32, 0))

    def reopen(self) -> None:
        """Open the path again; keep the old descriptor if that fails.

        The number of the descriptor stays: another thread may be reading through it.
        """
        fresh = self._opener(self._path)
        os.dup2(fresh, self._fd, inheritable=False)
        os.close(fresh)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


class Held(Protocol):
    """What keeps something open."""

    def read(self) -> int:
        """Return a reading."""

    def close(self) -> None:
        """Let go of it."""


H = TypeVar("H", bound=Held)


def answering(held: H) -> H:
    """Take a first reading and return what was read; what does not answer is let go of.

    Devices are looked for again and again: one that never answers would use up the agent's descriptors.

    Raises:
        OSError: it refuses.
        ValueError: it does not hold an integer.
    """
    try:
        held.read()
    except (OSError, ValueError):
        held.close()
        raise
    return held


def read_text(path: Path) -> str | None:
    """Return a small file's text without surrounding white space, or None if it is absent or refuses."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """Return a small file's integer, or None if it is absent, refuses, or holds something else."""
    text = read_text(path)
    try:
        return int(text) if text and len(text) <= _MOST_DIGITS else None
    except ValueError:
        return None


def is_count(text: str) -> bool:
    """Whether a word of a file is a whole number from 0 up that 64 bits hold."""
    return text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS


def parse_cpus(text: str) -> list[int]:
    """Read the kernel's list of processors, ``0-3,8`` or ``0-3 8``; empty for anything else."""
    if not _CPUS.fullmatch(text):
        return []
    ends = [part.partition("-") for part in re.split(r"[,\s]+", text)]
    found = [cpu for low, _, high in ends for cpu in range(int(low), int(high or low) + 1)[:_MOST_CPUS]]
    return found[:_MOST_CPUS]


def entries(directory: Path) -> list[Path]:
    """Return a class folder's entries in natural order (``hwmon2`` before ``hwmon10``); empty if it is absent."""
    try:
        return sorted(directory.iterdir(), key=lambda path: (len(path.name), path.name))
    except OSError:
        return []
