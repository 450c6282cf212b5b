"""Processor time by cgroup (v2), from ``cpu.stat``: complete, also for processes that have ended long ago.

https://docs.kernel.org/admin-guide/cgroup-v2.html: ``usage_usec`` is there in every cgroup, whether or not the cpu
controller is enabled for it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from evenwatt_agent.groups import TASK_PREFIX, is_final, owner_of
from evenwatt_agent.sources.held import is_count, read_text

if TYPE_CHECKING:
    from evenwatt_agent.attribution import Owner


def find_root(proc: Path = Path("/proc")) -> Path | None:
    """Return where cgroup v2 is mounted, or None."""
    for line in (read_text(proc / "self" / "mounts") or "").splitlines():
        fields = line.split()
        if len(fields) > 2 and fields[2] == "cgroup2":
            return Path(fields[1])
    return None


def read_usage_ns(folder: Path | str) -> int | None:
    """Return the processor time that a cgroup and all below it have used, or None if it is gone."""
    try:
        with open(f"{folder}/cpu.stat", "rb") as file:  # noqa: PTH123 (read each second for each group)
            for line in file:
                if line.startswith(b"usage_usec "):
                    used = line[11:].strip().decode("ascii")
                    return int(used) * 1_000 if is_count(used) else None
    except (OSError, ValueError):
        return None
    return None


def read_groups(root: Path) -> dict[str, tuple[Owner, int]]:
    """Return for each cgroup that is somebody's: its path below ``root``, its owner and its usage in nanoseconds."""
    found: dict[str, tuple[Owner, int]] = {}
    pending = [""]
    while pending:
        path = pending.pop()
        owner = owner_of(path)
        if owner is not None and (usage_ns := read_usage_ns(f"{root}{path}")) is not None:
            found[path] = (owner, usage_ns)
        if owner is None or not is_final(path):
            pending += _children(root, path)
    return found


def is_populated(folder: Path) -> bool:
    """Whether a process lives in the cgroup or below it."""
    return "populated 1" in (read_text(folder / "cgroup.events") or "")


def processes_in(folder: Path) -> set[int]:
    """Return the processes of a cgroup and of those below it."""
    found: set[int] = set()
    for where, _, _ in os.walk(folder):
        found |= {int(word) for word in (read_text(Path(where) / "cgroup.procs") or "").split() if is_count(word)}
    return found


def reserved_share(folder: Path, processors: int) -> float:
    """Return the share of all processors that ``cpu.max`` grants the cgroup; 0 where it sets no limit."""
    words = (read_text(folder / "cpu.max") or "").split()
    if len(words) != 2 or not all(is_count(word) for word in words) or int(words[1]) == 0:
        return 0.0
    return min(1.0, int(words[0]) / int(words[1]) / processors)


def path_of(proc: Path, pid: int, *, of_v2_only: bool = False) -> tuple[str, bool]:
    """Return a process's cgroup as a path below the root, and whether it is one of v2.

    Outside any group of v2 it is the path in systemd's own hierarchy, which names but does not count.
    """
    paths = {}
    for line in (read_text(proc / str(pid) / "cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        paths["" if number == "0" else controllers] = path.rstrip("/")
    path = paths.get("", "")
    if path or of_v2_only:
        return path, True
    return paths.get("name=systemd", ""), False


def remove(folder: Path) -> None:
    """Remove a cgroup that nobody lives in; one in use stays."""
    with suppress(OSError):
        folder.rmdir()


def _children(root: Path, path: str) -> list[str]:
    """Return the cgroups inside one, but those of tasks, which are read by name."""
    try:
        with os.scandir(f"{root}{path}") as entries:
            inside = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            return [f"{path}/{name}" for name in inside if not name.startswith(TASK_PREFIX)]
    except OSError:
        return []
