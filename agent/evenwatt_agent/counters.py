"""From raw readings to joules, for one probe. Pure: readings and their times come in, energy comes out.

An energy counter is 32 bits of hardware behind a unit and wraps every few minutes at full power. Between two readings
the energy is ``cur - prev``, or ``range - prev + cur`` after one wrap. Where the elapsed time allows more than one
wrap the number of wraps cannot be known, and where the result exceeds what the domain can draw the counter was reset
or lies: then the interval is a gap of quality ``unknown`` and counting starts again from the present value. A joule
is never negative, never guessed, and never counted twice.

On a busy machine a reading is taken later than its time stamp says, and some hardware brings its counter up to date
only ten times a second: one interval then shows what was drawn in several. So what a domain can draw is not judged
by the single interval: over any stretch of time it is the bound of its power, and half a second of it more. Two
readers whose readings cross show a counter that goes back a little: such an older reading is passed over.

::

    (no reading) --first--> BASED --plausible delta--> BASED            energy
                              |---- a little lower, for a moment -----> BASED (unchanged)
                              |---- reset / lie / >= 1 unknown wrap --> BASED (re-baselined), gap unknown
                              |---- rebase() (suspend) --> (no reading)

All energy is kept in integer microjoules, the kernel's own unit, so that sums are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from evenwatt_agent.sources.model import Unit
from evenwatt_wire import Quality

_LATE_S: Final = 0.5
"""How late a counter, or the reading of it, may be at the most that its domain can draw."""
_MAX_INTEGRATION_S: Final = 5.0
"""Power readings further apart than this are not joined by a straight line."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A probe's last raw reading: enough to go on counting after a restart of the agent."""

    raw: int
    t_ns: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one reading added. ``reason`` is set when the interval was not simply counted."""

    energy_uj: int
    start_ns: int
    end_ns: int
    reason: str = ""
    quality: Quality = Quality.MEASURED


class EnergyCounter:
    """Unwraps one cumulative counter."""

    def __init__(self, range_uj: int, max_power_w: float, baseline: Baseline | None = None) -> None:
        self._range_uj = range_uj
        self._max_power_w = max_power_w
        self._late_uj = self._spare_uj = max_power_w * _LATE_S * 1e6
        """What may come late at most, and how much of it has not come yet."""
        self.baseline = baseline

    def update(self, t_ns: int, raw: int) -> Step | None:
        """Take a reading; None for the first one, which only sets the baseline, and for one older than the last."""
        previous = self.baseline
        if previous is not None and t_ns <= previous.t_ns:
            return None
        if previous is None:
            self.baseline = Baseline(raw, t_ns)
            return None
        elapsed_s = (t_ns - previous.t_ns) * 1e-9
        bound_uj = self._max_power_w * elapsed_s * 1e6 + self._spare_uj
        energy_uj = raw - previous.raw if raw >= previous.raw else self._range_uj - previous.raw + raw
        reason = self._doubt(previous, raw, energy_uj, elapsed_s, bound_uj)
        if reason and raw >= 0 and elapsed_s <= _LATE_S and 0 < self._back_uj(previous.raw, raw) <= self._late_uj:
            return None
        self.baseline = Baseline(raw, t_ns)
        energy_uj = 0 if reason else energy_uj
        self._spare_uj = min(self._late_uj, bound_uj - energy_uj)
        return Step(energy_uj, previous.t_ns, t_ns, reason, Quality.UNKNOWN if reason else Quality.MEASURED)

    def _back_uj(self, before: int, raw: int) -> int:
        """Return how far a counter has gone back, perhaps over its wrap."""
        return (before - raw) % self._range_uj if self._range_uj > 0 else before - raw

    def _doubt(self, previous: Baseline, raw: int, energy_uj: int, elapsed_s: float, bound_uj: float) -> str:
        """Return why a reading does not say what was drawn; empty if it does."""
        if raw < 0:
            return f"counter reads {raw}"
        if raw < previous.raw and self._range_uj <= 0:
            return "counter went back and its range is not known"
        if 0 < self._range_uj <= bound_uj:
            return f"{elapsed_s:.0f} s without a reading: it may have wrapped more than once"
        if not 0 <= energy_uj <= bound_uj:
            return "counter was reset, or jumped beyond what its domain can draw"
        return ""

    def rebase(self) -> None:
        """Forget the last reading: the next one is a new beginning."""
        self.baseline = None


class PowerIntegrator:
    """Integrates power readings over time by the trapezoid rule, the remainder below a microjoule carried on."""

    def __init__(self, max_power_w: float, quality: Quality) -> None:
        self._max_power_w = max_power_w
        self._quality = quality
        self._remainder = 0
        self.baseline: Baseline | None = None

    def update(self, t_ns: int, raw: int) -> Step | None:
        """Take a reading in microwatts; None for the first one."""
        previous = self.baseline
        if previous is not None and t_ns <= previous.t_ns:
            return None
        if not 0 <= raw <= self._max_power_w * 1e6:
            self.baseline = None
            start_ns = previous.t_ns if previous else t_ns
            return Step(0, start_ns, t_ns, f"impossible reading of {raw / 1e6:g} W", Quality.UNKNOWN)
        self.baseline = Baseline(raw, t_ns)
        if previous is None:
            return None
        elapsed_ns = t_ns - previous.t_ns
        if elapsed_ns > _MAX_INTEGRATION_S * 1e9:
            reason = f"{elapsed_ns * 1e-9:.0f} s without a reading"
            return Step(0, previous.t_ns, t_ns, reason, Quality.UNKNOWN)
        energy_uj, self._remainder = divmod((previous.raw + raw) * elapsed_ns + self._remainder, 2_000_000_000)
        return Step(energy_uj, previous.t_ns, t_ns, quality=self._quality)

    def rebase(self) -> None:
        """Forget the last reading: the next one is a new beginning."""
        self.baseline = None


Counter = EnergyCounter | PowerIntegrator


def counter_for(
    unit: Unit, range_uj: int, max_power_w: float, quality: Quality, baseline: Baseline | None = None
) -> Counter:
    """Return the counter that suits a probe. Only an energy counter can go on from an earlier baseline."""
    if unit is Unit.ENERGY_UJ:
        return EnergyCounter(range_uj, max_power_w, baseline)
    return PowerIntegrator(max_power_w, quality)
