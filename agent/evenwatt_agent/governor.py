"""Turns the cap that the leases allow into limits that the devices confirm.

The governor owns the knobs. It saves what was there before it first writes, clamps to this node's own floor and
ceiling, splits a node cap among the domains by what each now draws, writes, and reads back. Of several knobs for one
domain the first that works is used (``actuators.ladder``). Everything here but :meth:`Governor.observe` blocks for
milliseconds: ``service`` runs it on one worker thread, so that no two of these calls ever overlap.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent import restore
from evenwatt_agent.actuators.ladder import Replaced, by_domain
from evenwatt_agent.actuators.model import LockedError
from evenwatt_agent.actuators.throttle import Throttle
from evenwatt_agent.obedience import Obedience
from evenwatt_agent.split import Claim, split_cap
from evenwatt_wire import Actuator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from evenwatt_agent.actuators.model import Knob, Original
    from evenwatt_agent.actuators.pause import Pausable

_DEADBAND_W: Final = 2.0
"""Shifts between knobs smaller than this are not worth a write."""
_LOOSE_W: Final = 2.0
"""A limit found this far above what was written no longer holds; below that is the device's rounding."""
_STRIKES: Final = 2
"""Times in a row that a limit is found loose before it counts as ignored and not as changed by somebody."""
_BIN_S: Final = 0.1
_PEAK_BINS: Final = 100
"""Ten seconds of bins: how long a peak of what no knob reaches stays set aside."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a cap."""

    requested_w: float | None
    confirmed_w: float | None
    """Node cap by readback; None when the machine's own limits apply."""
    clamped: bool = False
    locked: str = ""
    """Why a device did not take its limit; empty when all did."""


