"""Tasks: named pieces of work, their energy and their units. Pure.

::

    (start) --> RUNNING --end------------------> ENDED --in the ledger--> forgotten
                   |-----no process left-------> GONE ---in the ledger--> forgotten

A task's *own* energy is what no task inside it used; its *whole* energy includes those. Rows of the account carry own
energy, so that they sum to the node; people are shown the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from evenwatt_agent.attribution import Owner, Part
from evenwatt_agent.cpu_use import TaskRoot
from evenwatt_wire import TaskEnergy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_TASKS: Final = 128
"""Tasks that may run on a node at once: what fits into one ledger record with everything else."""
_GONE_NS: Final = 5_000_000_000
"""A task without a process for so long is gone: its first process may be about to start, or its runner to say so."""


class TaskError(ValueError):
    """A request about a task that cannot be granted; the text says why and what would help."""


class TaskState(StrEnum):
    """Named states of a task."""

    RUNNING = "running"
    ENDED = "ended"
    GONE = "gone"
    """Its processes ended or were killed, and nobody said ``end``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What a task is, as it was said at its start."""

    id: str
    name: str
    workload: str = ""
    model: str = ""
    phase: str = ""
    team: str = ""
    parent: str = ""
    """Task around it; empty for none."""
    uid: int = 0
    """Who started it, and may end it."""
    pid: int
    start: int
    cgroup: str = ""
    reserve: float = 0.0
    """Share of the node's processors set aside for it, whose idle energy it carries."""


@dataclass(slots=True)
class Task:
    """One task and its account so far."""

    spec: TaskSpec
    started_ns: int
    started_wall_ms: int
    own: Part = field(default_factory=Part)
    whole: Part = field(default_factory=Part)
    peak_w: float = 0.0
    units: dict[str, float] = field(default_factory=dict)
    state: TaskState = TaskState.RUNNING
    last_ns: int = 0
    """Up to when it is accounted for."""
    silent_ns: int = 0
    """Since when it has had no process; 0 while it has."""

    def summary(self) -> dict[str, Any]:
        """What people and programs are told; joules per unit for each unit that was reported."""
        energy_j = self.whole.energy_uj * 1e-6
        duration_s = max(0, self.last_ns - self.started_ns) * 1e-9
        return {
            "id": self.spec.id,
            "name": self.spec.name,
            "workload": self.spec.workload,
            "model": self.spec.model,
            "phase": self.spec.phase,
            "team": self.spec.team,
            "parent": self.spec.parent,
            "state": self.state.value,
            "own_cgroup": bool(self.spec.cgroup),
            "duration_s": duration_s,
            "cpu_s": self.whole.cpu_ns * 1e-9,
            "energy_j": energy_j,
            "cpu_energy_j": self.whole.cpu_uj * 1e-6,
            "gpu_energy_j": self.whole.gpu_uj * 1e-6,
            "idle_energy_j": self.whole.idle_uj * 1e-6,
            "own_energy_j": self.own.energy_uj * 1e-6,
            "mean_power_w": energy_j / duration_s if duration_s > 0 else 0.0,
            "peak_power_w": self.peak_w,
            "units": dict(self.units),
            "energy_j_per_unit": {unit: energy_j / amount for unit, amount in self.units.items() if amount > 0},
        }


