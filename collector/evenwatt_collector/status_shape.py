"""What the answers of ``/api/v1/status``, ``nodes`` and ``history`` hold, for the OpenAPI document. docs/status.md.

The rows themselves are plain dicts, made as fast as thousands of them need; a test holds them against this.
"""

from __future__ import annotations

from typing import Any, TypedDict

# The OpenAPI document reads these types at run time.
from evenwatt_collector.carbon.providers.chain import FeedHealth  # noqa: TC001
from evenwatt_collector.neighbours.otlp_export import OtlpHealth  # noqa: TC001
from evenwatt_wire import Quality, WorkloadRate
from evenwatt_wire.messages import Actuator, Deployment, LeaseState, NodeState, NodeSummary


class BrokerRow(TypedDict):
    """The broker."""

    where: str
    connected: bool
    connections: int


class StoreRow(TypedDict):
    """The database: ``waiting`` records are to be written; ``alarm`` says why none can be."""

    alarm: str | None
    waiting: int
    refused: int


class ShardRow(TypedDict):
    """One of several collectors on one database."""

    name: str
    url: str
    zones: list[str]


class ZoneRow(TypedDict):
    """A zone; watts, grams, grams per hour and per kilowatt-hour."""

    zone: str
    wall_ms: int
    epoch: int
    band: str
    power_w: float
    budget_w: float | None
    leased_w: float
    emissions_g_per_h: float
    emissions_g: float
    intensity_g_per_kwh: float
    intensity_source: str
    intensity_standing: str
    intensity_year: int
    pue: float
    nodes: int
    silent: int
    capped: int
    alarms: list[str]
    workloads: list[WorkloadRate]
    unmanaged_w: float
    linked: bool
    controlled: bool
    budget_why: str
    target_w: float | None
    dry_run: bool
    inside: list[str]


class DomainRow(TypedDict):
    """A counter of a node, in its latest window."""

    id: str
    power_w: float
    total_j: float


NodeRow = TypedDict(
    "NodeRow",
    {
        "node": str,
        "zone": str,
        "state": NodeState,
        "boot": str,
        "age_s": float | None,
        "emissions_g_per_h": float | None,
        "silent": bool,
        "power_w": float | None,
        "peak_w": float | None,
        "cap_w": float | None,
        "at_cap": bool,
        "lease": LeaseState | None,
        "lease_by": str | None,
        "lease_remaining_s": float | None,
        "quality": Quality,
        "energy_j": float,
        "emissions_g": float,
        "live_total_j": float | None,
        "covered_mono_ns": list[tuple[int, int]],
        "records": int,
        "missing": int,
        "lost": int,
        "two_agents": bool,
        "controllable": bool | None,
        "floor_w": float | None,
        "ceiling_w": float | None,
        "fallback_w": float | None,
        "class": str | None,
        "priority": int | None,
        "would_w": float | None,
        "counters": int | None,
        "total_formula": str | None,
        "paused": list[str],
        "spooled": int | None,
        "agent_cpu_pct": float | None,
        "agent_rss_mb": float | None,
        "domains": list[DomainRow],
    },
)
"""A node; energy and grams are sums of stored records, the rest is live (functional, for a key is named ``class``)."""


class WorkloadRow(TypedDict):
    """What a workload draws and emits over the fleet now, and on how many nodes."""

    workload: str
    power_w: float
    emissions_g_per_h: float
    nodes: int


class GridRow(TypedDict):
    """A grid with sources; times are Unix seconds."""

    grid: str
    intensity_g_per_kwh: float | None
    standing: str
    source: str
    speaking: str
    how: str
    forecast_until_s: int | None
    forecast_source: str | None
    alarm: str | None
    sources: list[FeedHealth]


class BudgetRow(TypedDict):
    """A budget in grams, and what of it is spent."""

    budget: str
    scope: str
    grams_per_day: float | None
    grams_per_month: float | None
    spent_g: float | None
    rate_g_per_h: float | None
    coverage: float | None


class AlertRow(TypedDict):
    """An open alert; times are RFC 3339, UTC."""

    id: str
    delivery: str
    kind: str
    about: str
    scope: str
    state: str
    severity: str
    since: str
    at: str
    figures: dict[str, Any]
    words: str
    advice: str


