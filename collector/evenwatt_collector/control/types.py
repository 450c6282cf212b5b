"""What goes into the control core and what comes out. Watts, and seconds of one monotonic clock.

A node has a slot, its position in every array, for as long as it is known. Zones have their index in the tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_collector.control.reasons import Why

TTL_S: Final = 10.0
"""Length of a lease (our choice: several renewals may be lost; Dynamo and Thunderbolt act within seconds)."""


class Band(StrEnum):
    """Where a zone's power stands against its budget; ``bands`` draws the ways between."""

    NORMAL = "normal"
    HOLD = "hold"
    CAP = "cap"
    BRAKE = "brake"


class OnLost(IntEnum):
    """What a node does when its lease ends without a new one."""

    FALLBACK = 0
    """It goes to its own fallback."""
    HOLD = 1
    """It stays at the cap it had, where its own settings allow that."""
    RESTORE = 2
    """It takes its machine's own limits back, where its own settings allow that; it counts as that all the time."""


@dataclass(frozen=True, slots=True)
class Bands:
    """Thresholds as fractions of the budget B after its margin, and the times that go with them."""

    hold_at: float = 0.90
    """Up to here leases grow at the full up-ramp; from here by trim only (Slurm's 90 % threshold)."""
    target: float = 0.995
    """Where a zone that needs capping is held: leases bound its power already, so Dynamo's 0.95 would waste watts."""
    cap_at: float = 0.998
    """Capping begins (Dynamo's 0.99); caps on their way from one node to another may fill a zone up to here."""
    brake_at: float = 1.01
    """Emergency cut on one reading (POLCA's power brake): half way into the margin, as devices overshoot a little."""
    release_below: float = 0.90
    """Capping ends below this (Slurm: 90 % ...)"""
    release_s: float = 30.0
    """... after this long (Slurm: 30 s)."""
    recap_s: float = 60.0
    """Capping again so soon after a release doubles the next ``release_s`` (our choice) ..."""
    release_max_s: float = 600.0
    """... up to this (our choice)."""
    release_jitter_s: float = 10.0
    """After a release each node's first raise waits for a random part of this (Thunderbolt's unthrottling)."""
    trim_gain: float = 0.2
    """K per second of b <- b + K(target B - P); stable below 0.445 for three seconds of delay."""
    ramp: float = 0.02
    """Growth of the sum of leases per second as a fraction of B (our choice, after Thunderbolt's slow unthrottling)."""
    pause_s: float = 10.0
    """Above ``brake_at`` for this long with every cap at its floor, work is paused (our choice)."""
    resume_below: float = 0.80
    """Below this ..."""
    resume_s: float = 60.0
    """... for this long, paused work goes on (our choice)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What holds for every zone of a controller."""

    margin: float = 0.02
    """Fraction of the hard budget that is never handed out: meters are wrong by 1 to 2 % (our choice)."""
    bands: Bands = field(default_factory=Bands)


