"""Who used the processors since the last look: by task, by cgroup, and by process where no cgroup tells.

Three meters are joined so that each second of processor time has one owner:

- A cgroup that is somebody's is read as a whole (``cpu.stat``), which misses no short-lived process.
- A task in a cgroup of its own is read there, and taken out of the group around it. A task without one is a tree of
  processes: its root, its descendants, and their ended children (``cutime``). A process that has once been seen in a
  tree stays in it, also when its parent dies first. Of tasks with the same process the innermost has it; tasks that
  run side by side in one process share it equally.
- Every other process counts under its command's name.

What is left of the machine's busy time (``/proc/stat``) belongs to processes that came and went between two looks, to
kernel threads and to interrupts: the caller gives it to ``system``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_agent import cgroups
from evenwatt_agent.attribution import Owner, apportion
from evenwatt_agent.groups import TASK_PREFIX, owner_of
from evenwatt_agent.processes import Process, read_busy_ns, read_processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FORGET_S: Final = 60.0
"""Kernel threads and cached cgroups of processes are looked at again this often."""
_YOUNG_LOOKS: Final = 3
"""A process may be moved to its cgroup shortly after it began."""


@dataclass(frozen=True, slots=True)
class TaskRoot:
    """Where a task's processes are."""

    id: str
    pid: int
    start: int
    """Start time of the root process, so that a reused pid is not mistaken for it."""
    cgroup: str = ""
    """Path of its own cgroup below the root of the hierarchy; empty: the tree below ``pid``."""
    ancestors: frozenset[str] = frozenset()
    """Tasks around it."""

    @property
    def owner(self) -> Owner:
        """Its row in the account."""
        return Owner("task", self.id)


@dataclass(frozen=True, slots=True)
class Memory:
    """What must be known to go on after a restart of the agent: cumulative readings."""

    busy_ns: int = -1
    """-1: nothing is known yet."""
    cgroups: dict[str, int] = field(default_factory=dict)
    """Usage of tasks' own cgroups, by path."""
    members: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    """(pid, start, tree time) of the processes of each task without a cgroup."""


@dataclass(frozen=True, slots=True)
class Look:
    """What has happened since the last look."""

    t_ns: int
    busy_ns: int
    """Busy time of the whole machine; 0 for the first look."""
    use: dict[Owner, int]
    """Nanoseconds by owner."""
    reserved: dict[Owner, float]
    """Share of the machine's processors that each group's ``cpu.max`` grants it."""
    alive: dict[str, int]
    """Processes of each task that live."""
    cost_ns: int
    """Processor time that looking took."""


