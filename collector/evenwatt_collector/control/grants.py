"""The book of grants: who may draw what. The lease invariant lives here.

The sum of all accounts' outstanding caps, what is reserved beside them and unmanaged power never grows past the
budget: a grant above a node's outstanding cap needs room, and room appears only when a decrease is acknowledged, a
lease has ended at the latest, or the budget grows. While there is none at all, commands only go down.
Fallbacks never exceed the cap they end, so any set of leases may end without raising the sum.
"""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, Final

from evenwatt_collector.control.accounts import CLOCK_GUARD_S, MESSAGE_EXPIRY_S, TTL_S, Account, Offer, Standing
from evenwatt_collector.control.types import Grant

if TYPE_CHECKING:
    from collections.abc import Iterator

_APPLIED: Final = frozenset({"applied", "clamped"})
_DISOBEYS: Final = frozenset({"locked", "unsupported", "restored"})
_ROUNDING_W: Final = 1e-6


class OvercommitmentError(AssertionError):
    """A grant was about to break the lease invariant: a fault in this program, never in its input."""


class GrantBook:
    """Every node's account, and the room that is left among them.

    Args:
        first_seq: Sequence number of the first grant; larger than any this epoch has used.
    """

    def __init__(self, *, first_seq: int = 1) -> None:
        self._accounts: dict[str, Account] = {}
        self._seq = first_seq
        self._room_w = 0.0

    def __len__(self) -> int:
        return len(self._accounts)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    @property
    def next_seq(self) -> int:
        """Sequence number that the next grant will carry."""
        return self._seq

    @property
    def room_w(self) -> float:
        """By how much outstanding caps may still grow; negative when they exceed the budget."""
        return self._room_w

    def account(self, node: str) -> Account | None:
        """Return the node's account, if it has one."""
        return self._accounts.get(node)

    def arrive(self, node: str, cap_w: float, floor_w: float) -> Account:
        """Open the account of a node that holds ``cap_w`` from before this book.

        It counts until the node's first acknowledgement. A lease of an earlier collector may end before that, but
        never in a higher cap: every lease's fallback is at most its cap.
        """
        held_w = max(cap_w, floor_w)
        account = Account(node, floor_w, acked_w=held_w, rest_w=held_w, intent_w=held_w)
        self._accounts[node] = account
        return account

    def remove(self, node: str) -> None:
        """Close an account: the node is known to be off, or to be at its fallback and counted elsewhere."""
        self._accounts.pop(node, None)

    def total_w(self, now_s: float) -> float:
        """Return the most that all nodes' caps can add up to at ``now_s``."""
        return fsum(account.outstanding(now_s) for account in self._accounts.values())

    def balance(self, available_w: float, total_w: float) -> float:
        """Set and return the room for the coming grants: what leases may take, less what is outstanding."""
        self._room_w = available_w - total_w
        return self._room_w

    def affordable_w(self, account: Account, cap_w: float, now_s: float) -> float:
        """Return the highest cap up to ``cap_w`` that may be granted now."""
        out_w = account.outstanding(now_s)
        if self._room_w < -_ROUNDING_W:
            return max(account.floor_w, min(cap_w, account.intent_w, out_w))
        return min(cap_w, out_w + max(0.0, self._room_w))

    def grant(self, account: Account, cap_w: float, fallback_w: float, reason: str, now_s: float) -> Grant:
        """Make the next grant for a node and note it as sent.

        Raises:
            OvercommitmentError: there is no room for it; ask :meth:`affordable_w` first.
        """
        grant = Grant(account.node, self._seq, cap_w, min(fallback_w, cap_w), TTL_S, reason)
        self.sent(grant, now_s)
        return grant

    def sent(self, grant: Grant, now_s: float) -> None:
        """Note that a grant is on its way: from now on the node may hold its cap."""
        account = self._accounts[grant.node]
        grows_w = max(0.0, grant.cap_w - account.outstanding(now_s))
        if grows_w > max(0.0, self._room_w) + _ROUNDING_W:
            raise OvercommitmentError(
                f"{grant.cap_w:.3f} W for {grant.node} takes {grows_w:.3f} W; the budget has {self._room_w:.3f} W left"
            )
        self._room_w -= grows_w
        self._seq = max(self._seq, grant.seq + 1)
        until_s = now_s + MESSAGE_EXPIRY_S + grant.ttl_s + CLOCK_GUARD_S
        account.offer(Offer(grant.seq, grant.cap_w, grant.fallback_w, now_s, until_s))

    def acknowledged(self, node: str, seq: int, after_w: float | None, now_s: float) -> None:
        """Note that a node applied a grant and read ``after_w`` back; unknown or older ones change nothing."""
        account = self._accounts.get(node)
        if account is not None:
            account.confirm(seq, after_w, now_s)

    def rejected(self, node: str, seq: int, code: str) -> None:
        """Note a refusal.

        A device that does not obey makes its node unmanaged. Any other refusal proves nothing, for a duplicate of a
        grant that was applied is refused as well: the grant keeps counting until it has ended.
        """
        account = self._accounts.get(node)
        if account is not None and code in _DISOBEYS and seq >= account.acked_seq:
            account.refuse()

    def answered(self, node: str, seq: int, code: str, after_w: float | None, now_s: float) -> None:
        """Sort an acknowledgement by its code."""
        if code in _APPLIED:
            self.acknowledged(node, seq, after_w, now_s)
        else:
            self.rejected(node, seq, code)

    def left(self, step: int, now_s: float) -> float:
        """Return what nodes not seen in ``step`` may still draw; those whose leases have ended are forgotten."""
        reserved_w = 0.0
        for account in [a for a in self._accounts.values() if a.seen != step]:
            out_w = account.outstanding(now_s)
            if account.standing in (Standing.RESTING, Standing.UNMANAGED):
                self.remove(account.node)
            else:
                reserved_w += out_w
        return reserved_w
