"""Our control core at the centre of the network, and the nodes' leases at its ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_cli.replay.network import Conditions, Pipe
from evenwatt_cli.replay.nodes import NodeLeases
from evenwatt_collector.control import Controller, Observations

if TYPE_CHECKING:
    from evenwatt_cli.replay.plant import FleetSpec
    from evenwatt_cli.replay.telemetry import Windows
    from evenwatt_collector.control import Decision, Renewals, ZoneTree
    from evenwatt_collector.control.arrays import Bools, Floats, Ints

STEP_S = 1.0
SOONEST_S = 0.1
QUIET_S = 5.0
LOST_AFTER_S = 30.0
"""The broker says that a node is lost one and a half keep-alives (20 s) after it fell silent."""


class InvariantError(AssertionError):
    """The sum of leases, fallbacks and unmanaged power grew past the budget."""


@dataclass(frozen=True, slots=True)
class _Grants:
    at: Ints
    seq: Ints
    cap_w: Floats
    fallback_w: Floats
    ttl_s: float
    sent_s: float

    def part(self, rows: Bools) -> _Grants:
        return _Grants(self.at[rows], self.seq[rows], self.cap_w[rows], self.fallback_w[rows], self.ttl_s, self.sent_s)


@dataclass(frozen=True, slots=True)
class _Renewals:
    """A zone's, with a row for each node that it does not leave out."""

    at: Ints
    seqs: tuple[int, int]
    ttl_s: float
    sent_s: float

    def part(self, rows: Bools) -> _Renewals:
        return _Renewals(self.at[rows], self.seqs, self.ttl_s, self.sent_s)


@dataclass(frozen=True, slots=True)
class _Heard:
    """Live windows, and what they say of leases."""

    windows: Windows
    lease_seq: Ints
    left_s: Floats

    def part(self, rows: Bools) -> _Heard:
        return _Heard(self.windows.part(rows), self.lease_seq[rows], self.left_s[rows])


@dataclass(frozen=True, slots=True)
class _Acks:
    at: Ints
    seq: Ints
    after_w: Floats

    def part(self, rows: Bools) -> _Acks:
        return _Acks(self.at[rows], self.seq[rows], self.after_w[rows])


@dataclass(frozen=True, slots=True)
class _Pauses:
    at: Ints
    pause: Bools
    ttl_s: float

    def part(self, rows: Bools) -> _Pauses:
        return _Pauses(self.at[rows], self.pause[rows], self.ttl_s)


