"""Turns the cap that the leases allow into limits that the devices confirm.

The governor owns the knobs. It saves what was there before it first writes, clamps to this node's own floor and
ceiling, splits a node cap among the domains by what each now draws, writes, and reads back. Of several knobs for one
domain the first that works is used (``actuators.ladder``). Everything here but :meth:`Governor.observe` blocks for
milliseconds: ``service`` runs it on one worker thread, so that no two of these calls ever overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from evenwatt_agent import restore
from evenwatt_agent.actuators.ladder import Ladder, Replaced, by_domain
from evenwatt_agent.actuators.model import LockedError
from evenwatt_agent.actuators.throttle import Throttle
from evenwatt_agent.fixed import Fixed
from evenwatt_agent.holding import Holding, HoldState
from evenwatt_agent.limits import LocalLimits
from evenwatt_agent.split import Claim, split_cap
from evenwatt_wire import Actuator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from evenwatt_agent.actuators.model import Knob, Original
    from evenwatt_agent.actuators.pause import Pausable
    from evenwatt_agent.restore import Saved


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a cap."""

    requested_w: float | None
    confirmed_w: float | None
    """Node cap by readback; None when the machine's own limits apply."""
    clamped: bool = False
    locked: str = ""
    """Why a device did not take its limit; empty when all did."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be written to one domain."""

    domain: str
    kind: str
    """Of the knob that would be used."""
    limit_w: float
    now_w: float
    """What it is known to be held to now."""


_NO_LIMITS = LocalLimits()


