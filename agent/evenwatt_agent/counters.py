"""From raw readings to joules, for one probe. Pure: readings and their times come in, energy comes out.

An energy counter is 32 bits of hardware behind a unit and wraps every few minutes at full power. Between two readings
the energy is ``cur - prev``, or ``range - prev + cur`` after one wrap. Where the elapsed time allows more than one
wrap the number of wraps cannot be known, and where the result exceeds what the domain can draw the counter was reset
or lies: then the interval is a gap of quality ``unknown`` and counting starts again from the present value. A joule
is never negative, never guessed, and never counted twice.

::

    (no reading) --first--> BASED --plausible delta--> BASED            energy
                              |---- reset / lie / >= 1 unknown wrap --> BASED (re-baselined), gap unknown
                              |---- rebase() (suspend) --> (no reading)

All energy is kept in integer microjoules, the kernel's own unit, so that sums are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from evenwatt_agent.sources.model import Unit
from evenwatt_wire import Quality

# RAPL refreshes about every millisecond, and a reading may be delayed after its time stamp: what five milliseconds at
# full power could add is no lie.
_SLACK_S: Final = 0.005
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
        self.baseline = baseline

    def update(self, t_ns: int, raw: int) -> Step | None:
        """Take a reading; None for the first one, which only sets the baseline."""
        previous = self.baseline
        if previous is not None and t_ns <= previous.t_ns:
            return None
        self.baseline = Baseline(raw, t_ns)
        if previous is None:
            return None
        elapsed_s = (t_ns - previous.t_ns) * 1e-9
        bound_uj = self._max_power_w * (elapsed_s + _SLACK_S) * 1e6
        energy_uj = raw - previous.raw if raw >= previous.raw else self._range_uj - previous.raw + raw
        reason = ""
        if raw < 0:
            reason = f"counter reads {raw}"
        elif raw < previous.raw and self._range_uj <= 0:
            reason = "counter went back and its range is not known"
        elif 0 < self._range_uj <= bound_uj:
            reason = f"{elapsed_s:.0f} s without a reading: it may have wrapped more than once"
        elif not 0 <= energy_uj <= bound_uj:
            reason = "counter was reset, or jumped beyond what its domain can draw"
        if reason:
            return Step(0, previous.t_ns, t_ns, reason, Quality.UNKNOWN)
        return Step(energy_uj, previous.t_ns, t_ns)

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
