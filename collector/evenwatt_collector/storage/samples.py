"""What the ledger says of how long workloads take and what they draw: jobs that are done, tasks that have ended."""

from __future__ import annotations

from array import array
from math import fsum
from typing import TYPE_CHECKING, Final

import msgspec

from evenwatt_collector.carbon.shares import HOUR_S
from evenwatt_collector.jobs.learned import Sample
from evenwatt_collector.jobs.model import JobState
from evenwatt_collector.storage.hours import OWNER
from evenwatt_collector.storage.jobs import ended_records, open_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evenwatt_collector.jobs.model import JobRecord, Run
    from evenwatt_collector.storage.connection import Connection

DAYS: Final = 90.0
"""How far back it is looked; hours slot by slot are kept for longer."""
_MOST: Final = 2_000
"""Jobs, and as many tasks: the latest."""


def samples(connection: Connection, now_s: float, days: float = DAYS) -> list[Sample]:
    """Return finished work of the last ``days``: jobs with all their runs, and tasks that belong to no job.

    Raises:
        DatabaseError: the database cannot be read.
    """
    since_ms = int((now_s - 86_400 * days) * 1000)
    runs: set[str] = set()
    found = list(_of_jobs(connection, since_ms, runs))
    return [*found, *_of_tasks(connection, since_ms, runs)]


def _of_jobs(connection: Connection, since_ms: int, runs: set[str]) -> Iterator[Sample]:
    for record in ended_records(connection, since_ms, _MOST):
        runs |= {run.id for run in record.runs}
        # On several slots at once a second of a run is more than a second of work.
        if record.state is JobState.DONE and record.runs and len(record.spec.speedup) == 1:
            yield _of_job(connection, record)
    for record in open_records(connection):
        runs |= {run.id for run in record.runs}


def _of_job(connection: Connection, record: JobRecord) -> Sample:
    units: dict[str, float] = {}
    for run in record.runs:
        for unit, amount in run.units.items():
            units[unit] = units.get(unit, 0.0) + amount
    return Sample(
        workload=record.workload,
        ended_s=record.ended_s or 0.0,
        seconds=fsum(run.duration_s for run in record.runs),
        energy_j=_energy_of_runs(connection, record.runs),
        units=units,
        full_power=all(run.cap_w is None for run in record.runs),
    )


def _energy_of_runs(connection: Connection, runs: list[Run]) -> float:
    """Return the dynamic energy of runs; 0 if the ledger does not have it of all of them."""
    energies = []
    for run in runs:
        rows = connection.rows(
            "SELECT task.owner, task.node, node.zone, task.started_ms, task.duration_s FROM task "
            "JOIN owner ON owner.id = task.owner JOIN node ON node.id = task.node WHERE owner.task = ?",
            (run.id,),
        )
        energies += [_dynamic_j(connection, *row) for row in rows]
    return fsum(energies) if len(energies) == len(runs) and all(energies) else 0.0


def _of_tasks(connection: Connection, since_ms: int, runs: set[str]) -> Iterator[Sample]:
    rows = connection.rows(
        "SELECT task.owner, task.node, node.zone, task.started_ms, task.duration_s, task.units, owner.workload, "
        "owner.task FROM task JOIN owner ON owner.id = task.owner JOIN node ON node.id = task.node "
        "WHERE task.state = 'ended' AND owner.workload <> '' AND task.started_ms >= ? AND task.duration_s > 0 "
        "ORDER BY task.started_ms DESC LIMIT ?",
        (since_ms, _MOST),
    )
    for owner, node, zone, started_ms, duration_s, units, workload, task in rows:
        if task not in runs:
            yield Sample(
                workload=workload,
                ended_s=started_ms / 1000 + duration_s,
                seconds=duration_s,
                energy_j=_dynamic_j(connection, owner, node, zone, started_ms, duration_s),
                units=msgspec.json.decode(units, type=dict[str, float]),
            )


def _dynamic_j(connection: Connection, owner: int, node: int, zone: int, started_ms: int, duration_s: float) -> float:
    """Return the energy of a task above its node's idle power, from the hours that it ran in."""
    first = started_ms // (HOUR_S * 1000)
    last = int(started_ms + 1000 * duration_s) // (HOUR_S * 1000) + 1
    rows = connection.rows(
        "SELECT slots FROM hour WHERE cut = ? AND zone = ? AND hour >= ? AND hour <= ? AND node = ? AND owner = ?",
        (OWNER, zone, first, last, node, owner),
    )
    energies = []
    for (blob,) in rows:
        slots = array("d", bytes(blob))
        energies.append(fsum(slots[: len(slots) // 2]))
    return fsum(energies)
