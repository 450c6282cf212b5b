"""Whether a real process that stands for a machine's job is stopped: by SIGSTOP, or by the cgroup v2 freezer."""

from __future__ import annotations

from pathlib import Path


class Job:
    """The process whose number a file holds.

    No such file: nothing has started it yet, the profile alone decides. A process that ended makes no load.
    """

    def __init__(self, pidfile: Path, proc: Path = Path("/proc")) -> None:
        self._pidfile = pidfile
        self._proc = proc
        self._hierarchy = _cgroup2_mount(proc)

    def is_stopped(self) -> bool:
        """Look now."""
        try:
            pid = int(self._pidfile.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return False
        try:
            # The name in parentheses may hold anything; the state is the first field after it.
            stat = (self._proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return True
        state = stat.rpartition(")")[2].split()[0]
        return state in {"T", "t", "Z", "X"} or self._is_frozen(pid)

    def _is_frozen(self, pid: int) -> bool:
        if self._hierarchy is None:
            return False
        try:
            lines = (self._proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
            below = next(line[3:] for line in lines if line.startswith("0::"))
            events = (self._hierarchy / below.lstrip("/") / "cgroup.events").read_text(encoding="ascii")
        except (OSError, StopIteration):
            return False
        return "frozen 1" in events.splitlines()


def _cgroup2_mount(proc: Path) -> Path | None:
    try:
        mounts = (proc / "self" / "mounts").read_text(encoding="utf-8")
    except OSError:
        return None
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) > 2 and fields[2] == "cgroup2":
            return Path(fields[1])
    return None