class Observations:
    """Every node as last heard: one array a column, one position a slot. The caller keeps and fills it.

    A slot that is not ``present`` is known to be off; a lost node stays present and keeps its place in the budget.
    """

    _FLOATS: Final = (
        "power_w",  # mean of the latest live window
        "peak_w",  # highest 100 ms bin of the last 10 s
        "window_peak_w",  # highest 100 ms bin of the latest live window
        "age_s",  # since the latest live window was received; large when silent
        "floor_w",
        "ceiling_w",
        "device_w",  # highest cap of its devices, where a rule has lowered the ceiling
        "fallback_w",  # the most that its cap is when no lease is in force
        "weight",
        "held_w",  # cap the node last reported in force; NaN: it arrives at its fallback
        "lease_left_s",  # how long the lease of ``lease_seq`` went on when it was reported
    )
    power_w: Floats
    peak_w: Floats
    window_peak_w: Floats
    age_s: Floats
    floor_w: Floats
    ceiling_w: Floats
    device_w: Floats
    fallback_w: Floats
    weight: Floats
    held_w: Floats
    lease_left_s: Floats

    def __init__(self, slots: int) -> None:
        for name in self._FLOATS:
            setattr(self, name, np.zeros(slots))
        self.weight[:] = 1.0
        self.held_w[:] = np.nan
        self.age_s[:] = np.inf
        self.present: Bools = np.zeros(slots, dtype=np.bool_)
        self.online: Bools = np.zeros(slots, dtype=np.bool_)
        """Its birth was seen and it is neither lost nor disconnected."""
        self.controllable: Bools = np.zeros(slots, dtype=np.bool_)
        self.pausable: Bools = np.zeros(slots, dtype=np.bool_)
        """It has work that may be paused."""
        self.asked: Bools = np.zeros(slots, dtype=np.bool_)
        """A person asks for that work to be paused."""
        self.paused: Bools = np.zeros(slots, dtype=np.bool_)
        """It says that this work is paused."""
        self.zone: Ints = np.zeros(slots, dtype=np.int64)
        self.priority: Ints = np.full(slots, 5, dtype=np.int64)
        """0 is cut first, 9 last."""
        self.on_lost: Ints = np.zeros(slots, dtype=np.int64)
        """An ``OnLost`` each."""
        self.lease_seq: Ints = np.full(slots, -1, dtype=np.int64)
        """Number of our grant that the node reported in force; -1: none, or it does not say."""

    def __len__(self) -> int:
        return len(self.present)

    def grown(self, slots: int) -> Observations:
        """Return a copy with room for ``slots`` nodes."""
        bigger = Observations(slots)
        for name, column in vars(self).items():
            getattr(bigger, name)[: len(self)] = column
        return bigger


@dataclass(frozen=True, slots=True)
class Grants:
    """Leases to be sent, in this order: decreases, raises, renewals.

    A node may draw ``cap_w`` for ``ttl_s`` from receipt, then ramps to ``fallback_w``.
    """

    slot: Ints
    seq: Ints
    cap_w: Floats
    fallback_w: Floats
    ttl_s: float = TTL_S

    def __len__(self) -> int:
        return len(self.slot)


@dataclass(frozen=True, slots=True)
class Renewals:
    """Zones whose nodes' leases go on for ``ttl_s`` from receipt, but those left out.

    A node whose lease has the number ``seq`` or a higher one is not meant.
    """

    seq: int
    zone: Ints
    left_out: tuple[Ints, ...]
    """Of each of these zones: slots."""
    ttl_s: float = TTL_S

    def __len__(self) -> int:
        return len(self.zone)


@dataclass(frozen=True, slots=True)
class Pauses:
    """Orders to pause work (``pause`` True, a lease of ``ttl_s`` too) or to let it go on."""

    slot: Ints
    pause: Bools
    ttl_s: float = TTL_S

    def __len__(self) -> int:
        return len(self.slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one step found and wants sent. Arrays of zones but for ``share_w``."""

    bands: tuple[Band, ...]
    budget_w: Floats
    """The hard budget; infinite where there is none."""
    target_w: Floats
    """What the zone as a whole is being steered to, unmanaged power included."""
    power_w: Floats
    """Sum of readings; a silent node counts with the most it may draw."""
    most_w: Floats
    """The most the zone may draw: leases, fallbacks and unmanaged power."""
    alarms: tuple[tuple[str, ...], ...]
    share_w: Floats
    """Watts allotted to each slot; NaN where nothing is steered now."""
    grants: Grants
    renewals: Renewals
    pauses: Pauses
    waiting_w: float
    """Raises that wait for a decrease to be acknowledged; stepping again on the acknowledgement shortens the wait."""
    disobeying: Ints
    """Slots that draw clearly more than their caps."""
    unbelieved: Ints
    """Slots that say they draw more than they possibly can."""
    unmanageable: Ints
    """Slots whose devices ignore limits; they count by their power."""
    why: Why | None
    """Everything that decided; None while the controller only watches."""
