"""Only one of a kind: an advisory lock on a folder, released by the kernel however its holder dies (flock(2))."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from evenwatt_daemon.failures import Failure

if TYPE_CHECKING:
    from pathlib import Path


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
