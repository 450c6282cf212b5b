"""Jobs at a glance, as they are published for whoever listens. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.book import active
from evenwatt_wire import JobLine, JobList

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from evenwatt_collector.jobs.model import JobRecord

_MOST: Final = 256
_SHOWN: Final = 50
"""In the status document; the rest is in ``/api/v1/jobs``."""
_TEXT: Final = 400


def job_list(records: Iterable[JobRecord], zone: str, epoch: int, refused: Mapping[str, str]) -> JobList:
    """Return a zone's jobs, those that are open first; its time is left at 0, for a list of the same is the same.

    Args:
        records: All jobs.
        zone: Which zone.
        epoch: Of this collector.
        refused: Jobs that were asked for and not taken, with the reason: by id, told in every zone.
    """
    here = [record for record in records if zone in _zones(record)]
    here.sort(key=lambda record: (not record.open, -(record.ended_s or record.submitted_s), record.id))
    turned_away = [
        JobLine(id=id_, name=id_, state="refused", done_pct=0, why=why[:_TEXT]) for id_, why in refused.items()
    ]
    lines = turned_away[:_MOST] + [_line(record) for record in here[: _MOST - len(turned_away[:_MOST])]]
    return JobList(zone=zone, wall_ms=0, epoch=epoch, jobs=lines)


def job_rows(records: Iterable[JobRecord]) -> list[dict[str, Any]]:
    """Return jobs for the status document, those that are open first."""
    ordered = sorted(records, key=lambda record: (not record.open, -(record.ended_s or record.submitted_s), record.id))
    return [
        {
            "id": record.id,
            "name": record.spec.name,
            "workload": record.workload,
            "model": record.spec.model,
            "service": record.spec.service is not None,
            "state": record.state.value,
            "zone": (record.runs[-1].zone if record.runs else "") or (record.pieces[0].zone if record.pieces else ""),
            "node": next((run.node for run in active(record)), ""),
            "done": round(progress.done_share(record), 3),
            "start_s": record.pieces[0].start_s if record.pieces else None,
            "end_s": record.ended_s
            if record.ended_s is not None
            else (record.pieces[-1].end_s if record.pieces else None),
            "deadline_s": record.deadline_s,
            "late": record.late,
            "energy_j": progress.energy_j(record),
            "emissions_g": progress.grams(record),
            "expected_g": expected_g(record),
            "units": progress.units(record),
            "why": record.why,
        }
        for record in ordered[:_SHOWN]
    ]


def expected_g(record: JobRecord) -> float:
    """Return what a job is expected to emit in all, or has."""
    spent_g = progress.grams(record)
    if not record.open or record.decision is None:
        return spent_g
    return max(spent_g, record.decision.chosen.grams)


def _zones(record: JobRecord) -> set[str]:
    return {run.zone for run in record.runs[-1:]} | {piece.zone for piece in record.pieces}


def _line(record: JobRecord) -> JobLine:
    running = active(record)
    return JobLine(
        id=record.id,
        name=record.spec.name[:_TEXT],
        state=record.state.value,
        done_pct=round(100 * progress.done_share(record)),
        node=running[0].node if running else "",
        next_wall_ms=None if running or not record.pieces else int(record.pieces[0].start_s * 1000),
        end_wall_ms=_end_ms(record),
        grams=round(expected_g(record), 3),
        why=record.why[:_TEXT],
    )


def _end_ms(record: JobRecord) -> int | None:
    end_s = record.ended_s if record.ended_s is not None else (record.pieces[-1].end_s if record.pieces else None)
    return None if end_s is None else int(end_s * 1000)
