"""Only one of a kind: an advisory lock on a folder, released by the kernel however its holder dies (flock(2))."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from evenwatt_daemon.failures import Failure

_CONTROL: Final = Path("/run/evenwatt-control")


def lock_folder(folder: Path, already: str, *, shared: bool = False) -> int:
    """Lock a folder for the life of this process; return the descriptor that holds it.

    Args:
        folder: Any existing folder, also one of sysfs; nothing is written to it.
        already: What to tell the person who started a second one, with the fix.
        shared: Others who share it may hold it too.

    Raises:
        Failure: somebody else holds it, or it cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror}; it must be a folder that this user can read") from None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Failure(f"{folder}: {already}") from None
    return descriptor


def machine_folder(sysfs: str | Path, control: Path = _CONTROL) -> Path:
    """Return what is locked by whoever controls the machine with this sysfs.

    Anybody may open ``/sys``, hold its lock and so keep control from beginning; the folder that the packages make is
    root's alone.
    """
    return control if str(sysfs) == "/sys" and os.access(control, os.R_OK) else Path(sysfs)
