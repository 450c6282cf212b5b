"""Taking jobs in: checked together, resolved, and none of them kept if one is wrong. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from evenwatt_collector.jobs.check import check_all
from evenwatt_collector.jobs.desk import ConflictError
from evenwatt_collector.jobs.resolve import resolve
from evenwatt_collector.policy.problems import errors, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evenwatt_collector.jobs.known import Known
    from evenwatt_collector.jobs.model import JobRecord
    from evenwatt_collector.jobs.reading import Entry
    from evenwatt_collector.policy.problems import Problem


class RefusedError(ValueError):
    """Jobs that cannot be taken, with everything that is wrong with them, warnings included."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(_line(problem) for problem in errors(self.problems)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Jobs that were taken."""

    records: list[JobRecord]
    """In the order in which they came; those that were known already as they stand now."""
    new: frozenset[str]
    """Ids of those that were not known before."""
    warnings: tuple[Problem, ...] = ()


def admit(
    entries: Sequence[Entry], known: Known, existing: Mapping[str, JobRecord], *, by: str, assumed_power_w: float
) -> Admitted:
    """Return the records of jobs that have just come in.

    Args:
        entries: What came together.
        known: The fleet, and what was learned.
        existing: Records of jobs that were submitted before; of the ids of ``entries`` and of those named in their
            ``after``, as far as there are any.
        by: Who submits.
        assumed_power_w: What a job adds to a node's power where nothing is known.

    Raises:
        RefusedError: something is wrong with one of them.
        ConflictError: an id is known already, with another specification.
    """
    for entry in entries:
        before = existing.get(entry.id)
        if before is not None and before.spec != entry.spec:
            raise ConflictError(
                f"job {entry.id!r} is known already, as {before.spec.name!r} and with another specification; choose a "
                f"new id, or cancel that one"
            )
    new = [entry for entry in entries if entry.id not in existing]
    states = {**known.jobs, **{id_: record.state for id_, record in existing.items()}}
    problems = check_all(new, replace(known, jobs=states))
    if errors(problems):
        raise RefusedError(problems)
    made = {
        entry.id: resolve(
            entry.spec, known.now_s, known.of(entry.spec), job=entry.id, by=by, assumed_power_w=assumed_power_w
        )
        for entry in new
    }
    return Admitted(
        records=[made.get(entry.id) or existing[entry.id] for entry in entries],
        new=frozenset(made),
        warnings=tuple(problems),
    )


def _line(problem: Problem) -> str:
    return f"{key_of(problem.path)}: {problem.text}" if problem.path else problem.text
