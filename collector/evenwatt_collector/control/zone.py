"""One zone under one budget: observations in, leases out. Pure: time is an argument, and so is every watt.

A step counts (``survey``), finds the band and the total to hand out (``bands``), shares it by demand and priority
(``demand``, ``waterfill``) and turns the shares into leases (``issue``) that never overrun the book (``grants``).
There is no look-ahead: the caps are in the devices before a burst begins, so there is nothing left to predict.
"""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, Final

from evenwatt_collector.control.accounts import SETTLE_S
from evenwatt_collector.control.bands import BandState, Steering, next_band, next_total
from evenwatt_collector.control.demand import Appetite
from evenwatt_collector.control.grants import GrantBook
from evenwatt_collector.control.issue import Round, settle
from evenwatt_collector.control.reasons import Reasons
from evenwatt_collector.control.survey import Survey, survey
from evenwatt_collector.control.types import Band, Decision, Limits
from evenwatt_collector.control.waterfill import Allotment, Claims, allot, cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.control.demand import Demand
    from evenwatt_collector.control.types import NodeObservation

LONGEST_STEP_S: Final = 2.0
"""A step that comes later than this ramps no further for it."""
IN_FLIGHT: Final = 0.02
"""With more than this fraction of B on its way back, the trim waits: the reading is older than the caps."""
NAMED: Final = 3
"""So many nodes are named in an alarm; the others are counted."""