class CpuWatch:
    """Looks at processes and cgroups, and remembers what it saw.

    Args:
        proc: Where proc is mounted.
        root: Where cgroup v2 is mounted; None without it.
        processors: How many there are.
        memory: Readings of an earlier run of the agent on the same kernel boot.
    """

    def __init__(self, proc: Path, root: Path | None, processors: int, memory: Memory | None = None) -> None:
        self._proc, self._root, self._processors = proc, root, processors
        memory = memory or Memory()
        self._busy_ns = memory.busy_ns
        self._task_cgroups = dict(memory.cgroups)
        self._members = {id_: {(pid, start) for pid, start, _ in rows} for id_, rows in memory.members.items()}
        self._tree_ns = {(pid, start): ns for rows in memory.members.values() for pid, start, ns in rows}
        self._processes: dict[int, Process] | None = None
        self._groups: dict[str, int] | None = None
        self._places: dict[tuple[int, int], tuple[tuple[str, bool], int]] = {}
        """By process: its cgroup, whether that counts its time itself, and how often we have looked it up."""
        self._kernel: set[int] = set()
        self._reserved: dict[Owner, float] = {}
        self._forget_ns = 0

    def memory(self) -> Memory:
        """Return what a later run needs to go on from the latest look."""
        processes = self._processes or {}
        members = {
            id_: [(pid, start, processes[pid].tree_ns) for pid, start in keys if pid in processes]
            for id_, keys in self._members.items()
        }
        return Memory(self._busy_ns, dict(self._task_cgroups), members)

    def look(self, tasks: Sequence[TaskRoot] = ()) -> Look:
        """Look now.

        Raises:
            OSError, ValueError: ``/proc`` cannot be read, or is not that.
        """
        began_ns, now_ns = time.thread_time_ns(), time.monotonic_ns()
        if now_ns >= self._forget_ns:
            self._forget_ns = now_ns + int(_FORGET_S * 1e9)
            self._kernel, self._places, self._reserved = set(), {}, {}
        busy_ns = read_busy_ns(self._proc)
        processes = read_processes(self._proc, self._kernel)
        self._kernel |= {pid for pid, process in processes.items() if process.kernel}
        use = self._group_use()
        self._task_cgroup_use(tasks, use)
        belongs = self._task_of(processes, tasks)
        self._process_use(processes, belongs, use)
        alive = self._alive(tasks, belongs)
        since_ns = 0 if self._busy_ns < 0 else max(0, busy_ns - self._busy_ns)
        self._busy_ns, self._processes = busy_ns, processes
        used = {owner: ns for owner, ns in use.items() if ns > 0}
        return Look(now_ns, since_ns, used, dict(self._reserved), alive, time.thread_time_ns() - began_ns)

    def owner_of(self, pid: int) -> Owner | None:
        """Return whose a process is, as of the latest look; for what GPUs report by process."""
        process = (self._processes or {}).get(pid)
        for id_, keys in self._members.items():
            if process is not None and (pid, process.start) in keys:
                return Owner("task", id_)
        path, _ = cgroups.path_of(self._proc, pid)
        if (task := _task_in(path)) is not None:
            return Owner("task", task)
        return owner_of(path) or (Owner("process", process.command) if process else None)

    # --- cgroups --------------------------------------------------------------------------------------------------

    def _group_use(self) -> dict[Owner, int]:
        """Use of every group since the last look, without the groups inside it."""
        if self._root is None:
            self._groups = {}
            return {}
        read = cgroups.read_groups(self._root)
        use: dict[Owner, int] = {}
        for path, (owner, usage_ns) in read.items():
            if owner not in self._reserved:
                self._reserved[owner] = cgroups.reserved_share(Path(f"{self._root}{path}"), self._processors)
            if self._groups is None:
                continue
            delta = max(0, usage_ns - self._groups.get(path, 0))
            use[owner] = use.get(owner, 0) + delta
            outer = _outer(path, read)
            if outer is not None:
                use[read[outer][0]] = use.get(read[outer][0], 0) - delta
        self._groups = {path: usage_ns for path, (_, usage_ns) in read.items()}
        return use

    def _task_cgroup_use(self, tasks: Sequence[TaskRoot], use: dict[Owner, int]) -> None:
        """Read the tasks that have a cgroup, and take them out of what is around them."""
        known = {task.cgroup: task.owner for task in tasks if task.cgroup}
        read: dict[str, int] = {}
        for path, owner in known.items():
            usage_ns = cgroups.read_usage_ns(f"{self._root}{path}")
            if usage_ns is None:
                continue
            read[path] = usage_ns
            delta = max(0, usage_ns - self._task_cgroups.get(path, 0))
            use[owner] = use.get(owner, 0) + delta
            around = _outer(path, known)
            outer = known[around] if around is not None else owner_of(path.rpartition("/" + TASK_PREFIX)[0])
            if outer is not None and outer in use:
                use[outer] -= delta
        self._task_cgroups = read

    # --- processes ------------------------------------------------------------------------------------------------

    def _task_of(self, processes: Mapping[int, Process], tasks: Sequence[TaskRoot]) -> dict[int, tuple[str, ...]]:
        """Return the tasks without a cgroup that each process belongs to: none, the innermost, or several alike."""
        trees = [task for task in tasks if not task.cgroup]
        roots: dict[int, list[TaskRoot]] = {}
        for task in trees:
            if task.pid in processes and processes[task.pid].start == task.start:
                roots.setdefault(task.pid, []).append(task)
        known = {task.id for task in trees}
        stays: dict[tuple[int, int], tuple[str, ...]] = {}
        for id_ in sorted(self._members.keys() & known):
            for key in self._members[id_]:
                stays[key] = (*stays.get(key, ()), id_)
        found: dict[int, tuple[str, ...]] = {}
        for pid in processes if trees else ():
            _follow(pid, processes, roots, stays, found)
        self._members = {task.id: set() for task in trees}
        for pid, ids in found.items():
            for id_ in ids:
                self._members[id_].add((pid, processes[pid].start))
        return found

    def _process_use(
        self, processes: Mapping[int, Process], belongs: Mapping[int, tuple[str, ...]], use: dict[Owner, int]
    ) -> None:
        for pid, delta in self._deltas(processes).items():
            process = processes[pid]
            if process.kernel:
                continue
            path, counted = self._place(process)
            task = _task_in(path)
            place = owner_of(path) if task is None else Owner("task", task)
            if tasks := belongs.get(pid):
                for owner, share in apportion(delta, dict.fromkeys((Owner("task", t) for t in tasks), 1)).items():
                    use[owner] = use.get(owner, 0) + share
                if counted and place in use:
                    use[place] -= delta
            elif place is None or not counted:
                owner = place or Owner("process", process.command)
                use[owner] = use.get(owner, 0) + delta

    def _deltas(self, processes: Mapping[int, Process]) -> dict[int, int]:
        """Return each process's own and waited-for time since the last look, ended children counted once."""
        before = self._processes
        deltas = {}
        for pid, process in processes.items():
            old = before.get(pid) if before is not None else None
            if old is not None and old.start == process.start:
                base = old.tree_ns
            elif before is None:  # the agent's first look: only what an earlier run remembered has a beginning
                base = self._tree_ns.get((pid, process.start), process.tree_ns)
            else:
                base = 0
            deltas[pid] = process.tree_ns - base
        for pid, old in (before or {}).items():
            ended = pid not in processes or processes[pid].start != old.start
            if ended and old.parent in deltas and not old.kernel:
                deltas[old.parent] -= old.tree_ns  # it was counted while it lived; the parent has just inherited it
        return {pid: max(0, delta) for pid, delta in deltas.items()}

    def _place(self, process: Process) -> tuple[str, bool]:
        key = (process.pid, process.start)
        place, looks = self._places.get(key, (("", False), 0))
        if looks < _YOUNG_LOOKS:
            path, in_v2 = cgroups.path_of(self._proc, process.pid)
            place = (path, in_v2 and self._root is not None)
            self._places[key] = (place, looks + 1)
        return place

    def _alive(self, tasks: Sequence[TaskRoot], belongs: Mapping[int, tuple[str, ...]]) -> dict[str, int]:
        alive = dict.fromkeys((task.id for task in tasks), 0)
        for ids in belongs.values():
            for id_ in ids:
                alive[id_] += 1
        for task in tasks:
            if task.cgroup and self._root is not None:
                alive[task.id] = int(cgroups.is_populated(Path(f"{self._root}{task.cgroup}")))
        return alive


