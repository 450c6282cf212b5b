"""What one node may draw, as far as the collector can know. Pure: time is an argument.

A grant may be received until its message expires, is held for its ttl from then on, and ends in a ramp to its
fallback. So until the node answers, every grant on its way may be the one in force; the node's acknowledgement of
one settles all older ones, because a node refuses what is older than what it took. The account's states::

      RESTING --sent--> OFFERED --newest acknowledged--> HELD --sent--> OFFERED
      OFFERED, HELD --last possible end of a lease--> ENDING --ramp over--> RESTING
      ENDING --sent--> OFFERED
      any --locked, unsupported, restored--> UNMANAGED --newest acknowledged--> HELD

RESTING: no lease can be alive, the node is at its fallback. UNMANAGED: the node does not obey caps at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Final

TTL_S: Final = 10.0
"""Length of a lease (our choice: several renewals may be lost; Dynamo and Thunderbolt act within seconds)."""
MESSAGE_EXPIRY_S: Final = 2.0
"""A grant that was queued for longer is refused by the node."""
RAMP_S: Final = 5.0
"""A node's way from its cap to its fallback after a lease."""
CLOCK_GUARD_S: Final = 0.5
"""Allowance for two clocks' rates, for clocks set by NTP, and for the time between a step and its sending."""


SETTLE_S: Final = 3.0
"""A reading may be older than a cap that fell: network delay, device delay and one window fit in (our choice)."""


class Standing(StrEnum):
    """The states of the drawing above."""

    RESTING = "resting"
    OFFERED = "offered"
    HELD = "held"
    ENDING = "ending"
    UNMANAGED = "unmanaged"


class Happening(StrEnum):
    """What moves an account from one standing to another."""

    SENT = "sent"
    CONFIRMED = "confirmed"
    """The newest grant was acknowledged."""
    ENDED = "ended"
    RAMPED = "ramped"
    REFUSED = "refused"


_NEXT: Final = {
    (Standing.RESTING, Happening.SENT): Standing.OFFERED,
    (Standing.HELD, Happening.SENT): Standing.OFFERED,
    (Standing.ENDING, Happening.SENT): Standing.OFFERED,
    (Standing.OFFERED, Happening.CONFIRMED): Standing.HELD,
    (Standing.UNMANAGED, Happening.CONFIRMED): Standing.HELD,
    (Standing.OFFERED, Happening.ENDED): Standing.ENDING,
    (Standing.HELD, Happening.ENDED): Standing.ENDING,
    (Standing.ENDING, Happening.RAMPED): Standing.RESTING,
}


def next_standing(standing: Standing, happening: Happening) -> Standing:
    """Return the standing after a happening; one that means nothing in this state changes nothing."""
    if happening is Happening.REFUSED:
        return Standing.UNMANAGED
    return _NEXT.get((standing, happening), standing)


@dataclass(frozen=True, slots=True)
class Offer:
    """A grant that is on its way or unanswered."""

    seq: int
    cap_w: float
    fallback_w: float
    sent_s: float
    until_s: float
    """When a lease from it has ended at the latest."""


