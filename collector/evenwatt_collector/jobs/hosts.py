"""Nodes as places to run work: which suit a job, and which is taken. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from evenwatt_wire.jobs import JobOrder

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

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


class Room:
    """What is free on nodes, within one step: who is full is not looked at again.

    Args:
        hosts: All nodes.
        free: Free slots by zone and node; it is changed as they are taken.
    """

    def __init__(self, hosts: Iterable[Host], free: dict[tuple[str, str], int]) -> None:
        self._hosts, self.free = list(hosts), free
        self._fitting: dict[Hashable, list[Host]] = {}

    def fitting(self, record: JobRecord, zone: str) -> list[Host]:
        """Return the nodes of a zone that can begin a run of a job now."""
        spec = record.spec
        key = (zone, spec.template, tuple(spec.values), tuple(spec.zones), tuple(spec.nodes))
        found = self._fitting.get(key)
        if found is None:
            found = [host for host in self._hosts if host.zone == zone and host.live and suits(host, record)]
        if found:
            found = [host for host in found if self.free[host.zone, host.node] >= slots(host, record)]
        self._fitting[key] = found
        return found

    def suiting(self, record: JobRecord) -> list[Host]:
        """Return the nodes that offer what a job needs, in whatever zone, full or away."""
        return [host for host in self._hosts if suits(host, record)]

    def is_live(self, node: str) -> bool:
        """Whether a node is there."""
        return any(host.live for host in self._hosts if host.node == node)

    def take(self, host: Host, record: JobRecord) -> None:
        """A run of a job begins on a node."""
        self.free[host.zone, host.node] -= slots(host, record)


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
