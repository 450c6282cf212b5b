"""Why a node or zone was treated as it was: the numbers behind a decision, to be kept and put into words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CAP_MOVED: Final = 0.10
"""A cap that has moved by this part of itself is another decision; smaller moves are the same one at work ..."""
CAP_MOVED_W: Final = 20.0
"""... and so are moves below this many watts (our choice, both: a reader looks for causes, not for every step)."""


class Cause(StrEnum):
    """What decided how much a node may draw; ``words`` has a sentence for each."""

    FREE = "free"
    """No zone is short: it may draw all that it can use."""
    SURPLUS = "surplus"
    """Everybody's demand is met, and what is left over is shared by weight."""
    MET = "met"
    """Its demand is met; what is left goes to less important classes."""
    LEVEL = "level"
    """Its class shares what is left after the more important ones."""
    PART = "part"
    """The essential part of its demand is met, and a more important class takes the rest."""
    WAITS = "waits"
    """A more important class takes all that is left: it has its floor."""
    FLOOR = "floor"
    """The floors alone exceed what there is."""
    BRAKE = "brake"
    """The zone drew more than its limit: present use was cut at once."""
    DRY_RUN = "dry-run"
    """Its zone is in dry run: nothing is sent to it."""
    UNSTEERED = "unsteered"
    """It is lost, silent, or does not let itself be steered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """The zone whose watts set a node's cap."""

    zone: str
    budget_w: float
    budget_why: str
    power_w: float
    floors_w: float
    """Floors of its nodes and fixed load, together."""
    level_class: int | None
    """The class in which its watts ran out; None: after all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReason:
    """One node at one moment."""

    wall_s: float
    node: str
    zone: str
    cause: Cause
    cap_w: float | None
    """What it may draw; None where nothing is steered. In dry run: what it would be given."""
    power_w: float
    floor_w: float
    ceiling_w: float
    """The most it can use."""
    demand_w: float | None
    demand_hidden: bool
    """It runs at its cap, so its demand cannot be seen and counts as its ceiling."""
    kind: str
    """Its class in the policy; empty without one."""
    priority: int
    short: Short | None
    """None where no zone is short."""
    waiting_w: float
    """Watts that it will be given once others have given them back."""
    paused: tuple[str, ...] = ()
    """What of its work is paused."""
    paused_by_us: bool = False
    """Paused by this collector; else by a person."""
    on_lost: str = "fallback"
    fallback_w: float = 0.0
    dry_run: bool = False
    held: str = ""
    """What holds it below what it could use, besides its zone."""
    operator_until_s: float | None = None
    """Until when an operator's lease holds it at ``cap_w``; None without one."""

    @property
    def name(self) -> str:
        """What its past is kept under: two zones may have nodes of one name."""
        return f"{self.zone}:{self.node}"

    def same_cap(self, before: NodeReason) -> bool:
        """Whether it may draw about what it might before."""
        return not _moved(self.cap_w, before.cap_w)

    def differs(self, before: NodeReason) -> bool:
        """Whether it is another decision than one before, for whoever looks back."""
        return self._kind_of() != before._kind_of() or _moved(self.cap_w, before.cap_w)

    def _kind_of(self) -> tuple[object, ...]:
        short = (self.short.zone, self.short.budget_why, self.short.level_class) if self.short else None
        return self.zone, self.cause, self.kind, self.priority, short, self._terms()

    def _terms(self) -> tuple[object, ...]:
        return self.paused, self.dry_run, self.held, self.operator_until_s is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneReason:
    """One zone at one moment."""

    wall_s: float
    zone: str
    band: str
    """normal, hold, cap or brake."""
    budget_w: float | None
    """Its own limit."""
    budget_why: str
    outer: str | None
    """The zone around it whose limit is the tightest; None without any."""
    outer_budget_w: float | None
    target_w: float
    """Power that its nodes are being steered to, unmanaged load included."""
    power_w: float
    most_w: float
    """The most it may draw by its leases."""
    unmanaged_w: float
    nodes: int
    capped: int
    """Nodes that may draw less than they want."""
    paused: int
    """Nodes with paused work ..."""
    paused_names: tuple[str, ...]
    """... and some of their names."""
    floors_w: float
    """Floors of its nodes and fixed load, together."""
    dry_run: bool = False
    alarms: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What its past is kept under."""
        return self.zone

    def differs(self, before: ZoneReason) -> bool:
        """Whether it is another state than one before, for whoever looks back."""
        return self._kind_of() != before._kind_of() or _moved(self.budget_w, before.budget_w)

    def _kind_of(self) -> tuple[object, ...]:
        return self.band, self.budget_why, self.dry_run, bool(self.paused), bool(self.alarms)


def _moved(now_w: float | None, before_w: float | None) -> bool:
    if now_w is None or before_w is None:
        return now_w is not before_w
    return abs(now_w - before_w) > max(CAP_MOVED_W, CAP_MOVED * before_w)
