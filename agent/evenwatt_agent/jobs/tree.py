"""All processes of a run, and their end: by cgroup v2 where there is one, else as the tree below the supervisor.

A supervisor is the reaper of orphans (PR_SET_CHILD_SUBREAPER), so whatever forks away stays below it. A tree that
forks faster than it is killed is stopped first: what is stopped does not fork.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_agent.processes import read_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PROC: Final = Path("/proc")
_ROUND_S: Final = 0.02
_ROUNDS_OF_STOPPING: Final = 50


class Herd:
    """What belongs to a run, as seen by its supervisor.

    Args:
        cgroup: Folder of its cgroup; empty without one.
        reap: Waits for children that have ended, so that they are seen no more.
    """

    def __init__(self, cgroup: str, reap: Callable[[], None]) -> None:
        self._cgroup, self._reap = Path(cgroup) if cgroup else None, reap

    def members(self) -> set[int]:
        """Return the processes that live."""
        found = _descendants(os.getpid())
        if self._cgroup is not None:
            found |= processes_of(self._cgroup)
        return found

    def signal(self, number: int) -> None:
        """Send a signal to all of them."""
        send(self.members(), number)

    def kill(self, patience_s: float) -> bool:
        """End all of them at once; return whether none is left."""
        deadline = time.monotonic() + patience_s
        if self._cgroup is not None:
            kill_cgroup(self._cgroup, patience_s)
        for round_ in range(10_000):
            self._reap()
            members = self.members()
            if not members:
                return True
            fresh = 0
            while round_ < _ROUNDS_OF_STOPPING and len(members) > fresh:
                fresh = len(members)
                send(members, signal.SIGSTOP)
                members = self.members()
            send(members, signal.SIGKILL)
            if time.monotonic() > deadline:
                break
            time.sleep(_ROUND_S)
        return False


def kill_cgroup(folder: Path, patience_s: float) -> bool:
    """End every process of a cgroup; return whether none is left (cgroup-v2.rst, ``cgroup.kill``, Linux 5.14)."""
    deadline = time.monotonic() + patience_s
    while processes_of(folder):
        try:
            (folder / "cgroup.kill").write_text("1")
        except OSError:
            send(processes_of(folder), signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(_ROUND_S)
    return True


def kill_marked(variable: str, patience_s: float) -> None:
    """End what carries ``variable`` in its environment: the rest of a run whose supervisor was killed."""
    deadline = time.monotonic() + patience_s
    while (found := _marked(variable.encode())) and time.monotonic() < deadline:
        send(found, signal.SIGKILL)
        time.sleep(_ROUND_S)


def send(pids: Iterable[int], number: int) -> None:
    """Send a signal to each that still lives."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def processes_of(folder: Path) -> set[int]:
    """Return the processes of a cgroup and of those below it; a cgroup that is gone has none."""
    found: set[int] = set()
    for where, _, _ in os.walk(folder):
        with suppress(OSError):
            found |= {int(word) for word in (Path(where) / "cgroup.procs").read_text().split()}
    return found - {0}


def _descendants(root: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, process in read_processes(_PROC).items():
        children.setdefault(process.parent, []).append(pid)
    found: set[int] = set()
    pending = [root]
    while pending:
        for pid in children.get(pending.pop(), ()):
            if pid not in found:
                found.add(pid)
                pending.append(pid)
    return found


def _marked(variable: bytes) -> set[int]:
    found = set()
    for name in os.listdir(_PROC):  # noqa: PTH208
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with suppress(OSError):
            if variable in (_PROC / name / "environ").read_bytes().split(b"\0"):
                found.add(int(name))
    return found
