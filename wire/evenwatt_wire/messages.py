"""Every payload on the wire, as frozen structs that validate themselves.

Two encodings. The streams that programs read (``live``, ``ledger``, ``event``, ``stored``) are MessagePack *arrays*:
the tag first, then the fields in the order written here. An array has no keys that could be doubled, and a later
version may only append. The messages that people read (``state``, ``birth``, summaries) are JSON objects.

Ranges are part of the types: a number outside them, NaN or infinity is refused when it arrives. ``energy_j`` is the
energy of the record's own interval, ``total_j`` the cumulative energy since the boot id began: a lost message costs
resolution and never a joule. Wall-clock fields are labels; every interval is measured by the node's monotonic clock.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

MAX_DOMAINS = 512
"""Counters one node may publish: 16 GPUs, 8 sockets of 8 zones and room for as much again."""

MAX_WORK = 16
"""Owners whose power a live window tells."""

MAX_PARTS = 256
"""Rows of attribution in one record: the largest groups, every task, and the residual rows."""

# In Python "$" also matches before a line end, which a name must not have.
NodeId = Annotated[str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?!\n)$")]
BootId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}(?!\n)$")]
DomainId = Annotated[str, Meta(min_length=1, max_length=96, pattern=r"^[A-Za-z0-9_./:-]+(?!\n)$")]
Text = Annotated[str, Meta(max_length=400)]

# No machine that takes part uses a gigawatt or has counted an exajoule; a number beyond is a fault, not a reading.
Watts = Annotated[float, Meta(ge=0, le=1e9)]
Joules = Annotated[float, Meta(ge=0, le=1e18)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Grams = Annotated[float, Meta(ge=0, le=1e18)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Nanoseconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]
WallMs = Annotated[int, Meta(ge=0, le=2**53)]
Fact = Text | Annotated[float, Meta(ge=-1e18, le=1e18)] | bool | None


class Quality(StrEnum):
    """How a joule is known."""

    MEASURED = "measured"
    """Counted by the hardware."""
    INTEGRATED = "integrated"
    """Power readings multiplied by time."""
    ESTIMATED = "estimated"
    """From utilisation and a stated curve; no counter at all."""
    UNKNOWN = "unknown"
    """A gap that no counter bridges: these joules are missing, not zero."""


class NodeState(StrEnum):
    """Homie's states, cut to what a node can be in."""

    INIT = "init"
    READY = "ready"
    DISCONNECTED = "disconnected"
    LOST = "lost"
    """Said by the broker as the will; only of the boot it names."""


class LeaseState(StrEnum):
    """What decides the cap of a node right now."""

    UNMANAGED = "unmanaged"
    """Control is off, or was released: the machine's own limits apply."""
    LEASED = "leased"
    RAMPING = "ramping"
    """A lease ended; the cap moves to the fallback within five seconds."""
    FALLBACK = "fallback"


# --- JSON, for people and retained ------------------------------------------------------------------------------


class State(Struct, frozen=True, kw_only=True):
    """Whether a node is there. ``lost`` counts only if ``boot`` is the boot last born."""

    node: NodeId
    state: NodeState
    boot: BootId
    wall_ms: WallMs
    version: Text = ""


class Domain(Struct, frozen=True, kw_only=True):
    """One counter or meter of a node."""

    id: DomainId
    kind: Text
    """``package``, ``core``, ``uncore``, ``dram``, ``psys``, ``gpu``, ``board``, ``rail``, ``machine``, ``battery``,
    ``estimate``."""
    source: Text
    """Where it is read: ``powercap``, ``nvml``, ``hwmon``, ``ina``, ``power_supply``, ``estimate``."""
    quality: Quality
    parent: DomainId | None = None
    """The domain that contains this one's energy."""
    in_total: bool = False
    """Whether it is a term of the node total."""
    resolution_j: Joules = 0.0


class Actuator(Struct, frozen=True, kw_only=True):
    """One knob that limits power."""

    id: DomainId
    kind: Text
    domain: DomainId
    """The domain whose power it limits."""
    floor_w: Watts
    ceiling_w: Watts
    default_w: Watts
    """The limit found before evenwatt first wrote one."""
    locked: bool = False


class Template(Struct, frozen=True, kw_only=True):
    """A way to run work that a node's owner has allow-listed."""

    name: NodeId
    values: Annotated[list[NodeId], Meta(max_length=16)] = []
    """Names of what a job fills in."""
    interruptible: bool = False
    """It saves its state when asked to, and goes on from there."""
    slots: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """What a run of it takes of the node's ``job_slots``."""


