"""Which caps may be held, and which may be tried. Pure.

Held: what was measured to be within the SLO, one standard error included, or the ceiling. Tried: what is predicted to
be. Below the lowest cap known to be safe, time per unit is taken to grow twice as steeply as over the last tenth of
power above it. Where that has not been measured, it is taken to grow in proportion to the power that is lost: work is
concave in power and takes none without it, so that a share of power never loses more than that share of work, as long
as the board holds the cap. So the cap goes down in steps that shrink where the workload begins to suffer. Latency is
taken to grow twice as fast as time per unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from typing import TYPE_CHECKING, Final

from evenwatt_collector.tuning.records import below

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.tuning.evidence import Evidence
    from evenwatt_collector.tuning.memory import Memory
    from evenwatt_collector.tuning.records import Context, Observed, Settings

_BINDS: Final = 0.95
"""A device that is bound by its cap draws so much of it on average, or more."""
_STEP: Final = 0.75
"""The cap goes down by a quarter at the most from the lowest that has been measured, or to the next in the list."""
_WIDE: Final = 1.1
_LEAST_STEEP: Final = 0.5
_DEADLINE_MARGIN: Final = 1.05
_LATENCY_MARGIN: Final = 0.9


@dataclass(frozen=True, slots=True)
class Limits:
    """What must be kept now, as figures."""

    log_time: float
    """Logarithm of the most seconds a unit may take; infinite: no bound."""
    latency_s: float
    words: str
    """What bounds, for a reason given to a person."""

    @property
    def any(self) -> bool:
        """Whether there is a bound at all."""
        return self.log_time < inf or self.latency_s < inf

    def broken_by(self, seen: Observed, error: float) -> str:
        """Say how one window broke them beyond its noise; empty if it did not."""
        if seen.latency_s is not None and seen.latency_s > self.latency_s:
            return f"latency was {seen.latency_s:.3g} s at {seen.cap_w:g} W, more than {self.latency_s:.3g} s"
        if seen.units > 0 and log(seen.seconds / seen.units) > self.log_time + 3 * error:
            return f"work was slower at {seen.cap_w:g} W than {self.words} allows"
        return ""


def limits(settings: Settings, context: Context, memory: Memory, now_s: float) -> Limits:
    """Return what must be kept now."""
    slo = settings.slo
    rates: list[tuple[float, str]] = []
    fastest = next((each for each in reversed(memory.caps) if each.known), None)
    if slo.max_slowdown is not None and fastest is not None:
        rates.append((fastest.units / fastest.seconds / slo.max_slowdown, f"max_slowdown {slo.max_slowdown:g}"))
    if slo.least_units_per_s is not None:
        rates.append((slo.least_units_per_s, f"least_units_per_s {slo.least_units_per_s:g}"))
    if context.remaining_units and context.deadline_s is not None:
        left_s = max(1.0, context.deadline_s - now_s)
        rates.append((_DEADLINE_MARGIN * context.remaining_units / left_s, f"the deadline in {left_s:.0f} s"))
    latency_s = inf if slo.max_latency_s is None else slo.max_latency_s
    if not rates:
        return Limits(inf, latency_s, f"max_latency_s {latency_s:g}" if latency_s < inf else "")
    rate, words = max(rates)
    return Limits(-log(rate), latency_s, words)


def may_hold(each: Evidence, bound: Limits, memory: Memory, now_s: float) -> bool:
    """Whether a cap has been measured and is within the bounds."""
    if not each.known or _refused(each.cap_w, memory, now_s):
        return False
    slow = each.log_time + memory.time_noise.error(each.seconds) > bound.log_time
    return not slow and each.latency_s <= bound.latency_s


def may_try(bound: Limits, memory: Memory, top_w: float, now_s: float) -> list[bool]:
    """Return, of each cap, whether it may be measured (again).

    Args:
        bound: What must be kept.
        memory: What is known.
        top_w: The highest cap that is allowed now: it may always be.
        now_s: Refusals that have ended by then do not count.
    """
    measured = [each for each in memory.caps if each.known]
    caps_w = [each.cap_w for each in memory.caps]
    if not measured:
        return [cap_w == top_w for cap_w in caps_w]
    lowest_w = measured[0].cap_w
    reach_w = min(_STEP * lowest_w, below(caps_w, lowest_w) or lowest_w)
    allowed = [not _refused(cap_w, memory, now_s) and cap_w >= reach_w for cap_w in caps_w]
    if bound.any:
        safe = [each for each in measured if may_hold(each, bound, memory, now_s)]
        allowed = [
            ok and (cap_w == top_w or _predicted_within(cap_w, safe, bound, memory))
            for ok, cap_w in zip(allowed, caps_w, strict=True)
        ]
    return allowed


def _predicted_within(cap_w: float, safe: Sequence[Evidence], bound: Limits, memory: Memory) -> bool:
    """Whether a cap should keep the bounds, given those (ascending) that do."""
    if not safe:
        return False
    lowest = safe[0]
    if cap_w >= lowest.cap_w:
        return True
    lost = max(0.0, log(min(lowest.cap_w, lowest.power_w / _BINDS) / cap_w))
    # Over a wide enough step: between neighbours noise would pass for steepness.
    above = next((each for each in safe if each.cap_w >= _WIDE * lowest.cap_w), safe[-1])
    wide = log(above.cap_w / lowest.cap_w)
    measured = wide >= log(_WIDE)
    steepness = max(_LEAST_STEEP, 2 * (lowest.log_time - above.log_time) / wide) if measured else 1.0
    slower = lowest.log_time + memory.time_noise.error(lowest.seconds) + steepness * lost
    latency_s = lowest.latency_s * (cap_w / lowest.cap_w) ** -(2 * steepness) if lost else lowest.latency_s
    return slower <= bound.log_time and latency_s <= _LATENCY_MARGIN * bound.latency_s


def _refused(cap_w: float, memory: Memory, now_s: float) -> bool:
    return any(cap_w <= refused.cap_w and now_s < refused.until_s for refused in memory.refused)
