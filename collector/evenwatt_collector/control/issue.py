"""From shares to grants: which leases to send now, and in which order. Pure.

Decreases go first, then raises as far as there is room now, the most important class and the lowest level first, then
renewals. Donors give at once what they do not need: Slurm's limit of 50 % per 30 s would leave a node at its cap
waiting while others idle, and a donor that wants it back is at its cap one step later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from evenwatt_collector.control.accounts import TTL_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.control.grants import GrantBook
    from evenwatt_collector.control.reasons import Reasons
    from evenwatt_collector.control.survey import Survey
    from evenwatt_collector.control.types import Grant

RENEW_S: Final = 2.0
"""Leases are renewed this often: four renewals may be lost in a ttl of 10 s (our choice)."""
RETRY_S: Final = 0.45
"""An unanswered grant is sent anew after this: two ways of 150 ms and a device of 100 ms fit in, and a slower answer
only costs a second message (our choice)."""
STEP_TOLERANCE_S: Final = 0.05
SPREAD: Final = 1.25
"""At most this multiple of the average rate of renewals in one step (our choice)."""
DEADBAND_W: Final = 5.0
"""Smaller changes are ignored (our choice) ..."""
DEADBAND: Final = 0.02
"""... as are those below this fraction of the cap."""
_ROUNDING_W: Final = 1e-6


def deadband_w(cap_w: float) -> float:
    """Return the smallest change of a cap worth sending."""
    return max(DEADBAND_W, DEADBAND * cap_w)


def settle(shares: Sequence[float], found: Survey, available_w: float) -> list[float]:
    """Return the caps to aim for: shares, but small changes ignored where the sum allows it and no ceiling is near."""
    caps = []
    for share, account, node in zip(shares, found.accounts, found.live, strict=True):
        small = abs(share - account.intent_w) < deadband_w(account.intent_w)
        caps.append(account.intent_w if small and not account.intent_w < node.ceiling_w <= share else share)
    if math.fsum(caps) > available_w + _ROUNDING_W:
        return [min(cap, share) for cap, share in zip(caps, shares, strict=True)]
    return caps


@dataclass(slots=True)
class Round:
    """The grants of one step."""

    book: GrantBook
    found: Survey
    reasons: Reasons
    now_s: float
    elapsed_s: float
    """Since the step before; it bounds the renewals, so that a fleet granted at once is not renewed at once."""
    grants: list[Grant] = field(default_factory=list)
    waiting_w: float = 0.0

    def run(self, caps: Sequence[float], *, may_raise: bool) -> None:
        """Send what moves the steered nodes to ``caps``."""
        decreases: list[int] = []
        raises: list[int] = []
        renewals: list[int] = []
        for i, account in enumerate(self.found.accounts):
            cap_w, intent_w, out_w = caps[i], account.intent_w, self.found.out_w[i]
            if cap_w > min(intent_w, out_w) + _ROUNDING_W:
                (raises if may_raise else renewals).append(i)
            elif cap_w < intent_w - _ROUNDING_W:
                decreases.append(i)
            else:
                renewals.append(i)
        decreases.sort(key=lambda i: caps[i] - self.found.accounts[i].intent_w)
        raises.sort(key=self._most_deserving)
        for i in decreases:
            self._send(i, caps[i])
        for i in raises:
            self._raise(i, caps[i])
        left = math.ceil(SPREAD * len(self.found.live) * self.elapsed_s / RENEW_S) + 1
        for i in renewals:
            left -= self._renew(i, may_wait=left <= 0)

    def _most_deserving(self, i: int) -> tuple[int, float]:
        node = self.found.live[i]
        return -node.priority, self.found.out_w[i] / max(node.weight, 1e-6)

    def _raise(self, i: int, cap_w: float) -> None:
        """Raise as far as there is room; too little to matter waits, but the lease is kept alive."""
        account = self.found.accounts[i]
        has_w = min(account.intent_w, self.found.out_w[i])
        gets_w = self.book.affordable_w(account, cap_w, self.now_s)
        self.waiting_w += cap_w - min(gets_w, cap_w)
        if gets_w >= min(cap_w, has_w + deadband_w(has_w)) - _ROUNDING_W:
            self._send(i, gets_w)
        else:
            self._renew(i)

    def _renew(self, i: int, *, may_wait: bool = False) -> bool:
        """Send the same cap again if it is time, and return whether it was; an unanswered one does not wait."""
        account = self.found.accounts[i]
        age_s = self.now_s - account.sent_s
        due = age_s >= RENEW_S - STEP_TOLERANCE_S and not (may_wait and age_s < TTL_S / 2)
        if due or account.unanswered_s(self.now_s) >= RETRY_S:
            self._send(i, min(account.intent_w, self.found.out_w[i]))
            return True
        return False

    def _send(self, i: int, cap_w: float) -> None:
        account, node = self.found.accounts[i], self.found.live[i]
        cap_w = self.book.affordable_w(account, cap_w, self.now_s)
        reason = self.reasons.text(i, cap_w)
        self.grants.append(self.book.grant(account, cap_w, node.fallback_w, reason, self.now_s))
