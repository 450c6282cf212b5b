"""Work that is run on command: what to start, what became of it, and who asked for it. Signed like commands.

A *job* is what somebody wants done; a *run* is one stretch of it on one node, which is a task of that node. A node
starts nothing but templates that its owner has written into its own settings.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from evenwatt_wire.messages import BootId, Count, Joules, NodeId, Seconds, Text, WallMs

JobId = Annotated[str, Meta(pattern=r"^[0-9a-f]{12}(?!\n)$")]
Value = Annotated[str, Meta(max_length=200)]

MAX_LOG_CHARACTERS = 2_000


class RunState(StrEnum):
    """What became of a run. The last four are ends."""

    RUNNING = "running"
    STOPPING = "stopping"
    """Asked to save its state, or to end."""
    ENDED = "ended"
    """By itself, with exit code 0."""
    STOPPED = "stopped"
    """On command; it can go on later if it was asked to keep its state and did."""
    FAILED = "failed"
    LOST = "lost"
    """Its node or agent was away meanwhile, and how it ended is not known."""


class JobOrder(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A run to start."""

    job: JobId
    run: JobId
    """Also the id of its task."""
    template: NodeId
    values: Annotated[list[tuple[NodeId, Value]], Meta(max_length=16)] = []
    """What the template's placeholders stand for."""
    name: Text = ""
    workload: Text = ""
    model: Text = ""
    phase: Text = ""
    team: Text = ""
    resume: bool = False
    """Go on from the state that an earlier run has saved."""
    limit_s: Seconds = 0.0
    """It is stopped after so long, whatever has become of the collector; 0: the template's own limit alone."""


class RunReport(Struct, frozen=True, array_like=True, tag="run", forbid_unknown_fields=True):
    """How a run stands; told at each change and every few seconds.

    The last one is told again with the same number: every ten seconds for three minutes, and for three days whenever
    the node joins, a collector comes, or an hour has passed.
    """

    node: NodeId
    boot: BootId
    job: JobId
    run: JobId
    seq: Count
    """Grows with each report of a run."""
    wall_ms: WallMs
    state: RunState
    duration_s: Seconds
    energy_j: Joules
    """Since it began, as far as this node has attributed it."""
    exit_code: Annotated[int, Meta(ge=-255, le=255)] | None = None
    """Below 0: the signal that ended it. None: it runs, or nobody knows."""
    kept: bool = False
    """It has saved its state: another run can go on."""
    detail: Text = ""
    units: Annotated[list[tuple[Text, Annotated[float, Meta(ge=0, le=1e18)]]], Meta(max_length=16)] = []
    log_start: Count = 0
    """Offset of ``log`` in all that the run has written, in characters: a jump means that some are left out."""
    log: Annotated[str, Meta(max_length=MAX_LOG_CHARACTERS)] = ""
    """What it wrote to its standard output and error since the report before."""


class Submission(Struct, frozen=True, array_like=True, tag="submit", forbid_unknown_fields=True):
    """An operator asks the collector to take a job, or to give one up."""

    fleet: NodeId
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}(?!\n)$")]
    """UUIDv7; one that has been seen is ignored."""
    issued_ms: WallMs
    expires_ms: WallMs
    job: JobId
    """Chosen by who submits."""
    spec: Annotated[str, Meta(max_length=3_000)] = ""
    """The job as JSON; empty to cancel it."""
    issuer: Text = ""
