"""A job as its owner states it, in TOML or JSON. Every key but ``name`` and how long it takes has a default.

Times are RFC 3339 with a zone (``2026-11-27T18:00:00Z``), or a time from now such as ``+8h`` or ``+30m``.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from evenwatt_wire.messages import NodeId, Text

Positive = Annotated[float, Meta(gt=0, le=1e12)]
NotNegative = Annotated[float, Meta(ge=0, le=1e12)]
Share = Annotated[float, Meta(ge=0, le=1)]
Value = Annotated[str, Meta(max_length=200)]


class Work(Struct, forbid_unknown_fields=True, kw_only=True):
    """How much there is to do, in units that its tasks count (``evenwatt_agent.task().units``)."""

    amount: Positive
    """How many units."""
    unit: Text
    """Name of the unit, as its tasks report it."""


class Data(Struct, forbid_unknown_fields=True, kw_only=True):
    """What has to be moved if it does not run where its data lies."""

    gb: NotNegative
    """Gigabytes."""
    zone: NodeId
    """Where it lies."""


class Slo(Struct, forbid_unknown_fields=True, kw_only=True):
    """What its owner will not go below."""

    max_slowdown: Annotated[float, Meta(ge=1, le=100)] | None = None
    """It may take at most so many times as long as at full power."""
    max_latency_s: Positive | None = None
    """Longest answer of a service's variant, in seconds."""
    min_quality: float | None = None
    """Of a model variant, on the scale of the registry."""


class Service(Struct, forbid_unknown_fields=True, kw_only=True):
    """Work without an end: it answers requests, with whichever variant of its model is best now."""

    task: Text
    """What the variants do, as in the registry of models."""
    unit: Text = "request"
    """What its tasks count."""
    max_g_per_unit: Positive | None = None
    """Budget of emissions of a unit, in grams: a variant that keeps within it is chosen. Default: none; the variant is
    lowered in the dirtiest hours of the day."""
    dwell: Text | None = None
    """It changes its variant at most once in so long, what breaks a bound excepted; default 30 minutes."""


class JobSpec(Struct, forbid_unknown_fields=True, kw_only=True):
    """A job."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    """What people call it."""
    workload: Text = ""
    """What it belongs to across runs; default: its name. What is learned is learned by workload."""
    model: Text = ""
    """Model that it trains or serves."""
    phase: Text = ""
    """``train``, ``fine-tune``, ``evaluate``, ``infer``, ``idle-loaded``."""
    team: Text = ""
    """Who answers for it."""
    template: NodeId | None = None
    """Which allow-listed template of a node runs it; a template is a command, a unit or a container."""
    values: dict[NodeId, Value] = {}
    """What the template's placeholders stand for."""
    external: Text = ""
    """Who else runs it, e.g. ``slurm:4711`` or ``k8s:NAMESPACE/NAME``: it is planned and advised, not started."""
    work: Work | None = None
    length: Text | None = None
    """How long it takes at full power on one slot, e.g. ``"45m"``; default: as learned from the workload."""
    power_w: Positive | None = None
    """What it adds to a node's power; default: as learned, else a share of the node."""
    earliest: Text | None = None
    """It does not start before; default: now."""
    deadline: Text | None = None
    """When it has to be done."""
    interruptible: bool = False
    """It may run in pieces."""
    checkpoint_s: NotNegative = 0.0
    """What an interruption costs in time: saving and going on."""
    least_run_s: NotNegative = 0.0
    """Shortest piece, in seconds."""
    speedup: Annotated[list[Positive], Meta(min_length=1, max_length=64)] = field(default_factory=lambda: [1.0])
    """Speed on 1, 2, ... slots at once against one."""
    zones: list[NodeId] = []
    """Where it may run; default: everywhere."""
    nodes: list[Text] = []
    """Patterns of node names; default: every node that has the template."""
    home: NodeId | None = None
    """Zone where it would run if nobody planned; default: the first."""
    data: Data | None = None
    slo: Slo = field(default_factory=Slo)
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    """0 gives way first, 9 last."""
    after: list[Annotated[str, Meta(pattern=r"^[0-9a-f]{12}(?!\n)$")]] = []
    """Ids of jobs that must have succeeded first."""
    shared_state: bool = False
    """What it saves can be read on every node; else it goes on where it was stopped."""
    retries: Annotated[int, Meta(ge=0, le=100)] = 2
    """How often a failed or lost run is started again."""
    max_run: Text | None = None
    """A run is stopped after so long; default: twice the length that is left, and 10 minutes."""
    quiet: Text | None = None
    """A run that has reported nothing for so long counts as lost; default 5 minutes."""
    service: Service | None = None
    """Set: it has no end, and no length."""