class Ours:
    """The whole loop: controller, network, nodes.

    Args:
        fleet: The nodes.
        tree: Its zones.
        fallback_w: Each node's own.
        dt_s: Step.
        conditions: How bad the network is.
        seed: Of all dice.
    """

    name = "evenwatt"

    def __init__(
        self, fleet: FleetSpec, tree: ZoneTree, fallback_w: Floats, dt_s: float, conditions: Conditions, seed: int
    ) -> None:
        self._fleet, self._tree, self._dt_s, self._seed = fleet, tree, dt_s, seed
        self.size = len(fleet)
        self.nodes = NodeLeases(fleet.floor_w, fleet.max_w, fallback_w)
        self._controller = Controller(tree, seed=seed)
        self.alive = True
        self._seen = Observations(len(fleet))
        self._describe(fallback_w)
        self._heard_s: Floats = np.full(len(fleet), -np.inf)
        self._up: Pipe[_Heard] = Pipe(conditions, dt_s, [seed, 21])
        self._acks: Pipe[_Acks] = Pipe(conditions, dt_s, [seed, 22])
        self._down: Pipe[_Grants] = Pipe(conditions, dt_s, [seed, 23])
        self._pauses: Pipe[_Pauses] = Pipe(conditions, dt_s, [seed, 24])
        self._renewals: Pipe[_Renewals] = Pipe(conditions, dt_s, [seed, 25])
        self._due_s = 0.0
        self._epoch_from = 0
        self._quiet_until_s = -np.inf
        self._last_s = -np.inf
        self._hurry = False
        self._budget_w: Floats = np.full(len(tree), np.inf)
        self.decision: Decision | None = None

    def _describe(self, fallback_w: Floats) -> None:
        seen, fleet = self._seen, self._fleet
        seen.present[:] = seen.online[:] = seen.controllable[:] = True
        seen.floor_w[:], seen.ceiling_w[:], seen.fallback_w[:] = fleet.floor_w, fleet.max_w, fallback_w
        seen.priority[:], seen.weight[:], seen.zone[:] = fleet.priority, fleet.weight, fleet.zone
        seen.pausable[:] = fleet.pausable

    def arrive(self, k: int, now_s: float) -> None:
        """Let windows and answers arrive at the collector, grants and pauses at the nodes."""
        for grants in self._down.arrived(k):
            taken = self.nodes.receive(
                grants.at, grants.seq, grants.cap_w, grants.fallback_w, grants.ttl_s, grants.sent_s, now_s
            )
            at = grants.at[taken]
            answer = _Acks(at, grants.seq[taken], self.nodes.cap_w[at])
            # The answer leaves when the device has been read back.
            self._acks.send(k + max(1, round(self._fleet.delay_s / self._dt_s)), answer, len(at))
        for renewals in self._renewals.arrived(k):
            self.nodes.renew(renewals.at, renewals.seqs, renewals.ttl_s, renewals.sent_s, now_s)
        for order in self._pauses.arrived(k):
            self.nodes.pause_until_s[order.at] = np.where(order.pause, now_s + order.ttl_s, -np.inf)
        for heard in self._up.arrived(k):
            if self.alive:
                self._take(heard, now_s)
        for acks in self._acks.arrived(k):
            if self.alive:
                mine = acks.part(acks.seq >= self._epoch_from)  # answers to an earlier collector say its epoch
                self._controller.acknowledge_many(mine.at, mine.seq, mine.after_w, now_s)
                self._hurry |= self.decision is not None and self.decision.waiting_w > 0

    def _take(self, heard: _Heard, now_s: float) -> None:
        windows, seen = heard.windows, self._seen
        at = windows.at
        ours = heard.lease_seq >= self._epoch_from
        seen.lease_seq[at], seen.lease_left_s[at] = np.where(ours, heard.lease_seq, -1), heard.left_s
        seen.power_w[at], seen.peak_w[at], seen.window_peak_w[at] = (
            windows.mean_w, windows.peak_w, windows.window_peak_w,
        )  # fmt: skip
        seen.held_w[at], seen.paused[at] = windows.held_w, windows.paused
        self._heard_s[at] = now_s
        self._hurry |= windows.jump

    def act(self, k: int, now_s: float, budget_w: Floats) -> None:
        """Step each second, and at once when the budget moves or an answer makes room."""
        if not self.alive:
            return
        moved = not np.array_equal(budget_w, self._budget_w)
        if moved:
            self._budget_w = budget_w.copy()
            self._controller.set_limits(budget_w)
        if now_s < self._due_s - 1e-9 and not ((moved or self._hurry) and now_s - self._last_s >= SOONEST_S - 1e-9):
            return
        self._due_s, self._last_s, self._hurry = now_s + STEP_S, now_s, False
        self._seen.age_s[:] = now_s - self._heard_s
        self._seen.online[:] = self._seen.age_s < LOST_AFTER_S
        before, self.decision = self.decision, self._controller.step(now_s, self._seen)
        self._check(before, self.decision, now_s)
        grants, pauses = self.decision.grants, self.decision.pauses
        sent = _Grants(grants.slot, grants.seq, grants.cap_w, grants.fallback_w, grants.ttl_s, now_s)
        self._down.send(k, sent, len(grants))
        self._send_renewals(k, now_s, self.decision.renewals)
        self._pauses.send(k, _Pauses(pauses.slot, pauses.pause, pauses.ttl_s), len(pauses))

    def _send_renewals(self, k: int, now_s: float, renewals: Renewals) -> None:
        for z, left_out in zip(renewals.zone, renewals.left_out, strict=True):
            meant = self._seen.zone == z
            meant[left_out] = False
            at = np.flatnonzero(meant)
            message = _Renewals(at, (self._epoch_from, renewals.seq), renewals.ttl_s, now_s)
            self._renewals.send(k, message, len(at))

    def hear(self, k: int, windows: Windows) -> None:
        """Send windows up."""
        now_s, at = k * self._dt_s, windows.at
        lease_seq = np.where(self.nodes.leased(now_s)[at], self.nodes.held_seq[at], -1)
        left_s = np.maximum(0.0, self.nodes.ends_s[at] - now_s)
        self._up.send(k, _Heard(windows, lease_seq, left_s), len(at))

    def caps_w(self, now_s: float) -> Floats:
        """Return what the nodes' leases allow."""
        return self.nodes.cap_at(now_s)

    def paused(self, now_s: float) -> Bools:
        """Return whose work is paused."""
        return self.nodes.paused(now_s)

    def most_w(self) -> float:
        """Return the sum of outstanding leases and fallbacks; NaN while nobody steers, or only watches."""
        steers = self.decision is not None and self.decision.why is not None
        return float(self.decision.most_w[0]) if self.decision is not None and steers else float("nan")

    # --- faults ---------------------------------------------------------------------------------------------------

    def kill_collector(self) -> None:
        """It dies; what it knew is gone."""
        self.alive = False
        self.decision = None

    def start_collector(self, now_s: float) -> None:
        """Another starts with a higher epoch: it watches first, and takes what nodes say that they hold."""
        first = self._controller.next_seq + 1_000_000
        self._controller = Controller(self._tree, first_seq=first, quiet_s=QUIET_S, seed=self._seed)
        self._controller.set_limits(self._budget_w)
        self._epoch_from, self._quiet_until_s = first, now_s + QUIET_S
        self._heard_s[:] = -np.inf
        seen = self._seen  # births are retained by the broker; what nodes do and hold, they must say again
        seen.held_w[:], seen.lease_seq[:] = np.nan, -1
        seen.power_w[:] = seen.peak_w[:] = seen.window_peak_w[:] = 0.0
        seen.paused[:] = False
        self.alive, self._due_s = True, 0.0

    def set_broker(self, *, up: bool) -> None:
        """The broker goes away or comes back."""
        for pipe in (self._up, self._acks, self._down, self._renewals, self._pauses):
            pipe.up = up

    def restart_nodes(self, at: Ints, now_s: float) -> None:
        """Agents restart."""
        self.nodes.restart(at, now_s)

    def skew_clocks(self, at: Ints, skew_s: float) -> None:
        """Nodes' wall clocks jump."""
        self.nodes.skew_s[at] += skew_s

    def _check(self, before: Decision | None, after: Decision, now_s: float) -> None:
        """Above a budget the most that may be drawn only falls; below it, it stays below.

        A collector that watches first learns meanwhile what nodes hold, and grants nothing: then there is nothing to
        check.
        """
        if now_s < self._quiet_until_s + STEP_S:
            return
        limit_w = np.where(np.isfinite(self._budget_w), self._budget_w, np.inf)
        last_w = limit_w if before is None else np.maximum(limit_w, before.most_w)
        if self.decision is not None and np.any(after.most_w > last_w * (1 + 1e-9) + 1e-3) and before is not None:
            z = int(np.argmax(after.most_w - last_w))
            raise InvariantError(
                f"zone {self._tree.names[z]!r} at {now_s:.2f} s: leases allow {after.most_w[z]:.3f} W of "
                f"{limit_w[z]:.3f} W, {last_w[z]:.3f} W before; seed {self._seed}"
            )
