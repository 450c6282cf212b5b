"""An audit log on the disk: one file that grows, and older ones that it was before. The shell around ``audit``.

``audit.jsonl`` is the file in use. When it is full it gets the number of its first entry into its name, and the oldest
such file is removed when all of them take more than they may; the chain goes on over the files. What a power cut has
torn off at the end is moved to ``audit.jsonl.torn`` and said in an entry; nothing is dropped silently.

Room for the next entry is taken from the disk before it is needed (fallocate(2)), so that :meth:`AuditLog.check` can
say before something is done that it can be written down.

Not safe for threads at once, but for :meth:`AuditLog.sync`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from evenwatt_daemon.audit import GENESIS, MAX_LINE_BYTES, BadEntryError, Entry, Fact, Head, make_line, read_line
from evenwatt_daemon.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NAME: Final = "audit.jsonl"
TORN_NAME: Final = "audit.jsonl.torn"
FILE_BYTES: Final = 1024 * 1024
_RESERVE_BYTES: Final = 64 * 1024
_TORN_BYTES: Final = 64 * 1024
_RECENT: Final = 200
_KEEP_SIZE: Final = 1
"""FALLOC_FL_KEEP_SIZE: blocks are taken, the file does not look longer."""
_NOT_THERE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class AuditError(Exception):
    """The log cannot be written; the text names the file and the reason."""


class AuditLog:
    """A log that this process alone writes.

    Args:
        folder: Where its files are.
        keep_bytes: What all of them may take; at least two files are kept.
        file_bytes: How long one gets.

    Raises:
        Failure: it cannot be opened, or another process writes it.
    """

    def __init__(self, folder: Path, keep_bytes: int, file_bytes: int = FILE_BYTES) -> None:
        self._folder, self._path = folder, folder / NAME
        self._keep_bytes, self._file_bytes = keep_bytes, file_bytes
        self._room = 0
        self.recent: deque[Entry] = deque(maxlen=_RECENT)
        """The latest entries when it was opened, for whoever goes on from there."""
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size
        torn = self._recover()
        self.head = self._last_head()
        self.torn_bytes = len(torn)
        """What a power cut had left of an entry."""
        self._torn_sha256 = hashlib.sha256(torn).hexdigest() if torn else ""

    def check(self) -> None:
        """Make sure that one more entry finds room.

        Raises:
            AuditError: it does not.
        """
        if self._room - self._size >= MAX_LINE_BYTES:
            return
        try:
            _allocate(self._fd, self._size, _RESERVE_BYTES)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise self._trouble(error) from None
            self._look_for_space()
            return  # this file system takes no room beforehand: it is looked for each time
        self._room = self._size + _RESERVE_BYTES

    def append(self, kind: str, at_ms: int, facts: Mapping[str, Fact], *, sync: bool = True) -> Head:
        """Add one entry; with ``sync`` it is on the disk when this returns.

        Raises:
            AuditError: it could not be written; the log is as it was before.
        """
        if self.torn_bytes:
            torn, self.torn_bytes = self.torn_bytes, 0
            self.append("torn", at_ms, {"bytes": torn, "sha256": self._torn_sha256, "kept_in": TORN_NAME})
        try:
            line, head = make_line(self.head, kind, at_ms, facts)
        except ValueError as error:
            raise AuditError(f"{self._path}: an entry {kind!r} cannot be written: {error}") from None
        try:
            if self._size and self._size + len(line) > self._file_bytes:
                self._rotate()
            self._write(line)
            if sync:
                os.fsync(self._fd)
        except OSError as error:
            self._room = 0
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise self._trouble(error) from None
        self._size += len(line)
        self.head = head
        return head

    def sync(self) -> None:
        """Put what was appended without ``sync`` on the disk; may run on another thread than the rest.

        Raises:
            AuditError: it could not be.
        """
        try:
            copy = os.dup(self._fd)
            try:
                os.fdatasync(copy)
            finally:
                os.close(copy)
        except OSError as error:
            raise self._trouble(error) from None

    def close(self) -> None:
        """Give back the room that was taken beforehand, and let go of the file."""
        if self._fd < 0:
            return
        with suppress(OSError):
            os.ftruncate(self._fd, self._size)
            os.fsync(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise Failure(
                f"{self._path}: {error.strerror}; the audit log must be an ordinary file that this service can write"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise Failure(
                f"{self._path}: another process writes this audit log; stop it, or name another folder"
            ) from None
        return descriptor

    def _recover(self) -> bytes:
        """Cut off what stands after the last whole entry; return it."""
        for older in older_files(self._folder)[-1:]:
            self.recent.extend(read_entries(older))
        good = at = 0
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            for line in iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""):
                at += len(line)
                if not line.endswith(b"\n"):
                    continue
                with suppress(BadEntryError):
                    self.recent.append(read_line(line[:-1]))
                    good = at
            file.seek(good)
            torn = file.read()
        if torn:
            self._set_aside(torn)
            os.ftruncate(self._fd, good)
            os.fsync(self._fd)
            self._size = good
        return torn

    def _set_aside(self, torn: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with suppress(OSError):  # a full disk: the entry says how much there was, and its hash
            descriptor = os.open(self._folder / TORN_NAME, flags, 0o600)
            try:
                if os.fstat(descriptor).st_size > _TORN_BYTES:
                    os.ftruncate(descriptor, 0)
                os.write(descriptor, torn[-_TORN_BYTES:])
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _last_head(self) -> Head:
        return self.recent[-1].head if self.recent else GENESIS

    def _write(self, line: bytes) -> None:
        written = os.write(self._fd, line)
        if written != len(line):  # a full disk takes a part
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _rotate(self) -> None:
        """Begin a new file. The old one keeps its name until the new one can be opened."""
        first = next(iter(read_entries(self._path)), None)
        if first is None:
            return
        old = self._free_name(first.head.n)
        os.ftruncate(self._fd, self._size)  # gives back the room taken beforehand
        os.fsync(self._fd)
        self._path.rename(old)
        try:
            fresh = self._open()
        except Failure as failure:
            old.rename(self._path)
            raise OSError(errno.EIO, str(failure)) from None
        os.close(self._fd)
        self._fd, self._size, self._room = fresh, 0, 0
        _sync_folder(self._folder)
        self._let_go()

    def _free_name(self, first: int) -> Path:
        path, number = self._folder / f"audit-{first:012d}.jsonl", 2
        while path.exists():  # somebody has removed the file in use, so that the chain began anew
            path, number = self._folder / f"audit-{first:012d}-{number}.jsonl", number + 1
        return path

    def _let_go(self) -> None:
        """Remove the oldest files while all of them take more than they may; the latest of them always stays."""
        files = older_files(self._folder)
        sizes = [path.stat().st_size for path in files]
        while len(files) > 1 and sum(sizes) + self._file_bytes > self._keep_bytes:
            files.pop(0).unlink()
            sizes.pop(0)

    def _look_for_space(self) -> None:
        stat = os.fstatvfs(self._fd)
        if stat.f_bavail * stat.f_frsize < MAX_LINE_BYTES:
            raise self._trouble(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def _trouble(self, error: OSError) -> AuditError:
        return AuditError(f"{self._path}: {error.strerror or error}; nothing that cannot be entered is carried out")


def older_files(folder: Path) -> list[Path]:
    """Return the files that a log has filled, the oldest first."""
    return sorted(folder.glob("audit-[0-9]*.jsonl"))


def log_files(folder: Path) -> list[Path]:
    """Return all files of a log in the order of their entries."""
    current = folder / NAME
    return [*older_files(folder), *([current] if current.exists() else [])]


def read_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Give each line of a file with where it stands. A line that is too long comes in pieces, which are no entries."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
            where = f"{path}:{number}"
            yield where, line[:-1] if line.endswith(b"\n") else line + b" (no end of line)"


def read_entries(path: Path) -> Iterator[Entry]:
    """Give the entries of a file, leaving out what is none."""
    for _, line in read_lines(path):
        with suppress(BadEntryError):
            yield read_line(line)


def _allocate(descriptor: int, offset: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(descriptor, _KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
