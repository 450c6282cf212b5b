"""What is lent to an agent: energy counters that the actuator itself finds, opened for reading, and nothing else."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from evenwatt_agent.actuator.protocol import ProtocolError
from evenwatt_agent.sources.powercap import COUNTER, find_zones

if TYPE_CHECKING:
    from pathlib import Path


def counters(sysfs: Path) -> list[str]:
    """Return the real path of every energy counter below ``<sysfs>/class/powercap``."""
    found = [zone.path / COUNTER for zone in find_zones(sysfs)]
    return [str(path) for path in found if path.exists()]


def open_counter(sysfs: Path, path: str) -> int:
    """Open what an agent asks for; return the descriptor. It blocks for milliseconds.

    What was sent is compared with what is found here and never touched itself: no link, mount or ``..`` of the asker's
    is followed.

    Raises:
        ProtocolError: it is not an energy counter of this machine.
        OSError: it is one, and cannot be opened.
    """
    if path not in counters(sysfs):
        raise ProtocolError(
            f"{path[:200]!r} is not an energy counter below {sysfs}/class/powercap; nothing else is lent"
        )
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ProtocolError(f"{path[:200]!r} is not a regular file; nothing else is lent")
    return descriptor