class Birth(Struct, frozen=True, kw_only=True):
    """What a node has. A changed inventory is a new birth."""

    node: NodeId
    boot: BootId
    wall_ms: WallMs
    version: Text
    domains: Annotated[list[Domain], Meta(max_length=MAX_DOMAINS)]
    total_formula: Text
    """The one sum of non-overlapping domains that is this node's power, e.g. ``package-0 + package-0/dram``."""
    actuators: Annotated[list[Actuator], Meta(max_length=MAX_DOMAINS)] = []
    pausable: Annotated[list[DomainId], Meta(max_length=64)] = []
    """Names on the node's own allow-list that a pause command may name."""
    controllable: bool = False
    floor_w: Watts = 0.0
    """Least node power that the actuators can enforce, fixed consumers included."""
    ceiling_w: Watts = 0.0
    fallback_w: Watts = 0.0
    """The most that its cap is when no lease is in force; the last lease may have left it lower."""
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    """0 is cut first, 9 last."""
    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    key_id: Annotated[str, Meta(pattern=r"^([0-9a-f]{16})?(?!\n)$")] = ""
    """The node's own key, with which it signs acknowledgements; empty when control is off."""
    window_s: Seconds = 1.0
    ledger_s: Seconds = 60.0
    templates: Annotated[list[Template], Meta(max_length=64)] = []
    """What its owner lets be run here on command."""
    job_slots: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """What all runs at once may take."""


class NodeSummary(Struct, frozen=True, kw_only=True):
    """A node at a glance, for dashboards and Home Assistant, at most every ten seconds."""

    node: NodeId
    boot: BootId
    wall_ms: WallMs
    power_w: Watts
    energy_j: Joules
    quality: Quality
    cap_w: Watts | None = None
    lease: LeaseState = LeaseState.UNMANAGED
    paused: list[DomainId] = []
    cost_cpu_pct: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """What looking costs: this agent's own use of one core."""
    rss_mb: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    spooled: Count = 0
    """Ledger records not yet known to be stored."""
    cost_w: Watts = 0.0
    """What looking costs in power: the agent's share of the node's dynamic power."""
    tasks: Count = 0
    """Tasks that run."""


class WorkloadRate(Struct, frozen=True, kw_only=True):
    """What a workload draws and emits now in a zone."""

    workload: Text
    power_w: Watts
    emissions_g_per_h: Grams


class ZoneSummary(Struct, frozen=True, kw_only=True):
    """A zone at a glance."""

    zone: NodeId
    wall_ms: WallMs
    epoch: Count
    band: Text
    """``normal``, ``hold``, ``cap`` or ``brake``; ``off`` without a budget."""
    power_w: Watts
    budget_w: Watts | None
    leased_w: Watts
    """Sum of outstanding leases, fallbacks and unmanaged power: what the fleet may draw at most."""
    emissions_g_per_h: Grams
    emissions_g: Grams
    intensity_g_per_kwh: Grams
    intensity_source: Text
    intensity_standing: Text = ""
    """``measured``, ``estimated``, ``forecast`` or ``fallback``."""
    pue: Annotated[float, Meta(ge=1, le=10)]
    nodes: Count
    silent: Count
    capped: Count
    alarms: list[Text] = []
    workloads: Annotated[list[WorkloadRate], Meta(max_length=MAX_WORK)] = []
    """Who draws most, as nodes tell it in their live windows; without the zones inside."""


class Deployment(Struct, frozen=True, kw_only=True):
    """Which variant of a model a service should run, and where."""

    service: NodeId
    variant: Text
    zone: NodeId
    node: Text = ""
    """Empty: any node of the zone."""
    since_wall_ms: WallMs
    g_per_unit: Grams
    """Expected emissions of a unit of its work."""
    unit: Text
    why: Text


class Deployments(Struct, frozen=True, kw_only=True):
    """All services' variants, as decided now; what runs a service follows it."""

    zone: NodeId
    wall_ms: WallMs
    epoch: Count
    services: Annotated[list[Deployment], Meta(max_length=256)] = []