class Governor:
    """All actuators of a node.

    Args:
        knobs: Its power limits; those of one domain in the order in which they are tried.
        pausables: What may be paused, by name.
        reserve_share: Least share of the ceilings set aside for what no knob reaches; 0 where knobs reach everything.
        state_dir: Where the originals are saved.
        lag_s: How old the node's power may be when it is observed.
        limits: What the owner lets be asked of it.
    """

    def __init__(
        self,
        knobs: Sequence[Knob],
        pausables: Mapping[str, Pausable],
        reserve_share: float,
        state_dir: Path,
        lag_s: float = 0.0,
        limits: LocalLimits = _NO_LIMITS,
    ) -> None:
        self._pausables, self.limits = dict(pausables), limits
        self._reserve_share = reserve_share
        self._lag_s = lag_s
        self._path = restore.originals_path(state_dir)
        self._saved: list[restore.Saved] = restore.load(self._path)
        self._paused: dict[str, list[restore.Saved]] = {}
        self._holdings = [Holding(ladder, self._save, lag_s) for ladder in by_domain(knobs)]
        self._fixed = Fixed()
        self._power_w: Mapping[str, float] = {}
        self._fresh = False
        self.outcome = Outcome(None, None)

    @property
    def ladders(self) -> list[Ladder]:
        """The knobs of each domain."""
        return [holding.ladder for holding in self._holdings]

    @property
    def floor_w(self) -> float:
        """Least node cap that can be enforced."""
        return sum(self._ends(ladder)[0] for ladder in self.ladders) + self._lasting_w

    @property
    def ceiling_w(self) -> float:
        """Node cap at which nothing is limited."""
        return sum(self._ends(ladder)[1] for ladder in self.ladders) + self._lasting_w

    @property
    def delay_s(self) -> float:
        """From a lower cap being written until the node's power must show it."""
        return self._lag_s + max((ladder.active.delay_s for ladder in self.ladders), default=0.0)

    @property
    def stuck(self) -> bool:
        """Whether a device does not take its limit and nothing else could; it is written again only with ``retry``."""
        return any(holding.state is HoldState.STUCK for holding in self._holdings)

    def observe(self, total_w: float, power_w: Mapping[str, float]) -> None:
        """Take the latest power of the node and of each domain; called once a bin."""
        self._power_w, self._fresh = power_w, True
        reached_w = sum(power_w.get(ladder.domain, 0.0) for ladder in self.ladders)
        self._fixed.take(total_w - reached_w)

    def apply(self, cap_w: float | None, *, retry: bool = False) -> Outcome:
        """Hold the node under ``cap_w``, or with None give the machine its own limits back.

        ``retry`` writes to devices as well that did not take their limit.
        """
        if cap_w is None:
            problems = self._give_back([row for rows in self._paused.values() for row in rows])
            self.outcome = Outcome(None, None, locked="; ".join(problems))
            return self.outcome
        self._follow()
        limits = self._split(cap_w)
        if cap_w != self.outcome.requested_w or any(h.is_due(w, retry=retry) for h, w in self._with(limits)):
            try:
                self._save([original for ladder in self.ladders for original in ladder.originals()])
            except OSError as error:
                return self._unsaved(cap_w, error)
            # Decreases first: the sum of limits never exceeds the cap on the way.
            for holding, limit_w in sorted(self._with(limits), key=lambda row: row[1] - row[0].limit_w):
                if retry or holding.state is not HoldState.STUCK:
                    holding.write(limit_w)
        return self._sum_up(cap_w)

    def plan(self, cap_w: float) -> list[Planned]:
        """Return what :meth:`apply` would write now. Nothing is changed."""
        return [
            Planned(holding.ladder.domain, holding.ladder.active.kind, limit_w, holding.confirmed_w)
            for holding, limit_w in self._with(self._split(cap_w))
        ]

    def verify(self) -> Outcome:
        """Read every limit again, and note what does not hold; the next :meth:`apply` writes it anew."""
        for holding in self._holdings:
            holding.verify()
        if self.outcome.requested_w is not None:
            self._sum_up(self.outcome.requested_w)
        return self.outcome

    def pause(self, name: str) -> None:
        """Pause an allow-listed target; raises :class:`LockedError` when it cannot be."""
        target = self._pausables[name]
        originals = target.originals()
        self._save(originals)
        held = self._paused.setdefault(name, [])
        held += [row for row in map(_row, originals) if row not in held]
        target.pause()

    def resume(self, name: str) -> None:
        """Resume an allow-listed target: first what was paused, for its name may mean another process by now.

        Raises:
            OSError: it does not go on, or is gone.
        """
        problems = restore.put_back(self._paused.get(name, []))
        if problems:
            raise LockedError("; ".join(problems))
        self._paused.pop(name, None)
        self._pausables[name].resume()

    def restore(self) -> list[str]:
        """Put every original value back, pauses included. Return what could not be."""
        self._paused.clear()
        return self._give_back([])

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

    def _give_back(self, keep: Sequence[Saved]) -> list[str]:
        problems = restore.restore(self._path, keep)
        for holding in self._holdings:
            holding.forget()
        if not problems:
            self._saved = [row for row in self._saved if row in keep]
        return problems

    def _follow(self) -> None:
        if self._fresh:
            self._fresh = False
            for holding in self._holdings:
                holding.follow(self._power_w.get(holding.ladder.domain, 0.0))

    def _with(self, limits: Sequence[float]) -> list[tuple[Holding, float]]:
        return list(zip(self._holdings, limits, strict=True))

    def _sum_up(self, cap_w: float) -> Outcome:
        confirmed_w = sum(holding.confirmed_w for holding in self._holdings) + self._fixed_w()
        off_w = abs(confirmed_w - cap_w)
        troubles = [holding.trouble for holding in self._holdings if holding.trouble]
        clamped = off_w > max(1.0, 0.01 * cap_w)
        self.outcome = Outcome(cap_w, confirmed_w, clamped=clamped, locked="; ".join(troubles))
        return self.outcome

    def _unsaved(self, cap_w: float, error: OSError) -> Outcome:
        """Write nothing: whoever came after a SIGKILL would not know what to put back."""
        why = f"{self._path}: {error.strerror}; no limit is written before the one found is saved"
        self.outcome = replace(self._sum_up(cap_w), locked=why)
        return self.outcome

    def _split(self, cap_w: float) -> list[float]:
        """Share the cap among the domains.

        Floors and ceilings of throttles are estimates, or what was seen under the load of another time. So a cap below
        the floors goes below those of throttles, in proportion, and one above the ceilings above those; but nothing
        goes beyond what the owner allows for a domain.
        """
        shares = self._shares(cap_w)
        return [self.limits.domain_w(h.ladder.domain, w) if h.ladder.throttle else w for h, w in self._with(shares)]

    def _shares(self, cap_w: float) -> list[float]:
        floor_w = self.floor_w
        most_w = cap_w if self.estimated else self.ceiling_w
        limits = split_cap(max(floor_w, min(most_w, cap_w)), self._fixed_w(), self._claims(cap_w))
        soft_w = sum(limit_w for holding, limit_w in self._with(limits) if holding.ladder.throttle)
        if cap_w >= floor_w or soft_w <= 0.0:
            return limits
        keep = max(0.0, 1.0 - (floor_w - cap_w) / soft_w)
        return [w * keep if holding.ladder.throttle else w for holding, w in self._with(limits)]

    def _ends(self, ladder: Ladder) -> tuple[float, float]:
        """Floor and ceiling of a domain: the owner's limits as far as the device can keep them."""
        knob = ladder.active
        ceiling_w = max(knob.floor_w, self.limits.domain_w(ladder.domain, knob.ceiling_w))
        ceiling_w = min(ceiling_w, max(knob.ceiling_w, knob.floor_w))
        return min(ceiling_w, max(knob.floor_w, self.limits.domain_w(ladder.domain, knob.floor_w))), ceiling_w

    @property
    def _reserve_w(self) -> float:
        return self._reserve_share * sum(ladder.active.ceiling_w for ladder in self.ladders)

    @property
    def _lasting_w(self) -> float:
        return max(self._reserve_w, self._fixed.lasting_w) if self._holdings else 0.0

    def _fixed_w(self) -> float:
        return max(self._reserve_w, self._fixed.peak_w)

    def _claims(self, cap_w: float) -> list[Claim]:
        """A knob asks for a tenth more than its domain draws; one at its limit hides its demand and asks for all."""
        claims = []
        for holding in self._holdings:
            floor_w, ceiling_w = self._ends(holding.ladder)
            power_w = self._power_w.get(holding.ladder.domain, ceiling_w)
            hidden = power_w >= 0.95 * holding.limit_w
            demand_w = ceiling_w if hidden else 1.1 * power_w + 5.0
            most_w = max(cap_w, ceiling_w) if holding.ladder.throttle else ceiling_w
            claims.append(Claim(floor_w, most_w, demand_w))
        return claims

    def _save(self, originals: Sequence[Original]) -> None:
        """Save what is not saved yet; all of it anew where somebody has run ``evenwatt-restore`` meanwhile."""
        known = {(row["kind"], row["where"]) for row in self._saved}
        fresh = [_row(o) for o in originals if (o.kind, o.where) not in known]
        if fresh or (self._saved and not self._path.exists()):
            self._saved += fresh
            restore.save(self._path, self._saved)


def _row(original: Original) -> restore.Saved:
    return restore.Saved(kind=original.kind, where=original.where, value=original.value)
