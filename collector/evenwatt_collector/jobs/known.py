"""What a job is held against: the fleet, the other jobs, what was learned. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_collector.jobs.hosts import Host
    from evenwatt_collector.jobs.learned import Learned
    from evenwatt_collector.jobs.model import JobState
    from evenwatt_collector.jobs.spec import JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known when a job comes in."""

    now_s: float
    zones: frozenset[str] = frozenset()
    """Configured or heard of; with none at all, no zone is called unknown."""
    hosts: tuple[Host, ...] = ()
    """Nodes that are known, live or not."""
    jobs: Mapping[str, JobState] = field(default_factory=dict)
    """Jobs that were submitted before, by id; those named in ``after`` at the least."""
    learned: Mapping[str, Learned] = field(default_factory=dict)
    """By workload."""
    tasks: frozenset[str] | None = None
    """What the registry of models has variants for; None: there is none to look at."""
    dispatching: bool = True
    """The collector starts jobs itself."""

    def of(self, spec: JobSpec) -> Learned | None:
        """Return what was learned of a job's workload."""
        return self.learned.get(spec.workload or spec.name)

    def allowed(self, spec: JobSpec) -> list[Host]:
        """Return the nodes that a job's zones and patterns let it run on."""
        return [
            host
            for host in self.hosts
            if (not spec.zones or host.zone in spec.zones)
            and (not spec.nodes or any(fnmatchcase(host.node, pattern) for pattern in spec.nodes))
        ]