class JobLine(Struct, frozen=True, kw_only=True):
    """A job at a glance."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{12}(?!\n)$")]
    name: Text
    state: Text
    done_pct: Annotated[float, Meta(ge=0, le=100)]
    node: Text = ""
    next_wall_ms: WallMs | None = None
    """When its next piece is meant to begin."""
    end_wall_ms: WallMs | None = None
    """When it is meant to be, or was, done."""
    grams: Grams = 0.0
    """Expected in all."""
    why: Text = ""


class JobList(Struct, frozen=True, kw_only=True):
    """The collector's jobs: those that are open, and those that ended lately."""

    zone: NodeId
    wall_ms: WallMs
    epoch: Count
    jobs: Annotated[list[JobLine], Meta(max_length=256)] = []


class ControllerState(Struct, frozen=True, kw_only=True):
    """Whether a collector steers the zone, and in which epoch."""

    zone: NodeId
    state: NodeState
    epoch: Count
    wall_ms: WallMs
    ledger: Text = ""
    """Names what the collector's database holds. A node that has not met this name before sends all that it keeps:
    a new, empty database fills again from the nodes."""
    since_wall_ms: WallMs = 0
    """Records that ended earlier need not be sent again."""
    spread_s: Seconds = 0.0
    """A node that begins to send its backlog first waits up to as long, by chance, so that they do not come at once."""


class Beat(Struct, frozen=True, kw_only=True):
    """The active one of two collectors is alive, said about twice a second; its standby and it itself listen."""

    zone: NodeId
    epoch: Count
    beat: Count
    """Counts up within the epoch."""
    name: Text = ""
    """``standby.name`` of who says it."""


# --- MessagePack arrays -----------------------------------------------------------------------------------------


# Names in live windows come by the thousand a second and are nearly always the same: ``codec`` looks each up among
# those that it has found good, as matching the patterns anew would take longer than all the rest of decoding.


class DomainWindow(Struct, frozen=True, array_like=True, gc=False):
    """One domain over one live window; power figures are over its 100 ms bins."""

    id: str
    """A ``DomainId``."""
    energy_j: Joules
    total_j: Joules
    mean_w: Watts
    min_w: Watts
    max_w: Watts
    p95_w: Watts
    quality: Quality


class LeaseInForce(Struct, frozen=True, array_like=True, gc=False):
    """What caps the node at the end of a window."""

    state: LeaseState
    cap_w: Watts | None
    """Node cap that the actuators confirmed by readback."""
    epoch: Count = 0
    seq: Count = 0
    remaining_s: Seconds = 0.0


class WorkPower(Struct, frozen=True, array_like=True, gc=False):
    """What one owner draws now: a workload's tasks together, or a group of processes."""

    kind: Text
    """As in :class:`PartEnergy`; ``workload`` for tasks that name one."""
    name: Text
    power_w: Watts


class Live(Struct, frozen=True, array_like=True, tag="live", gc=False):
    """About one second of power: what control and screens use. ``total`` comes first; its id is ``node``."""

    node: str
    """A ``NodeId``, the topic's."""
    boot: str
    """A ``BootId``."""
    seq: Count
    end_mono_ns: Nanoseconds
    wall_ms: WallMs
    duration_s: Annotated[float, Meta(gt=0, le=3600)]
    total: DomainWindow
    domains: Annotated[list[DomainWindow], Meta(max_length=MAX_DOMAINS)]
    samples: Count
    late: Count
    """Samples taken more than half a period after their deadline, or skipped."""
    lease: LeaseInForce
    work: Annotated[list[WorkPower], Meta(max_length=MAX_WORK)] = []
    """Who draws most, dynamic and reserved idle power, over the latest look; the rest of the node is not in it."""


class DomainEnergy(Struct, frozen=True, array_like=True):
    """One domain's energy in one ledger record."""

    id: DomainId
    energy_j: Joules
    total_j: Joules
    quality: Quality


class Gap(Struct, frozen=True, array_like=True):
    """A stretch in which a domain could not be watched. With quality ``measured`` its counter bridged it."""

    domain: DomainId
    start_mono_ns: Nanoseconds
    end_mono_ns: Nanoseconds
    reason: Text
    quality: Quality


class PartEnergy(Struct, frozen=True, array_like=True):
    """Whose a share of a record's node energy was. All parts of a record sum to its ``total.energy_j``."""

    kind: Text
    """``unit``, ``container``, ``pod``, ``slurm``, ``vm``, ``user``, ``cgroup``, ``process``, ``task``; or a residual
    row: ``idle``, ``system``, ``other``, ``unattributed``."""
    name: Text
    cpu_j: Joules
    """Dynamic energy of processors and memory, by processor time."""
    gpu_j: Joules
    """Dynamic energy of GPU boards, by utilisation."""
    idle_j: Joules
    """Idle energy, by reserved share."""
    cpu_s: Seconds


