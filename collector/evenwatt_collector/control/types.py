"""What goes into the zone control core and what comes out. Watts, and seconds of one monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Band(StrEnum):
    """Where the zone's power stands against its budget; ``bands`` draws the ways between."""

    NORMAL = "normal"
    HOLD = "hold"
    CAP = "cap"
    BRAKE = "brake"


@dataclass(frozen=True, slots=True)
class Bands:
    """Thresholds as fractions of the budget B after its margin, and the times that go with them."""

    hold_at: float = 0.90
    """Up to here leases grow at the full up-ramp; from here by trim only (Slurm's 90 % threshold)."""
    target: float = 0.95
    """Where a zone that needs capping is held (Dynamo's capping target); the other 5 % wait for arrivals."""
    cap_at: float = 0.97
    """Capping begins (Dynamo's 0.99, lower for the delay of a network)."""
    brake_at: float = 1.00
    """Emergency cut on one reading (POLCA's power brake)."""
    release_below: float = 0.90
    """Capping ends below this (Slurm: 90 % ...)"""
    release_s: float = 30.0
    """... after this long (Slurm: 30 s)."""
    recap_s: float = 60.0
    """Capping again so soon after a release doubles the next ``release_s`` (our choice) ..."""
    release_max_s: float = 600.0
    """... up to this (our choice)."""
    trim_gain: float = 0.2
    """K per second of b <- b + K(target B - P); stable below 0.445 for three seconds of delay."""
    ramp: float = 0.02
    """Growth of the sum of leases per second as a fraction of B (our choice, after Thunderbolt's slow unthrottling)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a zone may draw."""

    budget_w: float
    """Hard budget: a breaker, a contract or a carbon plan."""
    unmanaged_w: float = 0.0
    """Fixed load under the same budget that no node reports."""
    margin: float = 0.03
    """Fraction of the hard budget that is never handed out: meters are wrong by 1 to 2 % (our choice)."""
    bands: Bands = field(default_factory=Bands)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeObservation:
    """One node as last heard. Leave out a node that is known to be off; a lost one keeps its place in the budget."""

    node: str
    controllable: bool
    power_w: float
    """Mean of the latest live window."""
    peak_w: float
    """Highest 100 ms bin of the last 10 s."""
    age_s: float
    """Since the latest live window was received; large when silent."""
    floor_w: float
    ceiling_w: float
    fallback_w: float
    """Cap in force on the node when no lease is."""
    priority: int
    """0 is cut first, 9 last."""
    weight: float
    online: bool
    """Its birth was seen and it is neither lost nor disconnected."""
    window_peak_w: float | None = None
    """Highest 100 ms bin of the latest live window; with it a node that has finished is told from one that bursts
    seven seconds before ``peak_w`` forgets. None: ``peak_w`` is taken."""
    held_w: float | None = None
    """Cap the node last reported in force (``Live.lease.cap_w``; its ceiling if it was released). It counts only when
    this controller meets the node for the first time; None means that the node arrives at its fallback."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A lease to be sent: the node may draw ``cap_w`` for ``ttl_s`` from receipt, then ramps to ``fallback_w``."""

    node: str
    seq: int
    cap_w: float
    fallback_w: float
    ttl_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one step found and wants sent."""

    band: Band
    target_w: float
    """What the zone as a whole is being steered to, unmanaged power included."""
    power_w: float
    """Sum of readings; a silent node counts with the most it may draw."""
    leased_w: float
    """The most the zone may draw: leases, fallbacks and unmanaged power."""
    grants: tuple[Grant, ...]
    """In sending order: decreases, raises, renewals."""
    alarms: tuple[str, ...]
    shares: Mapping[str, float]
    """Watts allotted to each node that is steered now."""
    waiting_w: float = 0.0
    """Raises that wait for a decrease to be acknowledged; stepping again on the acknowledgement shortens the wait."""
