"""The bands a zone moves through, and the total it is steered to. Pure: time is an argument.

::

               P >= 0.90 B             P >= 0.97 B
      NORMAL <-------------> HOLD ----------------+
        |      P <  0.90 B                        v
        +------------------- P >= 0.97 B -------> CAP -- P < 0.90 B for the dwell --> NORMAL
                                                  ^ |
                                P < 0.97 B        | | P >= 1.00 B
                                                  | v
      any ---------------- P >= 1.00 B ---------> BRAKE

In NORMAL the sum of leases grows at the up-ramp until it stands at the target. In HOLD and CAP it follows the trim
alone, and CAP lasts until power was low for the dwell. BRAKE cuts present use at once. The lease invariant already
keeps an obedient fleet at the target; the bands answer what it cannot: a budget that fell, an unmanaged load that
rose, devices that draw more than their caps say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from evenwatt_collector.control.types import Band

if TYPE_CHECKING:
    from evenwatt_collector.control.types import Bands


@dataclass(frozen=True, slots=True)
class BandState:
    """The band and what its timers need."""

    band: Band = Band.NORMAL
    low_since_s: float | None = None
    """Since when, in CAP, power has been below the release threshold."""
    dwell_s: float = 0.0
    """How long it has to stay there."""
    released_s: float = -inf
    """When capping last ended."""


def next_band(state: BandState, power_w: float, budget_w: float, now_s: float, bands: Bands) -> BandState:
    """Return the state after a reading: the one transition function of the drawing above."""
    if power_w >= bands.brake_at * budget_w:
        return _capping(state, Band.BRAKE, now_s, bands)
    if power_w >= bands.cap_at * budget_w:
        if state.band is Band.BRAKE:
            return state
        return _capping(state, Band.CAP, now_s, bands)
    if state.band is Band.BRAKE:
        return replace(state, band=Band.CAP, low_since_s=None)
    if state.band is Band.CAP:
        return _released_if_low(state, power_w < bands.release_below * budget_w, now_s)
    return replace(state, band=Band.HOLD if power_w >= bands.hold_at * budget_w else Band.NORMAL)


def _capping(state: BandState, band: Band, now_s: float, bands: Bands) -> BandState:
    if state.band in (Band.CAP, Band.BRAKE):
        return replace(state, band=band, low_since_s=None)
    again = now_s - state.released_s < bands.recap_s
    dwell_s = min(2 * state.dwell_s, bands.release_max_s) if again else bands.release_s
    return replace(state, band=band, low_since_s=None, dwell_s=dwell_s)


def _released_if_low(state: BandState, low: bool, now_s: float) -> BandState:
    if not low:
        return replace(state, low_since_s=None)
    if state.low_since_s is None:
        return replace(state, low_since_s=now_s)
    if now_s - state.low_since_s < state.dwell_s:
        return state
    return replace(state, band=Band.NORMAL, low_since_s=None, released_s=now_s)


@dataclass(frozen=True, slots=True)
class Steering:
    """What decides how the total may move in one step."""

    band: Band
    power_w: float
    budget_w: float
    """After the margin."""
    floors_w: float
    """The total cannot be steered below this: floors, reserved and unmanaged power."""
    elapsed_s: float
    may_grow: bool
    may_trim: bool
    """False while a cut is on its way: the reading is older than the caps."""


def next_total(total_w: float, steering: Steering, bands: Bands) -> float:
    """Return the total to hand out next: ramp in NORMAL, trim elsewhere, never above the target.

    The trim is an integrator; clipping its state at the target and at the floors is what freezes it there.
    """
    budget_w = steering.budget_w
    top_w = bands.target * budget_w
    ramp_w = bands.ramp * budget_w * steering.elapsed_s
    if steering.band is Band.NORMAL:
        change_w = ramp_w
    elif steering.may_trim:
        change_w = min(ramp_w, bands.trim_gain * min(1.0, steering.elapsed_s) * (top_w - steering.power_w))
    else:
        change_w = 0.0
    if not steering.may_grow:
        change_w = min(0.0, change_w)
    return min(top_w, max(total_w + change_w, min(total_w, steering.floors_w)))