class ZoneController:
    """Decides who may draw what.

    Args:
        limits: The budget and the bands.
        first_seq: Sequence number of the first grant of this epoch.
        quiet_s: Observe this long before the first grant. A collector that takes over from another waits until that
            one's last grants have arrived and been reported: message expiry + silence limit, 5 s, and gives each
            node's ``held_w``.
    """

    def __init__(self, limits: Limits, *, first_seq: int = 1, quiet_s: float = 0.0) -> None:
        self._limits = limits
        self._budget_w = 0.0
        self.set_budget(limits.budget_w)
        self._quiet_s = quiet_s
        self._book = GrantBook(first_seq=first_seq)
        self._appetite = Appetite()
        self._state = BandState()
        self._total_w: float | None = None
        self._step = 0
        self._began_s: float | None = None
        self._last_s = 0.0
        self._in_flight_s = 0.0

    @property
    def next_seq(self) -> int:
        """Sequence number that the next grant will carry."""
        return self._book.next_seq

    def set_budget(self, w: float) -> None:
        """Set the hard budget; the next step acts on it.

        Raises:
            ValueError: it is not a finite number of watts from 0 up.
        """
        if not 0 <= w < float("inf"):
            raise ValueError(f"a budget of {w} W is not possible; give a finite number from 0 up")
        self._budget_w = w

    def acknowledge(self, node: str, seq: int, code: str, after_w: float | None, now_s: float) -> None:
        """Note a node's answer to a grant of this epoch; late, doubled and unknown ones do no harm."""
        self._book.answered(node, seq, code, after_w, now_s)

    def step(self, now_s: float, nodes: Sequence[NodeObservation]) -> Decision:
        """Decide. Call it every second, and at once when a jump is reported or a raise has become possible."""
        self._step += 1
        usable_w = self._budget_w * (1 - self._limits.margin)
        found = survey(self._book, nodes, self._limits.unmanaged_w, self._step, now_s)
        self._state = next_band(self._state, found.power_w, usable_w, now_s, self._limits.bands)
        if self._is_quiet(now_s):
            self._book = GrantBook(first_seq=self._book.next_seq)
            return self._decision(found, None, found.most_w, {})
        elapsed_s = min(LONGEST_STEP_S, max(0.0, now_s - self._last_s))
        self._last_s = now_s
        total_w = self._steer(found, usable_w, elapsed_s, now_s)
        available_w = total_w - found.unsteered_w
        reasons = self._share_out(found, available_w, now_s)
        shares = reasons.allotment.shares_w
        self._total_w = min(total_w, fsum(shares) + found.unsteered_w)
        # Watts on their way from one node to another may use the reserve, but not so far that capping would begin.
        room_w = self._book.balance(
            self._limits.bands.cap_at * usable_w - found.unmanaged_w - found.overdraw_w, found.leased_w
        )
        granting = Round(self._book, found, reasons, now_s, elapsed_s)
        caps = settle(shares, found, available_w)
        granting.run(caps, may_raise=not found.blind)
        found.leased_w += room_w - self._book.room_w
        return self._decision(found, granting, self._total_w, self._allotted(found, caps))

    def _is_quiet(self, now_s: float) -> bool:
        if self._began_s is None:
            self._began_s = self._last_s = now_s
        return now_s - self._began_s < self._quiet_s

    def _steer(self, found: Survey, usable_w: float, elapsed_s: float, now_s: float) -> float:
        """Return the total to hand out now."""
        before_w = found.most_w if self._total_w is None else self._total_w + found.arrived_w
        if found.most_w > before_w + IN_FLIGHT * usable_w:
            self._in_flight_s = now_s
        steering = Steering(
            band=self._state.band,
            power_w=found.power_w,
            budget_w=usable_w,
            floors_w=fsum(node.floor_w for node in found.live) + found.unsteered_w,
            elapsed_s=elapsed_s,
            may_grow=not found.blind,
            may_trim=now_s - self._in_flight_s >= SETTLE_S,
        )
        return next_total(before_w, steering, self._limits.bands)

    def _share_out(self, found: Survey, available_w: float, now_s: float) -> Reasons:
        demands = [
            self._appetite.demand(node, account.in_force(now_s), now_s)
            for node, account in zip(found.live, found.accounts, strict=True)
        ]
        if len(self._appetite) > 2 * len(demands):
            self._appetite.keep_only({node.node for node in found.live})
        braking = self._state.band is Band.BRAKE
        allotment = _cut(found, available_w) if braking else _allot(found, demands, available_w)
        return Reasons(found.live, demands, allotment, self._budget_w, found.power_w, braking)

    def _allotted(self, found: Survey, caps: Sequence[float]) -> dict[str, float]:
        return {node.node: cap_w for node, cap_w in zip(found.live, caps, strict=True)}

    def _decision(self, found: Survey, granting: Round | None, target_w: float, shares: dict[str, float]) -> Decision:
        return Decision(
            band=self._state.band,
            target_w=target_w,
            power_w=found.power_w,
            leased_w=found.most_w,
            grants=tuple(granting.grants) if granting else (),
            alarms=tuple(self._alarms(found)),
            shares=shares,
            waiting_w=granting.waiting_w if granting else 0.0,
        )

    def _alarms(self, found: Survey) -> list[str]:
        usable_w = self._budget_w * (1 - self._limits.margin)
        floors_w = fsum(node.floor_w for node in found.live)
        other_w = found.unsteered_w
        alarms = []
        if floors_w + other_w > usable_w * (1 + 1e-9):
            alarms.append(
                f"infeasible: floors {floors_w:.0f} W and {other_w:.0f} W that cannot be steered exceed "
                f"{usable_w:.0f} W ({self._budget_w:.0f} W less margin) by {floors_w + other_w - usable_w:.0f} W"
            )
        elif found.most_w > usable_w * (1 + 1e-9) + 1e-6:
            alarms.append(
                f"leases, fallbacks and unmanaged power allow {found.most_w:.0f} W of {usable_w:.0f} W; "
                "decreases are on their way"
            )
        if found.blind:
            alarms.append(f"{found.silent} of {found.managed} nodes are silent, more than 20 %: caps only fall or hold")
        if found.disobeying:
            alarms.append(f"over the cap: {_named(found.disobeying)}")
        if found.unmanageable:
            alarms.append(f"devices ignore limits, counted by their power: {_named(found.unmanageable)}")
        return alarms


def _allot(found: Survey, demands: Sequence[Demand], available_w: float) -> Allotment:
    nodes = found.live
    claims = Claims(
        floor_w=[node.floor_w for node in nodes],
        recent_w=[demand.recent_w for demand in demands],
        demand_w=[demand.full_w for demand in demands],
        ceiling_w=[max(node.floor_w, node.ceiling_w) for node in nodes],
        weight=[node.weight for node in nodes],
        priority=[node.priority for node in nodes],
    )
    return allot(claims, available_w)


def _cut(found: Survey, available_w: float) -> Allotment:
    """Cut from present use; a node cannot use more than it may."""
    nodes = found.live
    use_w = [min(node.power_w, out_w) for node, out_w in zip(nodes, found.out_w, strict=True)]
    return cut([node.floor_w for node in nodes], use_w, [node.priority for node in nodes], available_w)


def _named(items: Sequence[str]) -> str:
    more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return ", ".join(items[:NAMED]) + more
