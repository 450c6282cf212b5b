"""Files that matter: written whole or not at all, looked at again when they change, and kept from others' eyes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from evenwatt_daemon.failures import Failure
from evenwatt_daemon.settings import read_document

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file so that after any crash it is the old one or the new one, with this mode from its first byte.

    Raises:
        OSError: it cannot be written; the old one is untouched.
    """
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask is
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk (fsync(2): a file's own sync does not)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_private(path: str | Path) -> bytes:
    """Read a private key, passphrase or token.

    Raises:
        Failure: it cannot be read, or somebody else could read it too.
    """
    content = read_document(path)
    mode = Path(path).stat().st_mode
    if mode & _OTHERS and not _handed_over(Path(path), mode):
        raise Failure(
            f"{path}: a secret that others may read (mode {stat.S_IMODE(mode):04o}); "
            f"chmod 600 {path}, and make a new one if somebody may have read it"
        )
    return content


def _handed_over(path: Path, mode: int) -> bool:
    """Whether it is a credential of this unit: systemd shows its access list (one user) as the group's rights."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return folder is not None and Path(folder) in path.parents and not mode & stat.S_IRWXO


class WatchedFile:
    """A file that may be replaced while we run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._seen: tuple[int, ...] | None = None

    def read(self) -> bytes:
        """Read it now.

        Raises:
            Failure: it cannot be read.
        """
        self._seen = self._identity()
        return read_document(self.path)

    def changed(self) -> bool:
        """Whether it is another file, or has other content, than when it was last read."""
        return self._identity() != self._seen

    def _identity(self) -> tuple[int, ...] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
