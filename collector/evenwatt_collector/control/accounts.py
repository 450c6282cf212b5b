"""What each node may draw, as far as the collector can know. Pure: time is an argument.

A grant may be received until its message expires, is held for its ttl from then on, and ends in a ramp to its
fallback. So until the node answers, every grant on its way may be the one in force; the node's acknowledgement of
one settles all older ones, because a node refuses what is older than what it took. An account's life::

      RESTING --sent--> OFFERED --newest acknowledged--> HELD --sent--> OFFERED
      HELD --renewed with its zone--> HELD
      OFFERED, HELD --last possible end of a lease--> ENDING --ramp over--> RESTING
      ENDING --sent--> OFFERED
      any --locked, unsupported, restored--> UNMANAGED --a newer one acknowledged--> HELD

RESTING: no lease can be alive, the node is at its fallback. UNMANAGED: the node does not obey caps at all. The
standing follows from the columns (``standing``); it is not stored beside them, so it cannot disagree with them.

Offers of the same cap are one entry; a node that answers nothing while its cap keeps changing has its two oldest
entries merged, at the higher of each figure, so that the count is never too low.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.control.types import TTL_S

if TYPE_CHECKING:
    from evenwatt_collector.control.arrays import Bools, Floats, Ints

MESSAGE_EXPIRY_S: Final = 2.0
"""A grant that was queued for longer is refused by the node."""
RAMP_S: Final = 5.0
"""A node's way from its cap to its fallback after a lease."""
CLOCK_GUARD_S: Final = 0.5
"""Allowance for two clocks' rates, for clocks set by NTP, and for the time between a step and its sending."""
SETTLE_S: Final = 3.0
"""A reading may be older than a cap that fell: network delay, device delay and one window fit in (our choice)."""
_ENTRIES: Final = 4
_NEVER: Final = -np.inf


class Standing(StrEnum):
    """The states of the drawing above."""

    RESTING = "resting"
    OFFERED = "offered"
    HELD = "held"
    ENDING = "ending"
    UNMANAGED = "unmanaged"