def _follow(
    pid: int,
    processes: Mapping[int, Process],
    roots: Mapping[int, list[TaskRoot]],
    stays: Mapping[tuple[int, int], tuple[str, ...]],
    found: dict[int, tuple[str, ...]],
) -> None:
    """Find a process's tasks by going up to the nearest root, and note them for all on the way."""
    way: list[int] = []
    tasks: tuple[str, ...] = ()
    at = pid
    while at in processes and at not in way and not tasks:
        way.append(at)
        tasks = found.get(at) or _innermost(roots.get(at, ()))
        at = processes[at].parent
    if not tasks:  # no root above: an orphan stays where it was
        for depth, at in enumerate(way):
            if tasks := stays.get((at, processes[at].start), ()):
                way = way[: depth + 1]
                break
    found.update(dict.fromkeys(way, tasks) if tasks else {})


def _innermost(tasks: Sequence[TaskRoot]) -> tuple[str, ...]:
    around = {ancestor for task in tasks for ancestor in task.ancestors}
    return tuple(sorted(task.id for task in tasks if task.id not in around))


def _outer(path: str, among: Mapping[str, object]) -> str | None:
    """Return the nearest path around ``path`` that is in ``among``."""
    while path := path.rpartition("/")[0]:
        if path in among:
            return path
    return None


def _task_in(path: str) -> str | None:
    for name in reversed(path.split("/")):
        if name.startswith(TASK_PREFIX):
            return name.removeprefix(TASK_PREFIX)
    return None
