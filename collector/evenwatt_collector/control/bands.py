"""The bands a zone moves through, and the total it is steered to. Pure: time is an argument, one position a zone.

::

               P >= 0.90 B            P^ >= 0.998 B
      NORMAL <-------------> HOLD ----------------+
        |      P <  0.90 B                        v
        +------------------ P^ >= 0.998 B ------> CAP -- P < 0.90 B for the dwell --> NORMAL
                                                  ^ |
                               P < 0.998 B        | | P >= 1.01 B
                                                  | v
      any ---------------- P >= 1.01 B ---------> BRAKE

P^ is the power expected when a cap sent now has taken hold (``lookahead``), never more than the leases allow. In
NORMAL the sum of leases grows at the up-ramp until it stands at the target. In HOLD and CAP it follows the trim alone,
and CAP lasts until power was low for the dwell. BRAKE cuts present use at once. The lease invariant already keeps an
obedient fleet at the target; the bands answer what it cannot: a budget that fell, an unmanaged load that rose,
devices that draw more than their caps say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.control.types import Band

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_collector.control.types import Bands

NORMAL, HOLD, CAP, BRAKE = range(4)
BY_CODE: Final = (Band.NORMAL, Band.HOLD, Band.CAP, Band.BRAKE)


class BandStates:
    """Every zone's band and what its timers need."""

    def __init__(self, zones: int) -> None:
        self.band: Ints = np.zeros(zones, dtype=np.int64)
        self.low_since_s: Floats = np.full(zones, np.nan)
        """Since when, in CAP, power has been below the release threshold."""
        self.dwell_s: Floats = np.zeros(zones)
        """How long it has to stay there."""
        self.released_s: Floats = np.full(zones, -np.inf)
        """When capping last ended."""

    @property
    def braking(self) -> Bools:
        """Zones whose present use is to be cut at once."""
        return np.equal(self.band, BRAKE)

    def move(self, power_w: Floats, expected_w: Floats, budget_w: Floats, now_s: float, bands: Bands) -> None:
        """Move every zone on after a reading: the one transition function of the drawing above.

        Args:
            power_w: P.
            expected_w: P^, at least P.
            budget_w: B, after its margin; an infinite one keeps its zone in NORMAL.
            now_s: Monotonic time.
            bands: Thresholds.
        """
        before = self.band
        was_capping = before >= CAP
        brake = power_w >= bands.brake_at * budget_w
        high = ~brake & (power_w >= bands.cap_at * budget_w)
        expected = ~brake & (before < CAP) & (expected_w >= bands.cap_at * budget_w)
        low = power_w < bands.release_below * budget_w
        calm = ~brake & ~high & (before == CAP) & low
        self.low_since_s = np.where(calm, np.fmin(self.low_since_s, now_s), np.nan)
        release = calm & (now_s - self.low_since_s >= self.dwell_s)
        idle = np.where(power_w >= bands.hold_at * budget_w, HOLD, NORMAL)
        after = np.where(was_capping, np.where(release, NORMAL, CAP), idle)
        after = np.where(high & (before == BRAKE), BRAKE, np.where((high & (before != BRAKE)) | expected, CAP, after))
        self.band = after = np.where(brake, BRAKE, after)
        began = (after >= CAP) & ~was_capping
        again = now_s - self.released_s < bands.recap_s
        dwell_s = np.where(again, np.minimum(2 * self.dwell_s, bands.release_max_s), bands.release_s)
        self.dwell_s = np.where(began, dwell_s, self.dwell_s)
        self.released_s = np.where(release, now_s, self.released_s)


@dataclass(frozen=True, slots=True)
class Steering:
    """What decides how the totals may move in one step."""

    band: Ints
    power_w: Floats
    budget_w: Floats
    """After the margin."""
    floors_w: Floats
    """Handed out anyway: floors, reserved and unmanaged power."""
    may_grow: Bools
    may_trim: Bools
    """False while a cut is on its way: the reading is older than the caps."""


def next_total(total_w: Floats, steering: Steering, elapsed_s: float, bands: Bands) -> Floats:
    """Return the totals to hand out next: ramp in NORMAL, trim elsewhere, never above the target.

    The trim is an integrator; clipping its state at the target and at the floors is what freezes it there.
    """
    budget_w = np.where(np.isfinite(steering.budget_w), steering.budget_w, 0.0)
    top_w = bands.target * budget_w
    ramp_w = bands.ramp * budget_w * elapsed_s
    trim_w = np.minimum(ramp_w, bands.trim_gain * min(1.0, elapsed_s) * (top_w - steering.power_w))
    change_w = np.where(steering.band == NORMAL, ramp_w, np.where(steering.may_trim, trim_w, 0.0))
    change_w = np.where(steering.may_grow, change_w, np.minimum(0.0, change_w))
    next_w = np.minimum(top_w, np.maximum(total_w + change_w, steering.floors_w))
    return np.where(np.isfinite(steering.budget_w), next_w, np.inf)
