"""A device whose speed and power are formulas of its cap, and a loop that lets a learner work on it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import exp

from evenwatt_collector.tuning import CapLearner, Context, Observed

CAPS_W = tuple(range(100, 301, 25))


@dataclass
class Board:
    """Draws what its cap lets it, does work as the cube root of dynamic power; below ``holds_w`` it throttles hard."""

    demand_w: float = 270.0
    idle_w: float = 50.0
    fixed: float = 0.3
    """Part of the time of a unit that does not depend on power."""
    holds_w: float = 0.0
    unit_s: float = 0.2
    own: dict[float, float] = field(default_factory=dict)
    """By cap: factor on energy, without physical reason."""

    def truth(self, cap_w: float) -> tuple[float, float]:
        """Return seconds and joules per unit."""
        power_w = (cap_w**-6 + self.demand_w**-6) ** (-1 / 6)
        clock = max(0.02, (power_w - self.idle_w) / (self.demand_w - self.idle_w)) ** (1 / 3)
        if cap_w < self.holds_w:
            clock *= (cap_w / self.holds_w) ** 4
            power_w = max(power_w, 0.95 * self.holds_w)
        seconds = self.unit_s * (self.fixed + (1 - self.fixed) / min(1.0, clock))
        return seconds, seconds * power_w * self.own.get(cap_w, 1.0)

    def regret(self, cap_w: float, caps_w=CAPS_W) -> float:
        return self.truth(cap_w)[1] / min(self.truth(each)[1] for each in caps_w) - 1


@dataclass
class Trace:
    """What happened."""

    choices: list = field(default_factory=list)
    """(time, choice), at each change."""
    units: float = 0.0
    explored: float = 0.0
    energy_j: float = 0.0
    now_s: float = 0.0
    held_w: float = 0.0

    @property
    def last(self):
        return self.choices[-1][1]


class Bench:
    """Runs a learner on a board; speed and power follow a new cap within seconds, and everything is noisy."""

    def __init__(self, learner: CapLearner, board: Board, *, seed=1, noise=0.02, top_w=300.0):
        self.learner, self.board, self.trace = learner, board, Trace()
        self._dice, self._noise = random.Random(seed), noise
        self._cap_w = self._from_w = top_w
        self._since_s = -1e9

    def run(self, seconds, context=None, *, window_s=1.0, latency=None, clean=True):
        """Go on for so long; ``latency`` gives it from the cap."""
        context = context or Context()
        trace, end_s = self.trace, self.trace.now_s + seconds
        while trace.now_s < end_s:
            choice = self.learner.propose(trace.now_s, context() if callable(context) else context)
            if not trace.choices or trace.last != choice:
                trace.choices.append((trace.now_s, choice))
            if choice.cap_w != self._cap_w:
                self._from_w, self._cap_w, self._since_s = self._cap_w, choice.cap_w, trace.now_s
            if not choice.exploring:
                trace.held_w = choice.cap_w
            self._window(window_s, choice, latency, clean)
        return trace

    def _window(self, window_s, choice, latency, clean):
        trace = self.trace
        unit_s, unit_j = self.board.truth(self._cap_w)
        before_s, before_j = self.board.truth(self._from_w)
        left = exp(-(trace.now_s - self._since_s) / 0.7)
        unit_s, unit_j = unit_s + (before_s - unit_s) * left, unit_j + (before_j - unit_j) * left
        units = max(1, round(window_s / unit_s))
        spread = self._noise / units**0.5 / unit_s**0.5
        seconds = units * unit_s * max(0.3, self._dice.gauss(1, spread))
        energy_j = units * unit_j * max(0.3, self._dice.gauss(1, spread))
        trace.now_s += seconds
        trace.units += units
        trace.energy_j += energy_j
        trace.explored += units * choice.exploring
        self.learner.observe(
            Observed(
                cap_w=self._cap_w,
                units=units,
                energy_j=energy_j,
                seconds=seconds,
                at_s=trace.now_s,
                latency_s=None if latency is None else latency(self._cap_w),
                clean=clean,
            )
        )