class Governor:
    """All actuators of a node.

    Args:
        knobs: Its power limits; those of one domain in the order in which they are tried.
        pausables: What may be paused, by name.
        reserve_share: Least share of the ceilings set aside for what no knob reaches; 0 where knobs reach everything.
        state_dir: Where the originals are saved.
        lag_s: How old the node's power may be when it is observed.
    """

    def __init__(
        self,
        knobs: Sequence[Knob],
        pausables: Mapping[str, Pausable],
        reserve_share: float,
        state_dir: Path,
        lag_s: float = 0.0,
    ) -> None:
        self.ladders = by_domain(knobs)
        self._watches = [Obedience(_BIN_S) for _ in self.ladders]
        self._strikes = [0] * len(self.ladders)
        self._pausables = dict(pausables)
        self._reserve_share = reserve_share
        self._lag_s = lag_s
        self._path = restore.originals_path(state_dir)
        self._saved: list[restore.Saved] = restore.load(self._path)
        self._limits: list[float] = []
        self._confirmed: list[float] = []
        self._fixed_peaks: deque[float] = deque(maxlen=_PEAK_BINS)
        self._power_w: Mapping[str, float] = {}
        self._fresh = False
        self.outcome = Outcome(None, None)

    @property
    def floor_w(self) -> float:
        """Least node cap that can be enforced."""
        return sum(ladder.active.floor_w for ladder in self.ladders) + self._reserve_w

    @property
    def ceiling_w(self) -> float:
        """Node cap at which nothing is limited."""
        return sum(ladder.active.ceiling_w for ladder in self.ladders) + self._reserve_w

    @property
    def delay_s(self) -> float:
        """From a lower cap being written until the node's power must show it."""
        return self._lag_s + max((ladder.active.delay_s for ladder in self.ladders), default=0.0)

    @property
    def stuck(self) -> bool:
        """Whether a device does not take its limit and nothing else could: asking at once would not change its mind."""
        return any(n >= _STRIKES and not ladder.has_next for n, ladder in zip(self._strikes, self.ladders, strict=True))

    def observe(self, total_w: float, power_w: Mapping[str, float]) -> None:
        """Take the latest power of the node and of each domain; called once a bin."""
        self._power_w, self._fresh = power_w, True
        reached_w = sum(power_w.get(ladder.domain, 0.0) for ladder in self.ladders)
        self._fixed_peaks.append(max(0.0, total_w - reached_w))

    def apply(self, cap_w: float | None) -> Outcome:
        """Hold the node under ``cap_w``, or with None give the machine its own limits back."""
        if cap_w is None:
            problems = self.restore()
            self.outcome = Outcome(None, None, locked="; ".join(problems))
            return self.outcome
        changed = self._follow()
        limits = self._split(cap_w)
        moved = not self._limits or any(
            new < old - 0.5 or abs(new - old) > _DEADBAND_W for new, old in zip(limits, self._limits, strict=True)
        )
        if not moved and not changed and self.outcome.requested_w == cap_w:
            return self._look_again(cap_w)
        self._save([original for ladder in self.ladders for original in ladder.originals()])
        self.outcome = self._write(cap_w, limits)
        return self.outcome

    def verify(self) -> Outcome:
        """Read every limit again: firmware, another program or a driver may have changed it after we wrote it.

        A knob found loose is written again; the second time in a row the next knob of its domain takes over.
        """
        loose = {}
        for i, (ladder, limit_w) in enumerate(zip(self.ladders, self._limits, strict=False)):
            knob = ladder.active
            try:
                now_w = knob.read()
            except OSError as error:
                loose[knob.id] = (knob.ceiling_w - limit_w, f"{knob.id}: {error}")
                continue
            if now_w <= limit_w + _LOOSE_W:
                self._strikes[i] = 0
                continue
            reason = f"{knob.id}: {limit_w:.0f} W became {now_w:.0f} W"
            loose[knob.id] = (min(now_w, knob.ceiling_w) - limit_w, reason)
            self._strikes[i] += 1
            if self._strikes[i] >= _STRIKES:
                self._step_down(i, reason)
        if loose:
            excess_w = sum(watts for watts, _ in loose.values())
            confirmed_w = sum(self._limits) + self._fixed_w() + excess_w
            reasons = "; ".join(reason for _, reason in loose.values())
            self.outcome = Outcome(self.outcome.requested_w, confirmed_w, self.outcome.clamped, reasons)
            self._limits = []  # so that the next apply writes everything again
        return self.outcome

    def pause(self, name: str) -> None:
        """Pause an allow-listed target; raises :class:`LockedError` when it cannot be."""
        target = self._pausables[name]
        self._save(target.originals())
        target.pause()

    def resume(self, name: str) -> None:
        """Resume an allow-listed target."""
        self._pausables[name].resume()

    def restore(self) -> list[str]:
        """Put every original value back, pauses included. Return what could not be."""
        self._limits = []
        self._strikes = [0] * len(self.ladders)
        problems = restore.restore(self._path)
        for ladder, watch in zip(self.ladders, self._watches, strict=True):
            ladder.start_over()
            watch.forget()
        if not problems:
            self._saved = []
        return problems

    def actuators(self) -> list[Actuator]:
        """What this node can limit, in the words of the wire: every knob, also those that did not work."""
        return [
            Actuator(
                id=knob.id,
                kind=knob.kind,
                domain=knob.domain,
                floor_w=knob.floor_w,
                ceiling_w=knob.ceiling_w,
                default_w=knob.ceiling_w,
                locked=knob in ladder.given_up,
            )
            for ladder in self.ladders
            for knob in ladder.knobs
        ]

    def learned(self) -> dict[str, tuple[float, float, bool]]:
        """Return what every throttle knows of its domain by now, by its id."""
        return {throttle.id: throttle.learned for throttle in self._throttles()}

    def recall(self, learned: Mapping[str, tuple[float, float, bool]]) -> None:
        """Take over what an earlier run had learned."""
        for throttle in self._throttles():
            if throttle.id in learned:
                throttle.recall(*learned[throttle.id])

    @property
    def estimated(self) -> bool:
        """Whether floor and ceiling are partly estimates, which grow with what is seen."""
        return any(ladder.throttle for ladder in self.ladders)

    def _throttles(self) -> list[Throttle]:
        return [knob for ladder in self.ladders for knob in ladder.knobs if isinstance(knob, Throttle)]

    def take_replaced(self) -> list[Replaced]:
        """Return which knobs have taken over from which since the last call."""
        return [replaced for ladder in self.ladders for replaced in ladder.take_replaced()]

    def _follow(self) -> bool:
        """Let throttles follow the latest bin, and doubt knobs that power does not obey; return whether one changed."""
        if not self._fresh or not self._limits:
            return False
        self._fresh = False
        changed = False
        for i, (ladder, limit_w) in enumerate(zip(self.ladders, self._limits, strict=True)):
            power_w = self._power_w.get(ladder.domain, 0.0)
            try:
                ladder.follow(power_w)
            except OSError as error:
                changed |= self._step_down(i, str(error))
                continue
            doubted = self._watches[i].doubted(power_w, limit_w, ladder.active.delay_s + self._lag_s)
            if doubted and ladder.exhausted:
                changed |= self._step_down(i, f"{power_w:.0f} W where {limit_w:.0f} W were asked for")
        return changed

    def _step_down(self, i: int, why: str) -> bool:
        ladder = self.ladders[i]
        if not ladder.has_next:
            return False
        self._save(ladder.next_originals())
        ladder.step_down(why)
        self._strikes[i] = 0
        self._watches[i].forget()
        return True

    def _write(self, cap_w: float, limits: list[float]) -> Outcome:
        # Decreases first: the sum of limits never exceeds the cap on the way.
        order = sorted(range(len(limits)), key=lambda i: limits[i] - (self._limits[i] if self._limits else 0.0))
        confirmed = list(limits)
        locked: list[str] = []
        for i in order:
            confirmed[i], trouble = self._write_one(i, limits[i])
            locked += [trouble] if trouble else []
        self._limits, self._confirmed = limits, confirmed
        return self._outcome(cap_w, "; ".join(locked))

    def _outcome(self, cap_w: float, locked: str) -> Outcome:
        confirmed_w = sum(self._confirmed) + self._fixed_w()
        off_w = abs(confirmed_w - cap_w)
        return Outcome(cap_w, confirmed_w, clamped=off_w > max(1.0, 0.01 * cap_w), locked=locked)

    def _look_again(self, cap_w: float) -> Outcome:
        """Return what became of the cap, also where a throttle has found out meanwhile that it cannot go so low."""
        held = [
            t.held_w if (t := ladder.throttle) else w for ladder, w in zip(self.ladders, self._confirmed, strict=True)
        ]
        if held != self._confirmed:
            self._confirmed = held
            self.outcome = self._outcome(cap_w, self.outcome.locked)
        return self.outcome

    def _split(self, cap_w: float) -> list[float]:
        """Share the cap among the domains.

        A cap below the floors goes below those of throttles, in proportion: they are estimates, or what was seen under
        the load of another time.
        """
        floor_w = self.floor_w
        limits = split_cap(min(self.ceiling_w, max(floor_w, cap_w)), self._fixed_w(), self._claims())
        soft_w = sum(limit for limit, ladder in zip(limits, self.ladders, strict=True) if ladder.throttle)
        if cap_w >= floor_w or soft_w <= 0.0:
            return limits
        keep = max(0.0, 1.0 - (floor_w - cap_w) / soft_w)
        return [w * keep if ladder.throttle else w for w, ladder in zip(limits, self.ladders, strict=True)]

    def _write_one(self, i: int, limit_w: float) -> tuple[float, str]:
        """Return what the domain is held to, and why it is not held where it should be."""
        ladder = self.ladders[i]
        while True:
            try:
                return ladder.write(limit_w), ""
            except LockedError as error:
                if not self._step_down(i, str(error)):
                    self._strikes[i] = _STRIKES
                    return ladder.active.ceiling_w, str(error)
            except OSError as error:
                return ladder.active.ceiling_w, f"{ladder.active.id}: {error}"

    @property
    def _reserve_w(self) -> float:
        return self._reserve_share * sum(ladder.active.ceiling_w for ladder in self.ladders)

    def _fixed_w(self) -> float:
        return max(self._reserve_w, max(self._fixed_peaks, default=0.0))

    def _claims(self) -> list[Claim]:
        """A knob asks for a tenth more than its domain draws; one at its limit hides its demand and asks for all."""
        claims = []
        for i, ladder in enumerate(self.ladders):
            floor_w, ceiling_w = ladder.active.floor_w, ladder.active.ceiling_w
            power_w = self._power_w.get(ladder.domain, ceiling_w)
            hidden = bool(self._limits) and power_w >= 0.95 * self._limits[i]
            claims.append(Claim(floor_w, ceiling_w, ceiling_w if hidden else 1.1 * power_w + 5.0))
        return claims

    def _save(self, originals: Sequence[Original]) -> None:
        known = {(row["kind"], row["where"]) for row in self._saved}
        fresh = [o for o in originals if (o.kind, o.where) not in known]
        if not fresh:
            return
        self._saved += [restore.Saved(kind=o.kind, where=o.where, value=o.value) for o in fresh]
        restore.save(self._path, self._saved)
