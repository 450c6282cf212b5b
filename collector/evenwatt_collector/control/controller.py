"""Zones under their budgets: observations in, leases out. Pure: time is an argument, and so is every watt.

A step counts (``survey``), finds each zone's band and the total to hand out (``bands``, ``lookahead``), shares it by
demand and priority (``demand``, ``waterfill``), turns the shares into leases that never overrun the accounts
(``issue``, ``accounts``), and pauses work where caps are not enough (``pausing``).

Caps are in the devices before a burst begins, so there is nothing to predict about steered nodes. What may still rise
within the loop's delay is the load that nobody steers: its forecast is taken from headroom that nobody uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.control.accounts import SETTLE_S, Accounts
from evenwatt_collector.control.alarms import alarms
from evenwatt_collector.control.bands import BRAKE, BY_CODE, CAP, BandStates, Steering, next_total
from evenwatt_collector.control.demand import ESSENTIAL, Appetite
from evenwatt_collector.control.issue import Clock, Steered, deadband_w, issue, settle
from evenwatt_collector.control.lookahead import Forecast
from evenwatt_collector.control.pausing import Heat, Pausing, at_floors
from evenwatt_collector.control.reasons import Why
from evenwatt_collector.control.renewing import Renewing
from evenwatt_collector.control.survey import Survey, survey
from evenwatt_collector.control.types import Band, Decision, Grants, Limits, OnLost, Pauses, Renewals
from evenwatt_collector.control.waterfill import Claims, allot

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_collector.control.demand import Demand
    from evenwatt_collector.control.tree import ZoneTree
    from evenwatt_collector.control.types import Observations

LONGEST_STEP_S: Final = 2.0
"""A step that comes later than this ramps no further for it."""
IN_FLIGHT: Final = 0.02
"""With more than this fraction of B on its way back, the trim waits: the reading is older than the caps."""
FIRST_DELAY_S: Final = 1.5
"""Delay of the loop until one was measured: a window of one second, two ways and a device (our choice)."""
APPLIED: Final = frozenset({"applied", "clamped"})
"""Answers that say that a cap is in the device."""
_DISOBEYS: Final = frozenset({"locked", "unsupported", "restored"})


class Controller:
    """Decides who may draw what.

    Args:
        tree: The zones.
        limits: Margin and bands.
        first_seq: Sequence number of the first grant of this epoch.
        quiet_s: Observe this long before the first grant. A collector that takes over from another waits until that
            one's last grants have arrived and been reported: message expiry + silence limit, 5 s, and gives each
            node's ``held_w``.
        seed: Of the random waits after a release.
    """

    def __init__(
        self, tree: ZoneTree, limits: Limits | None = None, *, first_seq: int = 1, quiet_s: float = 0.0, seed: int = 0
    ) -> None:
        self._limits = limits or Limits()
        self._quiet_s = quiet_s
        self._steers = False
        self._accounts = Accounts()
        self._appetite = Appetite()
        self._pausing = Pausing(len(tree))
        self._renewing = Renewing.of(len(tree))
        self._raise_from_s: Floats = np.zeros(0)
        self._was_loose: Bools = np.zeros(0, dtype=np.bool_)
        self._rng = np.random.default_rng(seed)
        self._seq = first_seq
        self._began_s: float | None = None
        self._last_s = 0.0
        self.delay_s = FIRST_DELAY_S
        """From publishing a lease to its readback, 95th percentile; the caller measures it."""
        self.replant(tree)

    def replant(self, tree: ZoneTree) -> None:
        """Take other zones. What nodes may draw stays counted; bands and totals begin anew."""
        zones = len(tree)
        self.tree = tree
        self._budget_w: Floats = np.full(zones, np.inf)
        self._fixed_w: Floats = np.zeros(zones)
        self._states = BandStates(zones)
        self._loose, self._total = Forecast(zones), Forecast(zones)
        self._total_w: Floats = np.full(zones, np.nan)
        self._in_flight_s: Floats = np.zeros(zones)
        self._pausing.replant(zones)
        self._renewing.replant(zones)

    @property
    def next_seq(self) -> int:
        """Sequence number that the next grant will carry."""
        return self._seq

    @property
    def quiet_until_s(self) -> float:
        """Until when it only observes; known from the first step on, in the past before."""
        return -np.inf if self._began_s is None else self._began_s + self._quiet_s

    @property
    def accounts(self) -> Accounts:
        """What every node may draw; for looking only."""
        return self._accounts

    @property
    def pausing(self) -> Pausing:
        """Whose work is paused; for looking only."""
        return self._pausing

    @property
    def fixed_w(self) -> Floats:
        """Per zone: load that no node reports, with that of the zones inside it."""
        return self._fixed_w

    def take_seq(self) -> int:
        """Return a sequence number for an order that is no grant."""
        self._seq += 1
        return self._seq - 1

    def set_limits(self, budget_w: Floats, unmanaged_w: Floats | None = None) -> None:
        """Set every zone's hard budget (infinite: none) and the fixed load of its own that no node reports.

        Raises:
            ValueError: a budget is not a number of watts from 0 up.
        """
        budget_w = np.asarray(budget_w, dtype=np.float64)
        bad = np.isnan(budget_w) | (budget_w < 0)
        if bad.any():
            z = int(np.argmax(bad))
            raise ValueError(
                f"zone {self.tree.names[z]!r}: a budget of {budget_w[z]} W is not possible; give 0 or more"
            )
        self._budget_w = budget_w.copy()
        if unmanaged_w is not None:
            self._fixed_w = self.tree.roll_up(np.asarray(unmanaged_w, dtype=np.float64))

    def acknowledge(self, slot: int, seq: int, code: str, after_w: float | None, now_s: float) -> None:
        """Note a node's answer to a grant of this epoch; late, doubled and unknown ones do no harm.

        A device that does not obey makes its node unmanaged. Any other refusal proves nothing, for a duplicate of a
        grant that was applied is refused as well: the grant keeps counting until it has ended.
        """
        if code in APPLIED:
            self.acknowledge_many(
                np.array([slot]), np.array([seq]), np.array([np.nan if after_w is None else after_w]), now_s
            )
        elif code in _DISOBEYS and slot < len(self._accounts):
            self._accounts.refuse(slot, seq)

    def acknowledge_many(self, slots: Ints, seqs: Ints, after_w: Floats, now_s: Floats | float) -> None:
        """Note answers that say ``applied`` or ``clamped``, of different slots, each as of its time or all of one."""
        known = slots < len(self._accounts)
        if not known.all():
            now_s = np.broadcast_to(now_s, slots.shape)[known]
            slots, seqs, after_w = slots[known], seqs[known], after_w[known]
        self._accounts.confirm(slots, seqs, after_w, now_s)

    def step(self, now_s: float, seen: Observations) -> Decision:
        """Decide. Call it every second, and at once when a jump is reported or a raise has become possible."""
        if len(seen) > len(self._accounts):
            self._grow(len(seen))
        budget_w = self._budget_w * (1 - self._limits.margin)
        limited = self.tree.any_around(np.isfinite(budget_w))
        inherits = self._quiet_s > 0 and not self._steers
        found, arrived = survey(self.tree, self._accounts, seen, limited, self._fixed_w, now_s, inherits=inherits)
        self._appetite.forget(arrived)
        moved = self._moved(seen, found, arrived)
        self._loose.take(found.unmanaged_w, now_s, moved)
        self._total.take(found.power_w, now_s, moved)
        if self._is_quiet(now_s):
            self._accounts = Accounts(len(seen))
            return self._watch(seen, found)
        self._steers = True
        expected_w = np.minimum(found.power_w + self._total.rise_w(self.delay_s), found.most_w)
        capping = self._states.band >= CAP
        self._states.move(found.power_w, np.maximum(found.power_w, expected_w), budget_w, now_s, self._limits.bands)
        self._delay_raises(seen, capping & (self._states.band < CAP), now_s)
        elapsed_s = min(LONGEST_STEP_S, max(0.0, now_s - self._last_s))
        self._last_s = now_s
        return self._steer(seen, found, budget_w, elapsed_s, now_s)

    def _grow(self, slots: int) -> None:
        for part in (self._accounts, self._appetite, self._pausing, self._renewing):
            part.grow(slots)
        more = slots - len(self._raise_from_s)
        self._raise_from_s = np.concatenate((self._raise_from_s, np.full(more, -np.inf)))
        self._was_loose = np.concatenate((self._was_loose, np.zeros(more, dtype=np.bool_)))

    def _moved(self, seen: Observations, found: Survey, arrived: Ints) -> Bools:
        """Return the zones where nodes have arrived, or count in another way than before: nothing has drawn more."""
        other = found.loose != self._was_loose
        other[arrived] = True
        self._was_loose = found.loose
        return self.tree.totals(seen.zone, other.astype(np.float64)) > 0

    def _is_quiet(self, now_s: float) -> bool:
        if self._began_s is None:
            self._began_s = self._last_s = now_s
        return now_s < self.quiet_until_s

    def _delay_raises(self, seen: Observations, released: Bools, now_s: float) -> None:
        """After a release nodes rise one by one, so that their work does not surge all at once."""
        if released.any():
            at = np.flatnonzero(self.tree.any_around(released)[seen.zone])
            self._raise_from_s[at] = now_s + self._rng.uniform(0.0, self._limits.bands.release_jitter_s, len(at))

    def _steer(self, seen: Observations, found: Survey, budget_w: Floats, elapsed_s: float, now_s: float) -> Decision:
        at = found.live
        zone, out_w = seen.zone[at], found.out_w[at]
        floor_w = np.where(seen.on_lost[at] == OnLost.RESTORE, seen.ceiling_w[at], seen.floor_w[at])
        demand = self._appetite.demand(seen, at, self._accounts.in_force_w(now_s)[at], now_s)
        floors_w = self.tree.totals(zone, floor_w)
        target_w = self._target_w(found, budget_w, elapsed_s, floors_w, now_s)
        kept_w = self._kept_w(seen, found, target_w)
        available_w = target_w - found.unsteered_w - kept_w
        use_w = np.minimum(seen.power_w[at], out_w)  # a node cannot use more than it may
        why = self._why(seen, found, self._claims(seen, at, floor_w, demand), demand, available_w, use_w)
        share_w = why.allotment.share_w
        self._total_w = np.minimum(target_w, self.tree.totals(zone, share_w) + found.unsteered_w + kept_w)
        intent_w = self._accounts.intent_w[at]
        answered_w = np.where(self._accounts.unanswered()[at], np.inf, intent_w)
        low = at_floors(self.tree, zone, answered_w, floor_w, deadband_w(floor_w))
        cap_w = settle(self.tree, zone, share_w, intent_w, seen.ceiling_w[at], available_w)
        # Watts on their way from one node to another may use the reserve, but not so far that capping would begin.
        room_w = self._limits.bands.cap_at * budget_w - found.unmanaged_w - found.overdraw_w - found.leased_w
        blind = self.tree.any_around(found.blind & np.isfinite(budget_w))[zone]
        carried = self._renewing.carried(self._accounts, seen, at, now_s)
        steered = Steered(at, zone, out_w, ~blind & (now_s >= self._raise_from_s[at]), carried)
        issued = issue(self.tree, self._accounts, seen, steered, cap_w, room_w, Clock(now_s, elapsed_s, self._seq))
        self._seq += len(issued.grants)
        renewals = self._renewing.step(self._accounts, seen, at, self._seq, now_s)
        self._seq += len(renewals) > 0
        least_w = self._least_w(seen, at, floor_w) + found.unsteered_w
        pauses = self._pause(seen, at, Heat(found.power_w, budget_w, least_w, low), now_s)
        shares_w = np.full(len(seen), np.nan)
        shares_w[at] = cap_w
        return Decision(
            bands=self._bands(),
            budget_w=self._budget_w,
            target_w=np.where(np.isfinite(budget_w), self._total_w, found.power_w),
            power_w=found.power_w,
            most_w=found.most_w + issued.grown_w,
            alarms=alarms(self.tree, found, budget_w, self._budget_w, floors_w, least_w),
            share_w=shares_w,
            grants=issued.grants,
            renewals=renewals,
            pauses=pauses,
            waiting_w=issued.waiting_w,
            disobeying=found.disobeying,
            unmanageable=found.unmanageable,
            unbelieved=found.unbelieved,
            why=why,
        )

    def _least_w(self, seen: Observations, at: Ints, floor_w: Floats) -> Floats:
        """Return what steered nodes can be brought down to: their floors, and of paused ones what they draw."""
        rests = self._pausing.paused[at] & seen.paused[at]
        return self.tree.totals(seen.zone[at], np.where(rests, np.minimum(floor_w, seen.power_w[at]), floor_w))

    def _pause(self, seen: Observations, at: Ints, heat: Heat, now_s: float) -> Pauses:
        live = np.zeros(len(seen), dtype=np.bool_)
        live[at] = True
        return self._pausing.step(self.tree, seen, live, heat, self.delay_s, now_s, self._limits.bands)

    def _target_w(self, found: Survey, budget_w: Floats, elapsed_s: float, floors_w: Floats, now_s: float) -> Floats:
        """Return the totals to hand out now."""
        before_w = np.where(np.isfinite(self._total_w), self._total_w + found.arrived_w, found.most_w)
        # Floors that exceed the total stay out for good: they are not on their way back.
        in_flight = found.most_w > np.maximum(before_w, floors_w + found.unsteered_w) + IN_FLIGHT * budget_w
        self._in_flight_s = np.where(in_flight, now_s, self._in_flight_s)
        steering = Steering(
            band=self._states.band,
            power_w=found.power_w,
            budget_w=budget_w,
            floors_w=floors_w + found.unsteered_w,
            may_grow=~found.blind,
            may_trim=now_s - self._in_flight_s >= SETTLE_S,
        )
        return next_total(before_w, steering, elapsed_s, self._limits.bands)

    def _kept_w(self, seen: Observations, found: Survey, target_w: Floats) -> Floats:
        """Return what is kept for the rise of load that nobody steers: out of headroom that nobody uses, never more."""
        at = found.live
        in_use_w = self.tree.totals(seen.zone[at], np.maximum(seen.floor_w[at], seen.power_w[at]))
        headroom_w = np.maximum(0.0, target_w - found.unsteered_w - in_use_w)
        return np.minimum(headroom_w, self._loose.rise_w(self.delay_s))

    def _claims(self, seen: Observations, at: Ints, floor_w: Floats, demand: Demand) -> Claims:
        full_w = np.maximum(floor_w, demand.full_w)
        essential_w = np.maximum(floor_w, ESSENTIAL * full_w)
        recent_w = np.maximum(essential_w, demand.recent_w)
        ceiling_w = np.maximum(full_w, seen.ceiling_w[at])
        return Claims(floor_w, essential_w, recent_w, full_w, ceiling_w, seen.weight[at] * ceiling_w, seen.priority[at])

    def _why(
        self,
        seen: Observations,
        found: Survey,
        claims: Claims,
        demand: Demand,
        available_w: Floats,
        use_w: Floats,
    ) -> Why:
        at, braking = found.live, self._states.band == BRAKE
        return Why(
            at=at,
            demand=demand,
            allotment=allot(self.tree, seen.zone[at], claims, available_w, braking, use_w),
            power_w=seen.power_w[at],
            floor_w=claims.floor_w,
            ceiling_w=claims.ceiling_w,
            weight=claims.weight,
            priority=claims.priority,
            zone_names=self.tree.names,
            zone_power_w=found.power_w,
            zone_budget_w=self._budget_w,
            braking=braking,
        )

    def _watch(self, seen: Observations, found: Survey) -> Decision:
        none = np.zeros(0, dtype=np.int64)
        empty = np.zeros(0)
        return Decision(
            bands=self._bands(),
            budget_w=self._budget_w,
            target_w=found.most_w,
            power_w=found.power_w,
            most_w=found.most_w,
            alarms=tuple(() for _ in self.tree.names),
            share_w=np.full(len(seen), np.nan),
            grants=Grants(none, none, empty, empty),
            renewals=Renewals(self._seq, none, ()),
            pauses=Pauses(none, np.zeros(0, dtype=np.bool_)),
            waiting_w=0.0,
            disobeying=found.disobeying,
            unmanageable=found.unmanageable,
            unbelieved=found.unbelieved,
            why=None,
        )

    def _bands(self) -> tuple[Band, ...]:
        return tuple(BY_CODE[code] for code in self._states.band)