class Accounts:
    """All accounts, one position a slot; ``open`` says which exist."""

    def __init__(self, slots: int = 0) -> None:
        self.open: Bools = np.zeros(slots, dtype=np.bool_)
        self.unmanaged: Bools = np.zeros(slots, dtype=np.bool_)
        self.floor_w: Floats = np.zeros(slots)
        """A node never caps itself below its floor."""
        self.acked_w: Floats = np.zeros(slots)
        """Cap of the newest acknowledged grant; before the first, what the node arrived with."""
        self.rest_w: Floats = np.zeros(slots)
        """The most the node may rest at when no lease is alive."""
        self.intent_w: Floats = np.zeros(slots)
        """Cap last sent."""
        self.acked_seq: Ints = np.full(slots, -1, dtype=np.int64)
        self.acked_until_s: Floats = np.full(slots, _NEVER)
        self.sent_s: Floats = np.full(slots, _NEVER)
        self.sent_seq: Ints = np.full(slots, -1, dtype=np.int64)
        self.fell_s: Floats = np.full(slots, _NEVER)
        self.fell_from_w: Floats = np.zeros(slots)
        self.last_out_w: Floats = np.zeros(slots)
        # Unanswered offers, the oldest first; an entry that ``until_s`` calls NEVER is empty, and only older ones are.
        self.offer_first: Ints = np.zeros((slots, _ENTRIES), dtype=np.int64)
        self.offer_last: Ints = np.full((slots, _ENTRIES), -1, dtype=np.int64)
        self.offer_cap_w: Floats = np.zeros((slots, _ENTRIES))
        self.offer_rest_w: Floats = np.zeros((slots, _ENTRIES))
        self.offer_until_s: Floats = np.full((slots, _ENTRIES), _NEVER)
        """When a lease from it has ended at the latest."""

    def __len__(self) -> int:
        return len(self.open)

    def grow(self, slots: int) -> None:
        """Make room for ``slots`` nodes."""
        bigger = Accounts(slots)
        for name, column in vars(self).items():
            getattr(bigger, name)[: len(column)] = column
            setattr(self, name, getattr(bigger, name))

    def arrive(self, slots: Ints, held_w: Floats, floor_w: Floats, now_s: float = 0.0) -> None:
        """Open accounts of nodes that hold ``held_w`` from before, or what their closed accounts say may be alive.

        It counts until the first acknowledgement. A lease of an earlier collector may end before that, but never in
        a higher cap than it: the caller gives the higher of the two where a fallback exceeds the cap.
        """
        held_w = np.maximum(held_w, self._alive_w(slots, now_s))
        fresh = Accounts(1)
        for name, column in vars(self).items():
            column[slots] = getattr(fresh, name)[0]
        most_w = np.maximum(held_w, floor_w)
        self.open[slots] = True
        self.floor_w[slots] = floor_w
        for column in (self.acked_w, self.rest_w, self.intent_w, self.last_out_w):
            column[slots] = most_w

    def suspect(self, slots: Ints, most_w: Floats, fallback_w: Floats, now_s: float) -> None:
        """Count nodes that have not said what they hold at the most that an earlier collector may have granted.

        After that at their fallbacks at the least: what they held when they were heard may have been changed since.
        """
        self.rest_w[slots] = np.maximum(self.rest_w[slots], fallback_w)
        self.acked_w[slots] = most_w
        self.acked_until_s[slots] = now_s + MESSAGE_EXPIRY_S + TTL_S + CLOCK_GUARD_S

    def close(self, slots: Ints | Bools) -> None:
        """Close accounts: the node is known to be off, or to be at its fallback and counted elsewhere."""
        self.open[slots] = False

    def outstanding(self, now_s: float) -> Floats:
        """Return the most that each node's cap can be at ``now_s``; 0 without an account.

        Also notes where that fell: a reading may still show the time before.
        """
        over = (self.offer_until_s > _NEVER) & (now_s >= self.offer_until_s + RAMP_S)
        if over.any():
            # One of them may have been the last that was obeyed: it leaves its fallback behind.
            left_w = np.where(over, self.offer_rest_w, 0.0).max(axis=1)
            np.maximum(self.rest_w, left_w, out=self.rest_w)
            self.offer_until_s[over] = _NEVER
        out_w = np.maximum(self.floor_w, self.rest_w)
        np.maximum(out_w, self.acked_w, out=out_w, where=now_s < self.acked_until_s + RAMP_S)
        waiting = self.offer_until_s[:, -1] > _NEVER  # the newest entry is the last to be empty
        if waiting.any():
            at = np.flatnonzero(waiting)
            alive = self.offer_until_s[at] > _NEVER
            offered_w = np.where(alive, np.maximum(self.offer_cap_w[at], self.offer_rest_w[at]), 0.0).max(axis=1)
            out_w[at] = np.maximum(out_w[at], offered_w)
        out_w *= self.open
        self._note_falls(out_w, now_s)
        return out_w

    def lately_w(self, now_s: float) -> Floats:
        """Return the highest that ``outstanding`` was within the last ``SETTLE_S``: what readings may still show."""
        return np.where(now_s - self.fell_s < SETTLE_S, np.maximum(self.last_out_w, self.fell_from_w), self.last_out_w)

    def in_force_w(self, now_s: float) -> Floats:
        """Return the cap that each node last confirmed, or its resting cap when that has ended."""
        return np.where(now_s < self.acked_until_s, self.acked_w, np.maximum(self.floor_w, self.rest_w))

    def unanswered(self) -> Bools:
        """Return which nodes have not answered their newest grant."""
        return self.offer_until_s[:, -1] > _NEVER

    def resting(self, now_s: float) -> Bools:
        """Return where no lease can be alive any more."""
        return now_s >= np.maximum(self.acked_until_s, self.offer_until_s[:, -1]) + RAMP_S

    def standing(self, slot: int, now_s: float) -> Standing:
        """Return one account's place in the drawing above."""
        if self.unmanaged[slot]:
            return Standing.UNMANAGED
        until_s = max(self.acked_until_s[slot], self.offer_until_s[slot, -1])
        if now_s >= until_s + RAMP_S:
            return Standing.RESTING
        if now_s >= until_s:
            return Standing.ENDING
        return Standing.OFFERED if self.offer_until_s[slot, -1] > _NEVER else Standing.HELD

    def sent(self, slots: Ints, seqs: Ints, cap_w: Floats, rest_w: Floats, now_s: float) -> None:
        """Note grants on their way: from now on these nodes may hold these caps. Each slot at most once."""
        until_s = now_s + MESSAGE_EXPIRY_S + TTL_S + CLOCK_GUARD_S
        newest = -1
        same = (
            (self.offer_until_s[slots, newest] > _NEVER)
            & (self.offer_cap_w[slots, newest] == cap_w)
            & (self.offer_rest_w[slots, newest] == rest_w)
        )
        self._push(slots[~same])
        fresh = slots[~same]
        self.offer_first[fresh, newest] = seqs[~same]
        self.offer_cap_w[fresh, newest] = cap_w[~same]
        self.offer_rest_w[fresh, newest] = rest_w[~same]
        self.offer_last[slots, newest] = seqs
        self.offer_until_s[slots, newest] = until_s
        self.intent_w[slots] = cap_w
        self.sent_s[slots] = now_s
        self.sent_seq[slots] = seqs

    def confirm(self, slots: Ints, seqs: Ints, after_w: Floats, now_s: Floats | float) -> None:
        """Note that grants are in the devices since ``now_s``, read back as ``after_w`` (NaN: not said).

        Unknown, older and doubled answers change nothing. Each slot at most once.
        """
        column = seqs[:, None]
        inside = (
            (self.offer_until_s[slots] > _NEVER)
            & (self.offer_first[slots] <= column)
            & (column <= self.offer_last[slots])
        )
        good = inside.any(axis=1) & (seqs > self.acked_seq[slots]) & self.open[slots]
        if not good.any():
            return
        at, seqs, after_w, entry = slots[good], seqs[good], after_w[good], inside[good].argmax(axis=1)
        ends_s = np.broadcast_to(now_s, slots.shape)[good] + TTL_S + CLOCK_GUARD_S
        cap_w = self.offer_cap_w[at, entry]
        raised_w = np.fmax(cap_w, after_w)
        self.acked_seq[at] = seqs
        self.acked_w[at] = raised_w
        # A node that stands above what was asked is at a floor of its own, and rests there too.
        self.rest_w[at] = np.where(raised_w <= cap_w, self.offer_rest_w[at, entry], raised_w)
        self.acked_until_s[at] = np.minimum(self.offer_until_s[at, entry], ends_s)
        self.unmanaged[at] = False
        until_s = self.offer_until_s[at]
        until_s[self.offer_last[at] <= seqs[:, None]] = _NEVER
        self.offer_until_s[at] = until_s
        self.offer_first[at] = np.maximum(self.offer_first[at], seqs[:, None] + 1)

    def renewed(self, slots: Ints, now_s: float) -> None:
        """Note that acknowledged leases may go on, where a message that is sent now arrives."""
        self.acked_until_s[slots] = now_s + MESSAGE_EXPIRY_S + TTL_S + CLOCK_GUARD_S

    def refuse(self, slot: int, seq: int) -> None:
        """Note that the device does not obey caps, unless a later grant was acknowledged since."""
        if self.open[slot] and seq >= self.acked_seq[slot]:
            self.unmanaged[slot] = True

    def _alive_w(self, slots: Ints, now_s: float) -> Floats:
        """Return the most of what was granted and may be alive, whether the account is open or not."""
        acked_w = np.where(now_s < self.acked_until_s[slots] + RAMP_S, self.acked_w[slots], 0.0)
        offered_w = np.maximum(self.offer_cap_w[slots], self.offer_rest_w[slots])
        offered_w = np.where(now_s < self.offer_until_s[slots] + RAMP_S, offered_w, 0.0)
        alive_w: Floats = np.maximum(acked_w, offered_w.max(axis=1))
        return alive_w

    def _note_falls(self, out_w: Floats, now_s: float) -> None:
        fell = out_w < self.last_out_w
        if fell.any():
            at = np.flatnonzero(fell)
            recent = now_s - self.fell_s[at] < SETTLE_S
            before_w = np.maximum(self.last_out_w[at], np.where(recent, self.fell_from_w[at], 0.0))
            self.fell_from_w[at] = before_w
            self.fell_s[at] = now_s
        self.last_out_w = out_w.copy()

    def _push(self, slots: Ints) -> None:
        """Make the newest entry free; the two oldest become one, at the higher of each figure."""
        if not len(slots):
            return
        both = self.offer_until_s[slots, 0] > _NEVER
        for column in (self.offer_cap_w, self.offer_rest_w):
            oldest = np.where(both, np.maximum(column[slots, 0], column[slots, 1]), column[slots, 1])
            column[slots, :-1] = column[slots, 1:]
            column[slots, 0] = oldest
        first = np.where(both, self.offer_first[slots, 0], self.offer_first[slots, 1])
        self.offer_first[slots, :-1] = self.offer_first[slots, 1:]
        self.offer_first[slots, 0] = first
        self.offer_last[slots, :-1] = self.offer_last[slots, 1:]
        self.offer_until_s[slots, :-1] = self.offer_until_s[slots, 1:]
