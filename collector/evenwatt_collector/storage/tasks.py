"""Runs of tasks: what they are, how long they ran and what work they did, by the hour.

A record tells a task's work since it began; what is booked is the growth since the record before, in the hour in which
the record ends. A record that comes late tells nothing new: later ones have told more already.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.shares import HOUR_S, Owner, owner_of
from evenwatt_collector.storage.hours import LATE, recorded_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_collector.storage.connection import Connection
    from evenwatt_wire import Ledger
    from evenwatt_wire.messages import TaskEnergy

DURATION: Final = ""
"""Unit under which the time that a task ran is booked, in seconds."""
_TASKS_KEPT: Final = 50_000
_PUT: Final = (
    "INSERT INTO task (owner, node, started_ms, state, boot, seq, duration_s, peak_w, units) VALUES "
    "(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (owner) DO UPDATE SET state = excluded.state, boot = excluded.boot, "
    "seq = excluded.seq, "
    "duration_s = excluded.duration_s, peak_w = excluded.peak_w, units = excluded.units"
)
_PUT_WORK: Final = (
    "INSERT INTO work (hour, zone, node, owner, unit, recorded_ms, amount) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (hour, zone, node, owner, unit, recorded_ms) DO UPDATE SET amount = work.amount + excluded.amount"
)


@dataclass(slots=True)
class _Run:
    node: int
    started_ms: int
    state: str = "running"
    boot: str = ""
    seq: int = 0
    """Of the record that told of it last."""
    duration_s: float = 0.0
    peak_w: float = 0.0
    units: dict[str, float] = field(default_factory=dict)


class TaskWork:
    """The tasks of one writer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._runs: dict[int, _Run] = {}
        self._changed: set[int] = set()
        self._work: dict[tuple[int, int, int, int, str, int], float] = {}

    def book(
        self, record: Ledger, place: tuple[int, int], number: Callable[[Owner], int], end_ms: int, arrived_ms: int
    ) -> None:
        """Take what a record says of its tasks; ``place`` is zone and node, ``number`` gives owners their numbers."""
        zone, node = place
        hour = max(0, end_ms - 1) // (HOUR_S * 1000)
        for task in record.tasks:
            owner = number(owner_of(task))
            run = self._run(owner, node, task)
            if record.boot == run.boot and record.seq <= run.seq:
                continue
            done = {**dict(task.units), DURATION: task.duration_s}
            before = {**run.units, DURATION: run.duration_s}
            for unit, amount in done.items():
                grown = amount - before.get(unit, 0.0)
                if grown > 0:
                    key = (hour, zone, node, owner, unit, recorded_ms(hour, arrived_ms))
                    self._work[key] = self._work.get(key, 0.0) + grown
            run.state, run.boot, run.seq = task.state, record.boot, record.seq
            run.duration_s = max(run.duration_s, task.duration_s)
            run.peak_w, run.units = max(run.peak_w, task.peak_w), run.units | dict(task.units)
            self._changed.add(owner)

    def flush(self, mark_ms: int) -> None:
        """Write what has changed, within the caller's transaction; late work is recorded as of ``mark_ms``."""
        self._connection.many(_PUT, (self._values(owner) for owner in sorted(self._changed)))
        self._connection.many(
            _PUT_WORK,
            [(*key[:5], mark_ms if key[5] == LATE else key[5], amount) for key, amount in self._work.items()],
        )
        self._changed.clear()
        self._work.clear()
        if len(self._runs) > _TASKS_KEPT:
            self._runs.clear()

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._runs.clear()
        self._changed.clear()
        self._work.clear()

    def _run(self, owner: int, node: int, task: TaskEnergy) -> _Run:
        run = self._runs.get(owner)
        if run is None:
            rows = self._connection.rows(
                "SELECT node, started_ms, state, boot, seq, duration_s, peak_w, units FROM task WHERE owner = ?",
                (owner,),
            )
            run = _Run(node, task.started_wall_ms)
            if rows:
                of_node, started_ms, state, boot, seq, duration_s, peak_w, units = rows[0]
                run = _Run(of_node, started_ms, state, boot, seq, duration_s, peak_w, json.loads(units))
            self._runs[owner] = run
        return run

    def _values(self, owner: int) -> tuple[object, ...]:
        run = self._runs[owner]
        return (
            owner, run.node, run.started_ms, run.state, run.boot, run.seq, run.duration_s, run.peak_w,
            json.dumps(run.units),
        )  # fmt: skip
