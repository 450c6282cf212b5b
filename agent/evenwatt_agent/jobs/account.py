"""The energy of runs: each is a task of this node, whose id is the run's."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from evenwatt_agent import clocks
from evenwatt_agent.tasks import Task, TaskError, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_agent.accounting import Accounting
    from evenwatt_agent.jobs.book import RunRecord

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ROOT: Final = 0
"""A run's task is root's: what runs in it may not end it."""


class RunAccount:
    """Begins, reads and ends the tasks of runs. Without attribution there is nothing to count, and all is 0.

    Args:
        accounting: The node's account; None where attribution is off.
        changed: Called when a task has begun or ended.
    """

    def __init__(self, accounting: Accounting | None, changed: Callable[[Task], None]) -> None:
        self._accounting, self._changed = accounting, changed
        self._ended: set[str] = set()

    def knows(self, run: str) -> bool:
        """Whether a run is counted already, or cannot be."""
        return (
            self._accounting is None
            or run in self._ended
            or any(task.spec.id == run for task in self._accounting.tasks.all())
        )

    async def begin(self, record: RunRecord, reserve: float, pid: int, start: int) -> None:
        """Count a run from now on; where there is no room for another task it runs uncounted."""
        if self._accounting is None:
            return
        order = record.order
        await self._accounting.step()
        spec = TaskSpec(
            id=record.id,
            name=_plain(order.name) or order.template,
            workload=_plain(order.workload),
            model=_plain(order.model),
            phase=_plain(order.phase),
            team=_plain(order.team),
            uid=_ROOT,
            pid=pid,
            start=start,
            cgroup=record.cgroup,
            reserve=reserve,
        )
        record.energy_base_j, record.units_base = record.energy_j, dict(record.units)
        try:
            self._changed(self._accounting.tasks.start(spec, time.monotonic_ns(), clocks.wall_ms()))
        except TaskError:
            self._ended.add(record.id)

    def read(self, record: RunRecord) -> None:
        """Bring a record's energy and units up to the latest step."""
        task = self._task(record.id)
        if task is None:
            return
        record.energy_j = max(record.energy_j, record.energy_base_j + task.whole.energy_uj * 1e-6)
        record.units = {
            unit: record.units_base.get(unit, 0.0) + task.units.get(unit, 0.0)
            for unit in [*record.units_base, *(u for u in task.units if u not in record.units_base)]
        }

    async def end(self, record: RunRecord) -> None:
        """Count a run up to now, and no longer."""
        task = self._task(record.id)
        if self._accounting is None or task is None:
            return
        await self._accounting.step()
        self._ended.add(record.id)
        self.read(record)
        try:
            self._changed(self._accounting.tasks.end(record.id, _ROOT))
        except TaskError:  # it was found gone, and the ledger has it
            return

    def _task(self, run: str) -> Task | None:
        if self._accounting is None:
            return None
        return next((task for task in self._accounting.tasks.all() if task.spec.id == run), None)


def _plain(label: str) -> str:
    return _CONTROL.sub(" ", label).strip()[:120]