class TaskBook:
    """Every task of this node that runs, or has ended since the last ledger record."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}

    def start(self, spec: TaskSpec, now_ns: int, wall_ms: int) -> Task:
        """Begin a task.

        Raises:
            TaskError: it runs already, its parent does not, or there are too many.
        """
        if spec.id in self._tasks:
            raise TaskError(f"task {spec.id} exists already; choose another id")
        if spec.parent and spec.parent not in self._tasks:
            raise TaskError(f"no task {spec.parent} to be the parent; start it first, or leave the parent out")
        if len(self._tasks) >= MAX_TASKS:
            raise TaskError(f"{MAX_TASKS} tasks run on this node, which is the most; end one, or measure larger pieces")
        task = self._tasks[spec.id] = Task(spec, now_ns, wall_ms, last_ns=now_ns)
        return task

    def get(self, id_: str, uid: int) -> Task:
        """Return a task that ``uid`` may speak for.

        Raises:
            TaskError: there is none, or it is somebody else's.
        """
        task = self._tasks.get(id_)
        if task is None:
            raise TaskError(f"no task {id_} on this node; it may have ended, or its processes have")
        if uid not in (0, task.spec.uid):
            raise TaskError(f"task {id_} was started by another user")
        return task

    def count(self, id_: str, uid: int, amount: float, unit: str) -> Task:
        """Add units of work to a task and to those around it."""
        task = self.get(id_, uid)
        for each in [task, *self._around(task)]:
            each.units[unit] = each.units.get(unit, 0.0) + amount
        return task

    def end(self, id_: str, uid: int) -> Task:
        """End a task; it stays until the next ledger record has it."""
        task = self.get(id_, uid)
        if task.state is TaskState.RUNNING:
            task.state = TaskState.ENDED
        return task

    def roots(self) -> list[TaskRoot]:
        """Return where the processes of each running task are."""
        return [
            TaskRoot(
                task.spec.id,
                task.spec.pid,
                task.spec.start,
                task.spec.cgroup,
                frozenset(around.spec.id for around in self._around(task)),
            )
            for task in self._tasks.values()
            if task.state is TaskState.RUNNING
        ]

    def reserved(self) -> dict[Owner, float]:
        """Return the share of the processors that each running task has set aside."""
        return {
            Owner("task", task.spec.id): task.spec.reserve
            for task in self._tasks.values()
            if task.spec.reserve > 0 and task.state is TaskState.RUNNING
        }

    def account(self, parts: Mapping[Owner, Part], seconds: float, now_ns: int) -> None:
        """Add an interval: each task's part to its own energy, and to the whole energy of all around it."""
        wholes: dict[str, Part] = {}
        for task in self._tasks.values():
            if task.state is TaskState.RUNNING:
                task.last_ns = now_ns
            part = parts.get(Owner("task", task.spec.id))
            if part is None:
                continue
            task.own.add(part)
            for each in [task, *self._around(task)]:
                wholes.setdefault(each.spec.id, Part()).add(part)
        for id_, part in wholes.items():
            task = self._tasks[id_]
            task.whole.add(part)
            if seconds > 0:
                task.peak_w = max(task.peak_w, part.energy_uj * 1e-6 / seconds)

    def notice(self, alive: Mapping[str, int], now_ns: int) -> list[Task]:
        """Take how many processes each task has; return those that have just been found gone."""
        gone = []
        for id_, count in alive.items():
            task = self._tasks.get(id_)
            if task is None or task.state is not TaskState.RUNNING:
                continue
            task.silent_ns = 0 if count else task.silent_ns or now_ns
            if task.silent_ns and now_ns - task.silent_ns >= _GONE_NS:
                task.state = TaskState.GONE
                gone.append(task)
        return gone

    def rows(self) -> list[TaskEnergy]:
        """Return a ledger row for each task, and forget those that have ended: the ledger has them now."""
        rows = [_row(task) for task in self._tasks.values()]
        around = {outer.spec.id for task in self.running() for outer in self._around(task)}
        self._tasks = {i: t for i, t in self._tasks.items() if t.state is TaskState.RUNNING or i in around}
        return rows

    def running(self) -> list[Task]:
        """Return the tasks that run."""
        return [task for task in self._tasks.values() if task.state is TaskState.RUNNING]

    def all(self) -> list[Task]:
        """Return the tasks that run, and those that have ended since the last ledger record."""
        return list(self._tasks.values())

    def restore(self, tasks: Iterable[Task]) -> None:
        """Go on with the tasks of an earlier run of the agent."""
        self._tasks = {task.spec.id: task for task in tasks}

    def _around(self, task: Task) -> list[Task]:
        """Return the tasks around one, from the inside outwards."""
        found: list[Task] = []
        at = self._tasks.get(task.spec.parent)
        while at is not None and at not in found and at is not task:
            found.append(at)
            at = self._tasks.get(at.spec.parent)
        return found


def _row(task: Task) -> TaskEnergy:
    spec = task.spec
    return TaskEnergy(
        spec.id,
        spec.name,
        spec.workload,
        spec.model,
        spec.phase,
        spec.parent,
        task.state.value,
        task.started_wall_ms,
        max(0, task.last_ns - task.started_ns) * 1e-9,
        task.own.energy_uj * 1e-6,
        task.whole.energy_uj * 1e-6,
        task.whole.gpu_uj * 1e-6,
        task.peak_w,
        list(task.units.items()),
        spec.team,
    )
