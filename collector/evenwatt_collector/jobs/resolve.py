"""From what an owner states to what is kept: times become moments, what is left out is learned or assumed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from evenwatt_collector.jobs.model import JobRecord
from evenwatt_collector.jobs.times import duration_s, moment_s

if TYPE_CHECKING:
    from evenwatt_collector.jobs.learned import Learned
    from evenwatt_collector.jobs.spec import JobSpec


class Estimate(NamedTuple):
    """A figure and how it is known: ``stated``, ``learned from N runs``, ``assumed``."""

    value: float
    how: str


def resolve(
    spec: JobSpec, now_s: float, learned: Learned | None, *, job: str, by: str, assumed_power_w: float
) -> JobRecord:
    """Return the record of a job that has just come in.

    Args:
        spec: As stated; it has passed :func:`evenwatt_collector.jobs.check.check`.
        now_s: Unix time; times from now count from it.
        learned: What is known of its workload.
        job: Its id.
        by: Who submitted it.
        assumed_power_w: What a job adds to a node's power where nothing is known.

    Raises:
        ValueError: a time makes no sense, or nothing says how long it takes.
    """
    power = power_of(spec, learned, assumed_power_w)
    length = Estimate(0.0, "") if spec.service is not None else length_of(spec, learned)
    if length is None:
        raise ValueError(f"nothing says how long {spec.name!r} takes; state a length")
    said = [f"length {length.how}"] if length.how else []
    return JobRecord(
        id=job,
        spec=spec,
        submitted_s=now_s,
        by=by,
        earliest_s=now_s if spec.earliest is None else max(now_s, moment_s(spec.earliest, now_s)),
        deadline_s=None if spec.deadline is None else moment_s(spec.deadline, now_s),
        length_s=length.value,
        power_w=power.value,
        estimate=", ".join([*said, f"power {power.how}"]),
    )


def length_of(spec: JobSpec, learned: Learned | None) -> Estimate | None:
    """Return how long a job takes at full power on one slot, in seconds; None if nothing says so.

    What is stated counts first; then the amount of work times the learned seconds per unit; then the learned length.

    Raises:
        ValueError: the stated length is none.
    """
    if spec.length is not None:
        return Estimate(duration_s(spec.length), "stated")
    if learned is None:
        return None
    how = f"learned from {learned.runs} run{'s' if learned.runs != 1 else ''}"
    if spec.work is None:
        return Estimate(learned.length_s, how)
    pace = learned.seconds_per_unit.get(spec.work.unit)
    return None if pace is None else Estimate(pace * spec.work.amount, how)


def power_of(spec: JobSpec, learned: Learned | None, assumed_power_w: float) -> Estimate:
    """Return what a job adds to a node's power at full speed on one slot, in watts."""
    if spec.power_w is not None:
        return Estimate(spec.power_w, "stated")
    if learned is not None and learned.power_w is not None:
        return Estimate(learned.power_w, f"learned from {learned.runs} run{'s' if learned.runs != 1 else ''}")
    return Estimate(assumed_power_w, "assumed")
