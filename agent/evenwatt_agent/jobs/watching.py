"""What is seen of a run from outside its supervisor, and what is done when that is gone. Blocking."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_agent.jobs import tree
from evenwatt_agent.jobs.launch import end_elsewhere
from evenwatt_agent.jobs.plan import Phase, Standing
from evenwatt_agent.processes import read_process
from evenwatt_agent.sources.held import read_text

if TYPE_CHECKING:
    import subprocess

    from evenwatt_agent.jobs.book import RunRecord
    from evenwatt_agent.jobs.places import Places

_PROC: Final = Path("/proc")
_PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a run."""

    standing: Standing | None
    alive: bool
    """Whether its supervisor is."""


def look(record: RunRecord, places: Places, supervisor: subprocess.Popen[bytes] | None) -> Sight:
    """Look at a run; ``supervisor`` is its own if this agent has started it, and is reaped when it has ended."""
    ended = supervisor is not None and supervisor.poll() is not None
    folder = places.run(record.id)
    standing = Standing.read(folder)
    if standing is not None and not record.pid:
        record.pid, record.start = standing.pid, standing.start
    alive = record.pid > 0 and not ended and lives(record.pid, record.start)
    if not alive and (standing is None or standing.phase is not Phase.ENDED):  # it may have ended in between
        standing = Standing.read(folder) or standing
    return Sight(standing, alive)


def end_rest(record: RunRecord, places: Places, root: Path | None) -> None:
    """End what a supervisor has left behind that was killed, or never began."""
    folder = places.run(record.id)
    with suppress(OSError):
        (folder / "plan.json").unlink()
    if record.cgroup:
        tree.kill_cgroup(Path(f"{root}{record.cgroup}"), _PATIENCE_S)
    tree.kill_marked(f"EVENWATT_RUN={record.id}", _PATIENCE_S)
    end_elsewhere(folder)


def lives(pid: int, start: int) -> bool:
    """Whether a process still runs; one that has ended and that nobody has waited for does not (proc_pid_stat(5))."""
    process = read_process(_PROC, pid)
    state = (read_text(_PROC / str(pid) / "stat") or "").rpartition(")")[2].split()[:1]
    return process is not None and process.start == start and state not in ([], ["Z"], ["X"])
