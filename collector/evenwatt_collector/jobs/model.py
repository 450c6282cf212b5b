"""What is kept of a job: how it stands, its runs, what was decided and foreseen, and what came of it.

These are stored as JSON and shown as they are. Times are Unix seconds.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from evenwatt_collector.jobs.spec import JobSpec
from evenwatt_wire.jobs import RunState


class JobState(StrEnum):
    """How a job stands.

    ::

                    .----------- piece over, more to do ------------.
                    v                                               |
        WAITING --start sent--> STARTING --report--> RUNNING --stop sent--> STOPPING
           |                        |                   |                      |
           |                        '-- refused, lost --+--> WAITING while retries are left, else FAILED
           |                                            '-- exit 0 --> DONE
           '-- cancel (from every state, by way of STOPPING if it runs) --> CANCELLED

    An external job goes from WAITING to RUNNING, DONE or FAILED as it is told.
    """

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDS = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


class Run(Struct, kw_only=True):
    """One stretch of a job on one node."""

    id: str
    zone: str
    node: str
    asked_s: float
    """When the start was sent."""
    attempt: int
    state: RunState | None = None
    """None until its node has answered."""
    seq: int = -1
    """Of the latest report."""
    heard_s: float | None = None
    started_s: float | None = None
    ended_s: float | None = None
    duration_s: float = 0.0
    energy_j: float = 0.0
    grams: float = 0.0
    """As known on arrival; reports weigh anew what the ledger has."""
    trace: list[tuple[float, float]] = []
    """When (Unix time) it had used how many joules: a point a few minutes, and the latest."""
    exit_code: int | None = None
    kept: bool = False
    units: dict[str, float] = {}
    cap_w: float | None = None
    detail: str = ""
    log_end: int = 0


class Piece(Struct, frozen=True, kw_only=True):
    """A planned stretch."""

    zone: str
    start_s: float
    end_s: float
    width: int = 1


class Option(Struct, frozen=True, kw_only=True):
    """One thing that could be done, and what is expected of it."""

    name: str
    """``now``, ``chosen``, ``contiguous``, ``split``, ``place:ZONE``, ``width:N``."""
    zone: str
    start_s: float | None
    end_s: float | None
    grams: float
    low_g: float
    high_g: float
    cost: float
    energy_kwh: float
    """At the site."""
    feasible: bool
    why: str


class Decision(Struct, frozen=True, kw_only=True):
    """What was decided about a job at a moment, and what was foreseen."""

    job: str
    made_s: float
    policy: str
    """``carbon``: as planned; ``baseline``: at once, because the policy was rolled back, or as a control."""
    chosen: Option
    baseline: Option
    """At once, at home, at full power."""
    alternatives: list[Option] = []
    would_change: list[str] = []
    rests_on: str = ""
    """Which forecast: its source, when issued, how far it reaches."""
    cap_w: float | None = None
    cap_why: str = ""
    version: str = ""
    """Of the policy that was in force, also for a control."""
    pressed: bool = False
    """Whether the deadline left little room: such a job is never a control."""


class Outcome(Struct, frozen=True, kw_only=True):
    """A job that is done: what came of it, against what was foreseen and against doing nothing."""

    job: str
    name: str
    workload: str
    model: str
    zone: str
    """Where most of its energy was used."""
    policy: str
    submitted_s: float
    ended_s: float
    energy_j: float
    """Counted, at the machines."""
    grams: float
    """Actual: energy by the time it was used, times PUE and intensity as known at the end."""
    predicted_g: float
    """By the decision that it was started with."""
    predicted_low_g: float
    predicted_high_g: float
    predicted_energy_kwh: float
    counterfactual_g: float
    """The same work at once, at home, at full power: with the intensities that came, not those foreseen."""
    counterfactual_energy_j: float
    counterfactual_how: str
    """How the energy at full power is known: ``same``: as used; ``learned``: by the curve of joules per unit."""
    late: bool
    units: dict[str, float] = {}
    quality_ok: bool = True
    slo_ok: bool = True
    version: str = ""
    """Of the policy that was in force when it was decided; a control has it too, beside ``policy`` ``baseline``."""
    deadline_s: float | None = None
    counterfactual_late: bool = False
    """Whether it would have missed its deadline even so."""
    counterfactual_low_g: float | None = None
    """The 90 % range, by how sure the energy at full power is; None: not known, as in outcomes of old."""
    counterfactual_high_g: float | None = None
    pue: float = 1.0
    """Of the site where it ran, weighted by energy."""
    duration_s: float = 0.0
    """That its runs took, summed."""
    length_s: float = 0.0
    """What the work took, as far as can be told: at full power on one slot, without restarts; 0: it was not done."""
    predicted_length_s: float = 0.0
    """The same as it was planned with; 0: not known."""
    stated_length_s: float = 0.0
    """What its owner said of that; 0: nothing."""
    stated_power_w: float = 0.0
    """What its owner said that it adds to a node's power; 0: nothing."""
    predicted_baseline_g: float = 0.0
    """What was foreseen for at once, at home, at full power; 0: not known."""
    pressed: bool = False
    """Whether its deadline left little room when it was decided: such a job is never a control."""

    @property
    def saved_g(self) -> float:
        """Against the counterfactual; negative where it went worse."""
        return self.counterfactual_g - self.grams


class JobRecord(Struct, kw_only=True):
    """All that is known of a job."""

    id: str
    spec: JobSpec
    submitted_s: float
    by: str
    state: JobState = JobState.WAITING
    earliest_s: float = 0.0
    deadline_s: float | None = None
    length_s: float = 0.0
    """At full power on one slot."""
    power_w: float = 0.0
    estimate: str = ""
    """How length and power are known: ``stated``, ``learned``, ``assumed``."""
    done_s: float = 0.0
    """Work that is done and kept, in seconds at full power on one slot."""
    failures: int = 0
    cancelling: bool = False
    runs: list[Run] = []
    pieces: list[Piece] = []
    """What is planned from now on."""
    late: bool = False
    why: str = ""
    """What decided, or why it waits."""
    decision: Decision | None = None
    """The one that it was started with; before that the latest."""
    outcome: Outcome | None = None
    ended_s: float | None = None
    moves: int = 0
    """How often its plan was changed."""

    @property
    def open(self) -> bool:
        """Whether something is left to do."""
        return self.state not in ENDS

    @property
    def workload(self) -> str:
        """What it belongs to."""
        return self.spec.workload or self.spec.name
