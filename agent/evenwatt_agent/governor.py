"""Turns the cap that the leases allow into limits that the devices confirm.

The governor owns the knobs. It saves what was there before it first writes, clamps to this node's own floor and
ceiling, splits a node cap among the knobs by what each now draws, writes, and reads back. Everything here blocks for
milliseconds: ``service`` runs it on one worker thread, so that no two of these calls ever overlap.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent import restore
from evenwatt_agent.actuators.model import LockedError
from evenwatt_agent.split import Claim, split_cap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from evenwatt_agent.actuators.model import Knob, Original
    from evenwatt_agent.actuators.pause import Pausable

_DEADBAND_W: Final = 2.0
"""Shifts between knobs smaller than this are not worth a write."""
_LOOSE_W: Final = 2.0
"""A limit found this far above what was written no longer holds; below that is the device's rounding."""
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
        knobs: Its power limits.
        pausables: What may be paused, by name.
        reserve_share: Least share of the ceilings set aside for what no knob reaches; 0 where knobs reach everything.
        state_dir: Where the originals are saved.
    """

    def __init__(
        self,
        knobs: Sequence[Knob],
        pausables: Mapping[str, Pausable],
        reserve_share: float,
        state_dir: Path,
    ) -> None:
        self._knobs = list(knobs)
        self._pausables = dict(pausables)
        self._reserve_w = reserve_share * sum(knob.ceiling_w for knob in knobs)
        self._path = restore.originals_path(state_dir)
        self._saved: list[restore.Saved] = restore.load(self._path)
        self._limits: list[float] = []
        self._fixed_peaks: deque[float] = deque(maxlen=_PEAK_BINS)
        self._power_w: Mapping[str, float] = {}
        self.outcome = Outcome(None, None)

    @property
    def floor_w(self) -> float:
        """Least node cap that can be enforced."""
        return sum(knob.floor_w for knob in self._knobs) + self._reserve_w

    @property
    def ceiling_w(self) -> float:
        """Node cap at which nothing is limited."""
        return sum(knob.ceiling_w for knob in self._knobs) + self._reserve_w

    def observe(self, total_w: float, power_w: Mapping[str, float]) -> None:
        """Take the latest power of the node and of each domain; called once a bin."""
        self._power_w = power_w
        reached_w = sum(power_w.get(knob.domain, 0.0) for knob in self._knobs)
        self._fixed_peaks.append(max(0.0, total_w - reached_w))

    def apply(self, cap_w: float | None) -> Outcome:
        """Hold the node under ``cap_w``, or with None give the machine its own limits back."""
        if cap_w is None:
            problems = self.restore()
            self.outcome = Outcome(None, None, locked="; ".join(problems))
            return self.outcome
        bounded_w = min(self.ceiling_w, max(self.floor_w, cap_w))
        limits = split_cap(bounded_w, self._fixed_w(), self._claims())
        moved = not self._limits or any(
            new < old - 0.5 or abs(new - old) > _DEADBAND_W for new, old in zip(limits, self._limits, strict=True)
        )
        if not moved and self.outcome.requested_w == cap_w:
            return self.outcome
        self._save([original for knob in self._knobs for original in knob.originals()])
        self.outcome = self._write(cap_w, limits)
        return self.outcome

    def verify(self) -> Outcome:
        """Read every limit again: firmware, another program or a driver may have changed it after we wrote it."""
        loose = {}
        for knob, limit_w in zip(self._knobs, self._limits, strict=False):
            try:
                now_w = knob.read()
            except OSError as error:
                loose[knob.id] = (knob.ceiling_w - limit_w, f"{knob.id}: {error}")
                continue
            if now_w > limit_w + _LOOSE_W:
                loose[knob.id] = (
                    min(now_w, knob.ceiling_w) - limit_w,
                    f"{knob.id}: {limit_w:.0f} W became {now_w:.0f} W",
                )
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
        problems = restore.restore(self._path)
        if not problems:
            self._saved = []
        return problems

    def _write(self, cap_w: float, limits: list[float]) -> Outcome:
        # Decreases first: the sum of limits never exceeds the cap on the way.
        order = sorted(range(len(limits)), key=lambda i: limits[i] - (self._limits[i] if self._limits else 0.0))
        confirmed = list(limits)
        locked: list[str] = []
        for i in order:
            try:
                confirmed[i] = self._knobs[i].write(limits[i])
            except LockedError as error:
                locked.append(str(error))
                confirmed[i] = self._knobs[i].ceiling_w
            except OSError as error:
                locked.append(f"{self._knobs[i].id}: {error}")
                confirmed[i] = self._knobs[i].ceiling_w
        self._limits = limits
        confirmed_w = sum(confirmed) + self._fixed_w()
        off_w = abs(confirmed_w - cap_w)
        return Outcome(cap_w, confirmed_w, clamped=off_w > max(1.0, 0.01 * cap_w), locked="; ".join(locked))

    def _fixed_w(self) -> float:
        return max(self._reserve_w, max(self._fixed_peaks, default=0.0))

    def _claims(self) -> list[Claim]:
        """A knob asks for a tenth more than its domain draws; one at its limit hides its demand and asks for all."""
        claims = []
        for i, knob in enumerate(self._knobs):
            power_w = self._power_w.get(knob.domain, knob.ceiling_w)
            hidden = bool(self._limits) and power_w >= 0.95 * self._limits[i]
            claims.append(Claim(knob.floor_w, knob.ceiling_w, knob.ceiling_w if hidden else 1.1 * power_w + 5.0))
        return claims

    def _save(self, originals: Sequence[Original]) -> None:
        known = {(row["kind"], row["where"]) for row in self._saved}
        fresh = [o for o in originals if (o.kind, o.where) not in known]
        if not fresh:
            return
        self._saved += [restore.Saved(kind=o.kind, where=o.where, value=o.value) for o in fresh]
        restore.save(self._path, self._saved)