class TaskEnergy(Struct, frozen=True, array_like=True):
    """A task as of the end of a record; its energy is cumulative since it started."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{12}(?!\n)$")]
    name: Text
    workload: Text
    model: Text
    phase: Text
    parent: Text
    state: Text
    """``running``, ``ended``, or ``gone``: its processes ended without a word."""
    started_wall_ms: WallMs
    duration_s: Seconds
    own_j: Joules
    """Without the tasks inside it."""
    energy_j: Joules
    """With them."""
    gpu_j: Joules
    peak_w: Watts
    units: Annotated[list[tuple[Text, Annotated[float, Meta(ge=0, le=1e18)]]], Meta(max_length=16)] = []
    """Units of work done, by their name."""
    team: Text = ""


class Ledger(Struct, frozen=True, array_like=True, tag="ledger"):
    """About one minute of energy, kept on the node until the collector says it is stored.

    Its identity is (node, boot, seq). Consecutive records of a boot touch: each starts where the last one ended.
    """

    node: NodeId
    boot: BootId
    seq: Annotated[int, Meta(ge=1, le=2**53)]
    start_mono_ns: Nanoseconds
    end_mono_ns: Nanoseconds
    start_wall_ms: WallMs
    end_wall_ms: WallMs
    total: DomainEnergy
    domains: Annotated[list[DomainEnergy], Meta(max_length=MAX_DOMAINS)]
    gaps: Annotated[list[Gap], Meta(max_length=MAX_DOMAINS)]
    agent_cpu_s: Seconds
    """Processor time the agent itself used in this record: the cost of looking."""
    dropped: Count = 0
    """Records that a full spool had to drop before this one, since the boot began."""
    agent_j: Joules = 0.0
    """Share of the node's dynamic energy that the agent itself caused: the cost of looking."""
    parts: Annotated[list[PartEnergy], Meta(max_length=MAX_PARTS)] = []
    """Whose joules these are; empty where attribution is off."""
    tasks: Annotated[list[TaskEnergy], Meta(max_length=MAX_PARTS)] = []
    first_seq: Count = 0
    """0 for a record as it was made. Otherwise it stands for all records from this number up to ``seq``, added up
    because there was no room for them one by one, or because they can no longer be read: no joule less, but coarser."""


class Stored(Struct, frozen=True, array_like=True, tag="stored"):
    """Collector to node: every ledger record of ``boot`` up to ``seq`` is safe; the node may forget them.

    The node keeps them for as long as it has room all the same, and sends again what the collector says is missing.
    """

    boot: BootId
    seq: Count
    beyond: Annotated[list[Count], Meta(max_length=10_000)] = []
    """Records above ``seq`` that are safe too: below them one is still missing, or was dropped by a full spool."""
    missing: Annotated[list[tuple[Count, Count]], Meta(max_length=100)] = []
    """First and last of each run of records that the collector lacks although it has later ones."""
    window: Count = 0
    """Records the node may have under way unanswered; 0: the collector does not say."""


class Probe(Struct, frozen=True, array_like=True, tag="probe"):
    """Node or operator to collector: answer this, so that I know that we hear each other."""

    nonce: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}(?!\n)$")]
    """New for each probe."""


class Echo(Struct, frozen=True, array_like=True, tag="echo"):
    """Collector to whoever probed: I have heard you."""

    nonce: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}(?!\n)$")]
    """The probe's."""
    epoch: Count


class Event(Struct, frozen=True, array_like=True, tag="event"):
    """Something that happened on a node, once."""

    node: NodeId
    boot: BootId
    seq: Count
    wall_ms: WallMs
    name: Text
    """``cap-applied``, ``cap-clamped``, ``cap-locked``, ``lease-expired``, ``paused``, ``resumed``,
    ``source-lost``, ..."""
    subject: Text
    """The domain, actuator or task concerned; empty for the node itself."""
    facts: Annotated[list[tuple[Text, Fact]], Meta(max_length=32)] = []
    """Named numbers and words; pairs and not a map, so that no name can be doubled."""


ArrayMessage = Live | Ledger | Stored | Probe | Echo | Event
JsonMessage = State | Birth | NodeSummary | ZoneSummary | ControllerState | Beat | Deployments | JobList
Message = ArrayMessage | JsonMessage
