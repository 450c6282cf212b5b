"""What tasks with a model did here, from the ledger: pieces of work for ``measured``, by day.

Energy is the report's, so that what a variant is said to cost and what a report says of it come from the same sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_collector.models.measured import Piece
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.build import build_report
from evenwatt_collector.report.model import By

if TYPE_CHECKING:
    from evenwatt_collector.report.build import Made
    from evenwatt_collector.report.model import Row
    from evenwatt_collector.storage import Connection

DAY_S: Final = 86_400
DAYS: Final = 28
"""So many days are read one by one."""
OLDER: Final = (28, 56)
"""Before them, so many days as one piece each, for what has not run lately."""

Labels = dict[str, tuple[str, str]]
"""Model and phase by the id of a task."""


def read_pieces(connection: Connection, made: Made, *, recent: bool = False) -> dict[int, list[Piece]]:
    """Return what tasks with a model did in the last twelve weeks, by the day with which each stretch begins.

    Args:
        connection: To read from.
        made: Now, and whose reports these are.
        recent: Of yesterday and today only: what came late before that can wait.

    Raises:
        DatabaseError: it cannot be read.
    """
    today = int(made.now_s // DAY_S)
    begins = [today - sum(OLDER) - DAYS + 1, today - OLDER[0] - DAYS + 1, *range(today - DAYS + 1, today + 1)]
    ends = [*begins[1:], today + 1]
    asked = [*zip(begins, ends, strict=True)][-2 if recent else 0 :]
    worked = _worked_days(connection, asked[0][0])
    labels = task_labels(connection)
    found: dict[int, list[Piece]] = {}
    for begin, end in asked:
        found[begin] = []
        if any(begin <= day < end for day in worked):
            query = ReportQuery(
                by=By.TASK, start_s=float(begin * DAY_S), end_s=min(float(end * DAY_S), made.now_s), timezone="UTC"
            )
            rows = build_report(connection, query, made).rows
            found[begin] = [piece for row in rows if (piece := _piece(row, labels, query.end_s - 1)) is not None]
    return found


def task_labels(connection: Connection) -> Labels:
    """Return model and phase of every task that names a model, by the task's id."""
    rows = connection.rows("SELECT task, model, phase FROM owner WHERE task <> '' AND model <> ''")
    return {task: (model, phase) for task, model, phase in rows}


def task_of(row: Row) -> str:
    """Return the id of the task that a row by task is of; empty for the rest."""
    return row.name.rpartition(" ")[2] if row.node else ""


def _worked_days(connection: Connection, first_day: int) -> set[int]:
    rows = connection.rows(
        "SELECT DISTINCT work.hour FROM work JOIN owner ON owner.id = work.owner "
        "WHERE work.hour >= ? AND work.unit <> '' AND owner.model <> ''",
        (first_day * 24,),
    )
    return {int(hour) // 24 for (hour,) in rows}


def _piece(row: Row, labels: Labels, last_s: float) -> Piece | None:
    task = task_of(row)
    if task not in labels:
        return None
    label, phase = labels[task]
    figures = row.figures
    return Piece(
        label=label,
        phase=phase,
        run=task,
        zone=row.zone,
        node=row.node,
        end_s=last_s,
        energy_j=figures.energy_j,
        idle_j=figures.idle_j,
        metered_j=figures.measured_j + figures.integrated_j,
        duration_s=figures.duration_s,
        units=figures.units,
    )
