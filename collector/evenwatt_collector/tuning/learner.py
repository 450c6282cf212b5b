"""Learns the best power cap of one workload on one kind of device, while it works. Pure: time is an argument.

    nothing known --the ceiling measured--> settled --a cap is worth trying, and there is budget--> trying
    trying --measured, hopeless, work stands still--> settled (or the next trial)
    trying --the zone throttles, the device is shared, the SLO is broken--> settled, at once
    settled --the workload has changed--> nothing known (but for the cap that is held)

The budget of exploring is a share of the work: of that which is done and known to come, or of what ``horizon_s`` at the
ceiling makes, whichever is more. All windows of a trial count, its warm-up too, and so does the first measurement at
the ceiling.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, hypot, log
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.tuning.deciding import candidate, log_cost, survey
from evenwatt_collector.tuning.memory import Trial, as_read_back_w, blank, read
from evenwatt_collector.tuning.wording import say

if TYPE_CHECKING:
    from evenwatt_collector.tuning.admissible import Limits
    from evenwatt_collector.tuning.deciding import Standing
    from evenwatt_collector.tuning.evidence import Evidence
    from evenwatt_collector.tuning.objective import Cost
    from evenwatt_collector.tuning.records import Candidate, Choice, Context, Observed, Settings

_LEAST_S: Final = 3.0
"""A measurement is at least so long, and at least two windows."""
_MOST_S: Final = 60.0
_MANY: Final = 12
_FIRST: Final = 0.5
"""Part of what is left of the budget that goes to caps not measured yet; the rest is for those that are alike."""
_HOPELESS: Final = 0.08
"""A cap that costs more than the best by this and by 2.5 standard errors is not measured any longer."""
_STILL_S: Final = 60.0
"""Without a unit of work finished for so long, or ten times the usual window, a trial is given up."""
_REVIEW_S: Final = 30.0
"""So often it is asked anew whether something is worth trying, while nothing else happens."""
_WATCHED_S: Final = 10.0
"""Only what has been measured for longer is a standard by which change is noticed."""


class CapLearner:
    """Of one workload on one kind of device.

    Args:
        settings: Checked ones.
        state: What :meth:`state` gave, to go on from there.

    Raises:
        ValueError: ``state`` is of another version, or no such document.
    """

    def __init__(self, settings: Settings, state: object = None) -> None:
        self._settings = settings
        self._memory = blank(settings) if state is None else read(state, settings)
        self._bound: Limits | None = None
        self._said: tuple[Context, Choice] | None = None
        self._review_s = 0.0
        self._stale = False
        self._asked_s: float | None = None
        """When a cap was asked for last: while nothing runs nobody asks."""

    @property
    def explored_share(self) -> float:
        """Part of the work that was done while exploring."""
        return self._memory.explored_units / self._memory.done_units if self._memory.done_units else 0.0

    @property
    def relearned(self) -> int:
        """How often the workload was found to have changed."""
        return self._memory.relearned

    def best(self, now_s: float, context: Context) -> Candidate | None:
        """Return the best cap that has been measured and may be held, without asking for anything; None: there is none.

        Raises:
            Failure: as :meth:`~evenwatt_collector.tuning.objective.Objective.cost`.
        """
        standing = survey(self._settings, context, self._memory, now_s)
        return None if standing.held is None else candidate(standing, self._memory, standing.held)

    def state(self) -> dict[str, Any]:
        """Return all that must survive a restart, as JSON-able data."""
        kept: dict[str, Any] = msgspec.to_builtins(self._memory)
        return kept

    def full_power(self, cap_w: float) -> tuple[float, float, float] | None:
        """Return energy and time of a unit at the highest cap against those at another one, measured both.

        Returns:
            Ratio of the energies, its relative standard error, ratio of the times; None if either was not measured.
        """
        known = [each for each in self._memory.caps if each.known]
        here = self._memory.of(cap_w)
        if here is None or not here.known or not known:
            return None
        top = max(known, key=lambda each: each.cap_w)
        noise = self._memory.energy_noise
        error = hypot(noise.error(here.seconds), noise.error(top.seconds))
        return exp(top.log_energy - here.log_energy), error, exp(top.log_time - here.log_time)

    @property
    def slower(self) -> float:
        """Share by which a unit takes longer under the cap held or tried than under the highest one measured."""
        trial, held_w = self._memory.trial, self._memory.held_w
        caps_w = [cap_w for cap_w in (held_w, trial.cap_w if trial else None) if cap_w is not None]
        found = [self.full_power(cap_w) for cap_w in caps_w]
        return max([0.0, *(1 / one[2] - 1 for one in found if one is not None)])

    def observe(self, seen: Observed) -> None:
        """Learn from a window. What cannot be learned from is counted as work, no more."""
        memory = self._memory
        if not seen.usable:
            return
        memory.done_units += seen.units
        memory.explored_units += seen.units if memory.exploring else 0.0
        each = self._settled_at(seen)
        if each is None:
            return
        if seen.units <= 0:
            memory.pending_s += seen.seconds
            memory.pending_j += seen.energy_j
            return
        if memory.pending_s:
            seen = replace(seen, seconds=seen.seconds + memory.pending_s, energy_j=seen.energy_j + memory.pending_j)
            memory.pending_s = memory.pending_j = 0.0
        self._learn(each, seen)

    def propose(self, now_s: float, context: Context) -> Choice:
        """Return the cap to set now; ask after each window, and whenever something has changed.

        Raises:
            Failure: as :meth:`~evenwatt_collector.tuning.objective.Objective.cost`.
        """
        memory = self._memory
        cost = self._settings.objective.cost(self._settings.caps_w[-1], context.intensity_g_per_kwh)
        self._skip_rest(now_s)
        ended = self._end_trial(cost, context, now_s)
        waits = memory.trial is not None or now_s < self._review_s
        if self._said is not None and self._said[0] == context and waits and not ended and not self._stale:
            return self._said[1]
        for each in memory.caps:
            each.fade(now_s, self._settings.half_life_s)
        standing = survey(self._settings, context, memory, now_s)
        memory.held_w = None if standing.held is None else self._settings.caps_w[standing.held]
        budget_s = self._budget_s(context)
        if memory.trial is None and not (context.capping or context.shared):
            self._begin_trial(standing, budget_s, now_s)
        choice = say(self._settings, context, memory, standing, spent=self._spent(budget_s))
        memory.exploring = choice.exploring
        self._bound, self._stale = standing.bound, False
        self._said, self._review_s = (context, choice), now_s + _REVIEW_S
        return choice

    def _settled_at(self, seen: Observed) -> Evidence | None:
        """Return where a window belongs; None if it is warm-up, disturbed, or under a cap that is none of ours."""
        memory = self._memory
        start_s = seen.at_s - seen.seconds
        if memory.seen_w is None or abs(seen.cap_w - memory.seen_w) > as_read_back_w(memory.seen_w):
            memory.seen_w, memory.clean_from_s = seen.cap_w, start_s + self._settings.warmup_s
            memory.pending_s = memory.pending_j = memory.energy_noise.last = memory.time_noise.last = 0.0
        if not seen.clean:
            memory.clean_from_s = seen.at_s + self._settings.warmup_s
            memory.pending_s = memory.pending_j = 0.0
        return memory.of(seen.cap_w) if start_s >= memory.clean_from_s - 1e-6 else None

    def _learn(self, each: Evidence, seen: Observed) -> None:
        memory = self._memory
        if each.known:
            off_energy = log(seen.energy_j / seen.units) - each.log_energy
            off_time = log(seen.seconds / seen.units) - each.log_time
            memory.energy_noise.add(off_energy, seen.seconds, each.seconds)
            memory.time_noise.add(off_time, seen.seconds, each.seconds)
            if not memory.exploring and each.seconds >= _WATCHED_S:
                noise = memory.energy_noise.density_s
                changed = memory.energy_watch.add(off_energy, seen.seconds, noise)
                if memory.time_watch.add(off_time, seen.seconds, memory.time_noise.density_s) or changed:
                    memory.forget()
                    self._stale = True
                    each = memory.of(seen.cap_w) or each
        each.add(seen)
        if memory.trial is not None and memory.trial.cap_w == each.cap_w:
            memory.trial.seconds += seen.seconds
            memory.trial.windows += 1
        if self._bound is not None and each.cap_w < self._settings.caps_w[-1]:
            broken = self._bound.broken_by(seen, memory.time_noise.error(seen.seconds))
            if broken:
                memory.refuse(each.cap_w, seen.at_s, broken)
                self._stale = True

    def _end_trial(self, cost: Cost, context: Context, now_s: float) -> bool:
        """End the trial if it is done, or must not go on; return whether it has ended."""
        memory, trial = self._memory, self._memory.trial
        if trial is None:
            return False
        each = memory.of(trial.cap_w)
        forbidden = context.capping or context.shared or not context.floor_w <= trial.cap_w <= context.ceiling_w
        if each is None or forbidden or self._measured(each, trial, cost):
            memory.trial = None
        elif trial.windows == 0 and memory.held_w is not None:
            still_s = self._still_s()
            if now_s - trial.began_s > still_s:
                memory.refuse(trial.cap_w, now_s, f"no unit of work was finished in {still_s:.0f} s")
        return memory.trial is None

    def _skip_rest(self, now_s: float) -> None:
        """Let the time in which nothing ran not count against the cap that is tried."""
        trial, asked_s = self._memory.trial, self._asked_s
        self._asked_s = now_s
        if trial is not None and (asked_s is None or now_s - asked_s > 0.5 * self._still_s()):
            trial.began_s = max(trial.began_s, now_s)

    def _still_s(self) -> float:
        return max(_STILL_S, 10 * self._window_s()) + self._settings.warmup_s

    def _measured(self, each: Evidence, trial: Trial, cost: Cost) -> bool:
        """Whether a trial has told enough: it is precise, long, or hopeless."""
        if trial.windows < 2 or not each.known:
            return False
        value, error = log_cost(each, self._memory, cost)
        held = None if self._memory.held_w is None else self._memory.of(self._memory.held_w)
        if held is not None and held is not each and held.known:
            least, other = log_cost(held, self._memory, cost)
            if value - least > _HOPELESS + 2.5 * (error + other):
                return True
        return trial.seconds >= _LEAST_S and (error <= trial.until_error or trial.seconds >= trial.most_s)

    def _begin_trial(self, standing: Standing, budget_s: float, now_s: float) -> None:
        memory, settings = self._memory, self._settings
        if not standing.allowed or self._spent(budget_s):
            return
        if standing.surface is not None and not standing.promising:
            return
        index = next(iter(standing.promising), standing.allowed[-1])
        each = memory.caps[index]
        error = settings.precision
        if each.known:
            error = min(error, 0.7 * log_cost(each, memory, standing.cost)[1])
        # What there is is shared among all that may have to be measured; of a long list, few will have to be. Part of
        # it is kept to measure those again that cannot be told apart.
        share_s = budget_s / max(1, min(_MANY, len(standing.promising)))
        if standing.unknown:
            share_s = _FIRST * budget_s / min(_MANY, standing.unknown)
        most_s = max(_LEAST_S, min(_MOST_S, share_s - settings.warmup_s))
        memory.trial = Trial(each.cap_w, now_s, error, most_s)

    def _window_s(self) -> float:
        """Return the length of a window at the highest cap that is known; 0 if none is."""
        return next((each.window_s for each in reversed(self._memory.caps) if each.known), 0.0)

    def _spent(self, budget_s: float) -> bool:
        """Whether no trial can be paid for: its warm-up and two windows."""
        return budget_s < self._settings.warmup_s + max(_LEAST_S, 3 * self._window_s())

    def _budget_s(self, context: Context) -> float:
        """Return what may still be explored, as seconds at the ceiling."""
        memory, settings = self._memory, self._settings
        fastest = next((each for each in reversed(memory.caps) if each.known), None)
        if fastest is None:
            return settings.explore_share * settings.horizon_s
        rate = fastest.units / fastest.seconds
        if context.remaining_units is not None:
            work = memory.done_units + context.remaining_units
        else:
            work = max(memory.done_units, settings.horizon_s * rate)
        return (settings.explore_share * work - memory.explored_units) / rate
