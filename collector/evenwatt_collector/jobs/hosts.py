"""Nodes as places to run work: which suit a job, and which is taken. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from evenwatt_wire.jobs import JobOrder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_collector.jobs.model import JobRecord, Run
    from evenwatt_wire import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A node that can run work now."""

    zone: str
    node: str
    templates: Mapping[str, Template]
    slots: int
    live: bool
    """It is heard of, and its link works."""


@dataclass(frozen=True, slots=True)
class Start:
    """Send a start."""

    zone: str
    node: str
    order: JobOrder


@dataclass(frozen=True, slots=True)
class Stop:
    """Send a stop."""

    zone: str
    node: str
    job: str
    run: str
    keep: bool
    reason: str


def suits(host: Host, record: JobRecord) -> bool:
    """Whether a node may and can run a job at all."""
    template = host.templates.get(record.spec.template or "")
    return (
        template is not None
        and template.slots <= host.slots
        and set(record.spec.values) <= set(template.values)
        and (not record.spec.zones or host.zone in record.spec.zones)
        and (not record.spec.nodes or any(fnmatchcase(host.node, pattern) for pattern in record.spec.nodes))
    )


def slots(host: Host, record: JobRecord) -> int:
    """Return how many of a node's slots a run of a job takes."""
    template = host.templates.get(record.spec.template or "")
    return template.slots if template else 1


def order(record: JobRecord, run: Run, limit_s: float) -> JobOrder:
    """Return what a node is told to start."""
    spec = record.spec
    return JobOrder(
        job=record.id,
        run=run.id,
        template=spec.template or "",
        values=sorted(spec.values.items()),
        name=spec.name,
        workload=record.workload,
        model=spec.model,
        phase=spec.phase,
        team=spec.team,
        resume=record.done_s > 0 or any(earlier.kept for earlier in record.runs),
        limit_s=limit_s,
    )
