"""Joins what was drawn with who ran: the shell around ``attribution``, ``idle``, ``cpu_use`` and ``tasks``.

A step reads counters and processes at the same moment, in a thread of its own since a large ``/proc`` takes
milliseconds, and divides the energy since the last step. Steps are taken once a period, before each ledger record, and
where a task begins or ends, so that its edges are exact. Callers who ask at the same time share one step. On a machine
with so many processes that looking would cost more than a hundredth of a processor, the period grows.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_agent import cgroups
from evenwatt_agent.attribution import RESIDUALS, UNATTRIBUTED, Owner, Part, Pool, attribute, top
from evenwatt_agent.cpu_use import CpuWatch, Look, Memory
from evenwatt_agent.gpu_use import BoardShare, by_owner
from evenwatt_agent.idle import IdleModel
from evenwatt_agent.tasks import Task, TaskBook
from evenwatt_daemon import get_logger
from evenwatt_wire import PartEnergy, TaskEnergy, WorkPower
from evenwatt_wire.messages import MAX_WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evenwatt_agent.gpu_use import GpuWatch
    from evenwatt_agent.meter import Batch
    from evenwatt_agent.settings import AttributionSettings

CPU_POOL: Final = "cpu"
"""The pool of everything that is not a GPU board."""
_COST_SHARE: Final = 0.01
_MEMORY_VERSION: Final = 1


class Accounting:
    """Attribution and tasks of one node.

    Args:
        settings: Their settings.
        read: Reads the fast counters now; called in the accounting thread.
        fold: Takes those readings; called in the event loop.
        pools: Returns each pool's cumulative energy in microjoules, as of the last fold.
        gpus: Watches the boards, called in the accounting thread; None without boards.
        memory: What :meth:`memory` of an earlier run on the same kernel boot returned.
    """

    def __init__(
        self,
        settings: AttributionSettings,
        read: Callable[[], Batch],
        fold: Callable[[Batch], None],
        pools: Callable[[], Mapping[str, int]],
        memory: str = "",
        gpus: GpuWatch | None = None,
        proc: Path = Path("/proc"),
    ) -> None:
        self._gpus, self._proc = gpus, proc
        self._settings, self._read, self._fold, self._pools = settings, read, fold, pools
        self._log: Any = get_logger("accounting")
        self._processors = os.cpu_count() or 1
        self.tasks = TaskBook()
        self._idle = {CPU_POOL: IdleModel(settings.cpu_idle_w)}
        self._root = cgroups.find_root(proc)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="accounting")
        self._accounted: dict[str, int] = {}
        self._parts: dict[Owner, Part] = {}
        self._latest: tuple[dict[Owner, Part], float] = ({}, 0.0)
        self._work: list[WorkPower] = []
        self._work_of: dict[Owner, Part] = self._latest[0]
        """The parts that ``_work`` was made of."""
        self._last_ns = 0
        """When the last step was; 0 before the first."""
        self._own_cpu_ns = time.process_time_ns()
        self._own_uj = self._own_taken_uj = 0
        self.own_w = 0.0
        """What looking costs: this process's share of dynamic power, over the latest step."""
        self._watch = self._remember(memory)
        self._running: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._trouble = ""
        self._pause_s = settings.period_s
        self._gone: Callable[[Task], None] = _nobody

    @property
    def root(self) -> Path | None:
        """Where cgroup v2 is mounted."""
        return self._root

    async def run(self, gone: Callable[[Task], None]) -> None:
        """Take a step each period until cancelled; ``gone`` is told of tasks whose processes have all ended."""
        self._gone = gone
        while True:
            await self.step()
            await asyncio.sleep(self._pause_s)

    async def step(self) -> None:
        """Account for everything up to now. Callers that come while a step runs share the next one."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._step(), name="accounting-step")
            await asyncio.shield(self._running)
            return
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.create_task(self._step_after(self._running), name="accounting-next")
        await asyncio.shield(self._waiting)

    def take(self, largest: int) -> tuple[list[PartEnergy], list[TaskEnergy], float]:
        """Return the parts since the last call, the tasks, and the agent's own joules, and begin anew.

        The parts sum to the pools' energy since the last call: what no step has divided yet is ``unattributed``.
        """
        rest_uj = self._rest_uj()
        if rest_uj:
            self._parts.setdefault(UNATTRIBUTED, Part()).add(Part(cpu_uj=rest_uj))
        kept = top(self._parts, largest)
        rows = [
            PartEnergy(
                owner.kind,
                owner.name,
                part.cpu_uj * 1e-6,
                part.gpu_uj * 1e-6,
                part.idle_uj * 1e-6,
                part.cpu_ns * 1e-9,
            )
            for owner, part in kept.items()
            if part.energy_uj or part.cpu_ns
        ]
        self._parts = {}
        own_uj, self._own_taken_uj = self._own_uj - self._own_taken_uj, self._own_uj
        return rows, self.tasks.rows(), own_uj * 1e-6

    def work(self) -> list[WorkPower]:
        """Return who drew most in the latest step: tasks by their workload, groups by name; no residual rows."""
        parts, seconds = self._latest
        if self._work_of is not parts:
            self._work_of = parts
            labels = {task.spec.id: task.spec for task in self.tasks.all()}
            power_w: dict[tuple[str, str], float] = {}
            for owner, part in parts.items():
                spec = labels.get(owner.name) if owner.kind == "task" else None
                key = ("workload", spec.workload) if spec and spec.workload else (owner.kind, owner.name)
                if spec and not spec.workload:
                    key = ("task", spec.name)
                if owner not in RESIDUALS and part.energy_uj > 0 and seconds > 0:
                    power_w[key] = power_w.get(key, 0.0) + part.energy_uj * 1e-6 / seconds
            largest = sorted(power_w, key=lambda key: -power_w[key])[:MAX_WORK]
            self._work = [WorkPower(*key, power_w[key]) for key in largest]
        return self._work

    def now(self) -> dict[str, Any]:
        """Return who drew what in the latest step, for the local socket: the largest first, in watts."""
        parts, seconds = self._latest
        kept = top(parts, self._settings.top)
        rows = [
            {"kind": owner.kind, "name": owner.name, "power_w": part.energy_uj * 1e-6 / seconds}
            for owner, part in sorted(kept.items(), key=lambda row: -row[1].energy_uj)
            if seconds > 0
        ]
        idle = {
            pool: {"power_w": i.power_w, "basis": i.basis, "wall_ms": i.wall_ms}
            for pool, model in self._idle.items()
            for i in [model.idle()]
        }
        return {
            "parts": rows,
            "idle": idle,
            "tasks": [task.summary() for task in self.tasks.all()],
            "cost_w": self.own_w,
            "trouble": self._trouble,
        }

    def memory(self) -> str:
        """Return what a later run of the agent needs to go on from the last step."""
        idle = {pool: model.dump() for pool, model in self._idle.items()}
        memory = _Memory(_MEMORY_VERSION, self._last_ns, self.tasks.running(), idle, self._watch.memory())
        return msgspec.json.encode(memory).decode()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    # --- one step -------------------------------------------------------------------------------------------------

    async def _step_after(self, running: asyncio.Task[None]) -> None:
        await asyncio.shield(running)
        self._running = asyncio.create_task(self._step(), name="accounting-step")
        await asyncio.shield(self._running)

    async def _step(self) -> None:
        roots = self.tasks.roots()

        def look() -> tuple[Batch, Look | str, dict[str, BoardShare]]:
            batch = self._read()
            try:
                seen = self._watch.look(roots)
            except (OSError, ValueError) as error:
                return batch, str(error), {}
            boards = self._gpus.look(rest=not roots) if self._gpus is not None else {}
            return batch, seen, {name: by_owner(board, self._watch.owner_of) for name, board in boards.items()}

        batch, seen, gpus = await asyncio.get_running_loop().run_in_executor(self._thread, look)
        self._fold(batch)
        if isinstance(seen, str):
            self._say(seen, "energy counts as unattributed")  # and stays with its pools until a look succeeds
            return
        self._say(self._gpus.trouble if self._gpus is not None else "", "the board's energy counts as system and idle")
        self._pause_s = max(self._settings.period_s, seen.cost_ns * 1e-9 / _COST_SHARE)
        self._divide(seen, gpus)

    def _divide(self, seen: Look, gpus: Mapping[str, BoardShare]) -> None:
        totals = dict(self._pools())
        first, seconds = self._last_ns == 0, (seen.t_ns - self._last_ns) * 1e-9
        self._last_ns = seen.t_ns
        deltas = {name: uj - self._accounted.get(name, 0) for name, uj in totals.items()}
        self._accounted = totals
        if first:  # nobody was watched before it
            self._parts.setdefault(UNATTRIBUTED, Part()).add(Part(cpu_uj=sum(deltas.values())))
            return
        pools = [
            self._cpu_pool(uj, seconds, seen) if name == CPU_POOL else self._gpu_pool(name, uj, seconds, gpus.get(name))
            for name, uj in deltas.items()
        ]
        parts = attribute(pools)
        self._own(pools[0], seconds, seen)
        for owner, part in parts.items():
            self._parts.setdefault(owner, Part()).add(part)
        self._latest = (parts, seconds)
        self.tasks.account(parts, seconds, seen.t_ns)
        for task in self.tasks.notice(seen.alive, seen.t_ns):
            if task.spec.cgroup:  # its runner was killed and cannot tidy up
                cgroups.remove(Path(f"{self._root}{task.spec.cgroup}"))
            self._gone(task)

    def _cpu_pool(self, energy_uj: int, seconds: float, seen: Look) -> Pool:
        used = seen.busy_ns * 1e-9 / seconds / self._processors if seconds > 0 else None
        reserved = seen.reserved | self.tasks.reserved()
        reserved |= {Owner(*name.partition("/")[::2]): share for name, share in self._settings.reserved.items()}
        idle_uj = self._idle_uj(CPU_POOL, energy_uj, seconds, used, self._settings.cpu_idle_w)
        return Pool(energy_uj, idle_uj, seen.use, seen.busy_ns, reserved)

    def _gpu_pool(self, name: str, energy_uj: int, seconds: float, share: BoardShare | None) -> Pool:
        """A board's energy goes by its processes' use of it; who has it alone carries its idle energy too."""
        share = share or BoardShare()
        idle_uj = self._idle_uj(name, energy_uj, seconds, share.utilisation, self._settings.gpu_idle_w)
        return Pool(energy_uj, idle_uj, share.use, share.whole, share.alone, gpu=True)

    def _idle_uj(
        self, name: str, energy_uj: int, seconds: float, utilisation: float | None, given_w: float | None
    ) -> int:
        model = self._idle.setdefault(name, IdleModel(given_w))
        if seconds > 0 and utilisation is not None:
            model.observe(utilisation, energy_uj * 1e-6 / seconds, min(seconds, 10.0), time.time_ns() // 1_000_000)
        return round(model.idle().power_w * seconds * 1e6)

    def _own(self, pool: Pool, seconds: float, seen: Look) -> None:
        cpu_ns = time.process_time_ns()
        own_ns, self._own_cpu_ns = cpu_ns - self._own_cpu_ns, cpu_ns
        whole_ns = max(seen.busy_ns, sum(seen.use.values()), own_ns, 1)
        own_uj = (pool.energy_uj - min(pool.idle_uj, pool.energy_uj)) * own_ns // whole_ns
        self._own_uj += own_uj
        self.own_w = own_uj * 1e-6 / seconds if seconds > 0 else 0.0

    def _rest_uj(self) -> int:
        totals = dict(self._pools())
        rest_uj = sum(uj - self._accounted.get(name, 0) for name, uj in totals.items())
        self._accounted = totals
        return rest_uj

    def _say(self, trouble: str, so: str) -> None:
        if trouble and trouble != self._trouble:
            self._log.warning(f"cannot see who runs; {so}", why=trouble)
        self._trouble = trouble

    def _remember(self, memory: str) -> CpuWatch:
        earlier: Memory | None = None
        try:
            known = _MEMORY.decode(memory) if memory else None
            if known is not None and known.version == _MEMORY_VERSION:
                self.tasks.restore(known.tasks)
                for pool, rows in known.idle.items():
                    self._idle.setdefault(pool, IdleModel(self._settings.gpu_idle_w)).restore(rows)
                earlier = known.watch
                self._last_ns = known.last_ns
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            self._log.warning("what the last run knew of tasks cannot be read; they begin anew", why=repr(error))
        return CpuWatch(self._proc, self._root, self._processors, earlier)


def _nobody(_task: Task) -> None:
    """Nobody listens before ``run``."""


class _Memory(msgspec.Struct):
    version: int
    last_ns: int
    tasks: list[Task]
    idle: dict[str, list[list[float]]]
    watch: Memory


_MEMORY: Final = msgspec.json.Decoder(_Memory)