class WebhookRow(TypedDict):
    """How a webhook fares, with counts of its deliveries."""

    webhook: str
    queued: int
    delivered_s: float | None
    trouble: str | None
    delivered: int
    failed: int
    refused: int
    expired: int
    dropped: int


class JobRow(TypedDict):
    """A job; times are Unix seconds, ``done`` is 0 to 1."""

    id: str
    name: str
    workload: str
    model: str
    service: bool
    state: str
    zone: str
    node: str
    done: float
    start_s: float | None
    end_s: float | None
    deadline_s: float | None
    late: bool
    energy_j: float
    emissions_g: float
    expected_g: float
    units: float
    why: str


class PlanningRow(TypedDict):
    """How planning fares."""

    dispatching: bool
    made_s: float | None
    solver: str
    by_state: dict[str, int]
    late: int
    policy: str
    trouble: str


class EventRow(TypedDict):
    """What a node has told."""

    zone: str
    node: str
    wall_ms: int
    name: str
    subject: str
    facts: dict[str, Any]


class CountRow(TypedDict):
    """Messages of a kind that ended so."""

    kind: str
    result: str
    count: int


class MessagesRow(TypedDict):
    """Live windows by their numbers, and what was dropped of any kind."""

    sent: int
    received: int
    lost: int
    stale: int
    retained: int
    refused: int
    malformed: int
    by_kind: list[CountRow]


class LedgerRow(TypedDict):
    """Records of the ledger."""

    records: int
    missing: int
    duplicate: int
    conflicts: int


class StatusDocument(TypedDict):
    """Everything that is known now."""

    version: str
    role: str
    name: str
    shard: str
    shards: list[ShardRow]
    epoch: int
    ready: bool
    reasons: list[str]
    broker: BrokerRow
    store: StoreRow
    zones: list[ZoneRow]
    nodes: list[NodeRow]
    workloads: list[WorkloadRow]
    grids: list[GridRow]
    budgets: list[BudgetRow]
    alerts: list[AlertRow]
    webhooks: list[WebhookRow]
    jobs: list[JobRow]
    services: list[Deployment]
    planning: PlanningRow
    otlp: OtlpHealth | None
    events: list[EventRow]
    messages: MessagesRow
    caps: dict[str, float | None]
    ledger: LedgerRow


class NodePage(TypedDict):
    """A page of nodes."""

    nodes: list[NodeRow]
    next: str | None


class WorkloadPage(TypedDict):
    """A page of workloads."""

    workloads: list[WorkloadRow]
    next: str | None


class EventPage(TypedDict):
    """A page of events."""

    events: list[EventRow]
    next: str | None


class WindowRow(TypedDict):
    """A node's total in its latest window."""

    power_w: float
    min_w: float
    max_w: float
    total_j: float
    quality: Quality
    duration_s: float
    samples: int
    late: int
    wall_ms: int


class CounterRow(TypedDict):
    """A counter of a node's inventory, with figures if it is in the latest window."""

    id: str
    kind: str
    source: str
    parent: str | None
    in_total: bool
    resolution_j: float | None
    quality: Quality
    power_w: float | None
    min_w: float | None
    max_w: float | None
    total_j: float | None


class LeaseRow(TypedDict):
    """A node's lease as it tells it."""

    state: LeaseState
    by: str | None
    cap_w: float | None
    epoch: int
    seq: int
    remaining_s: float | None


class WorkRow(TypedDict):
    """Who draws on a node."""

    kind: str
    name: str
    power_w: float


class NodeDetail(TypedDict):
    """A node down to its counters."""

    node: str
    zone: str
    state: NodeState
    boot: str
    version: str | None
    age_s: float | None
    total_formula: str | None
    total: WindowRow | None
    counters: list[CounterRow]
    actuators: list[Actuator]
    lease: LeaseRow | None
    work: list[WorkRow]
    pausable: list[str]
    paused: list[str]
    templates: list[str]
    job_slots: int | None
    window_s: float | None
    ledger_s: float | None
    summary: NodeSummary | None


class History(TypedDict):
    """Samples of a zone in columns, the oldest first; null where nothing was known. ``at_s`` is Unix time."""

    zone: str
    step_s: float
    at_s: list[float]
    power_w: list[float | None]
    budget_w: list[float | None]
    leased_w: list[float | None]
    emissions_g_per_h: list[float | None]
    intensity_g_per_kwh: list[float | None]