@dataclass(slots=True, eq=False)
class Account:
    """One node's possible caps. ``outstanding`` is the highest of them."""

    node: str
    floor_w: float
    """A node never caps itself below its floor."""
    acked_w: float
    """Cap of the newest acknowledged grant; before the first, what the node arrived with."""
    rest_w: float
    """The most the node may rest at when no lease is alive."""
    intent_w: float
    """Cap last sent."""
    acked_seq: int = -1
    acked_until_s: float = -inf
    offers: list[Offer] = field(default_factory=list)
    sent_s: float = -inf
    sent_seq: int = -1
    standing: Standing = Standing.RESTING
    falls: list[tuple[float, float]] = field(default_factory=list)
    """When the highest possible cap fell of late, and from what."""
    seen: int = 0
    """The collector's step that last saw the node."""
    _out_w: float = 0.0
    _valid_until_s: float = -inf

    def outstanding(self, now_s: float) -> float:
        """Return the most the node's cap can be at ``now_s``, in watts."""
        if now_s >= self._valid_until_s:
            self._recount(now_s)
        return self._out_w

    def lately(self, now_s: float) -> float:
        """Return the highest that ``outstanding`` was within the last ``SETTLE_S``: what readings may still show."""
        recent = (from_w for at_s, from_w in self.falls if now_s - at_s < SETTLE_S)
        return max(self.outstanding(now_s), *recent, 0.0)

    def in_force(self, now_s: float) -> float:
        """Return the cap that the node last confirmed, or its resting cap when that has ended."""
        return self.acked_w if now_s < self.acked_until_s else max(self.floor_w, self.rest_w)

    def unanswered_s(self, now_s: float) -> float:
        """Return how long the newest grant has waited for its acknowledgement; 0 when it has not."""
        return now_s - self.offers[-1].sent_s if self.offers else 0.0

    def set_floor(self, floor_w: float) -> None:
        """Take a floor that a new birth announced."""
        if floor_w != self.floor_w:
            self.floor_w = floor_w
            self._valid_until_s = -inf

    def offer(self, offer: Offer) -> None:
        """Note a grant that is sent now."""
        self.offers.append(offer)
        self.intent_w = offer.cap_w
        self.sent_s, self.sent_seq = offer.sent_s, offer.seq
        self._move(Happening.SENT)
        self._valid_until_s = -inf

    def confirm(self, seq: int, after_w: float | None, now_s: float) -> None:
        """Note that the grant ``seq`` is in the device, read back as ``after_w``."""
        offer = next((o for o in self.offers if o.seq == seq), None)
        if offer is None or seq <= self.acked_seq:
            return
        raised_w = offer.cap_w if after_w is None else max(offer.cap_w, after_w)
        self.acked_seq = seq
        self.acked_w = raised_w
        # A node that stands above what was asked is at a floor of its own, and rests there too.
        self.rest_w = offer.fallback_w if raised_w <= offer.cap_w else raised_w
        self.acked_until_s = min(offer.until_s, now_s + TTL_S + CLOCK_GUARD_S)
        self.offers = [o for o in self.offers if o.seq > seq]
        self._valid_until_s = -inf
        if not self.offers and now_s < self.acked_until_s:
            self._move(Happening.CONFIRMED)

    def refuse(self) -> None:
        """Note that the device does not obey caps."""
        self._move(Happening.REFUSED)

    def _recount(self, now_s: float) -> None:
        """Fold in what has ended, and find the highest cap and until when it holds."""
        before_w = self._out_w
        self._fold(now_s)
        out_w = max(self.floor_w, self.rest_w)
        changes = [inf]
        if now_s < self.acked_until_s + RAMP_S:
            out_w = max(out_w, self.acked_w)
            changes.append(self.acked_until_s + RAMP_S)
        for offer in self.offers:
            out_w = max(out_w, offer.cap_w)
            changes.append(offer.until_s + RAMP_S)
        last_s = max(self.acked_until_s, self.offers[-1].until_s) if self.offers else self.acked_until_s
        if now_s < last_s:
            changes.append(last_s)
        else:
            self._move(Happening.ENDED)
            if now_s >= last_s + RAMP_S:
                self._move(Happening.RAMPED)
        if out_w < before_w:
            self.falls = [fall for fall in self.falls if now_s - fall[0] < SETTLE_S]
            self.falls.append((now_s, before_w))
        self._out_w = out_w
        self._valid_until_s = min(changes)

    def _fold(self, now_s: float) -> None:
        """Offers that cannot be alive any more leave their fallback behind: one of them may have been the last."""
        alive = [o for o in self.offers if now_s < o.until_s + RAMP_S]
        if len(alive) < len(self.offers):
            self.rest_w = max(self.rest_w, *(o.fallback_w for o in self.offers if now_s >= o.until_s + RAMP_S))
            self.offers = alive

    def _move(self, happening: Happening) -> None:
        self.standing = next_standing(self.standing, happening)
