"""Who acts, of two collectors. Pure: time is an argument, and no two clocks are ever compared.

The lease is a row in the database: an epoch, and a beat that its holder counts up. Taking it is one compare-and-swap
that makes the epoch one higher, so each epoch has one holder. The holder also beats on the broker. Each side measures
on its own monotonic clock how long it has seen no sign by either way::

    WAITING --no new sign for `patience_s`, or the lease was given back; and the swap succeeds--> ACTIVE
    ACTIVE  --no sign of its own has come through for `fence_s`--> silent (it acts no more) --a sign--> ACTIVE
    ACTIVE, silent --the database names another epoch--> FENCED: it waits again

A sign of the holder is timed by when it was sent, one that the standby sees by when it came. So with
``fence_s < patience_s`` a holder has fallen silent before its standby can act.
"""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple

BEAT_S: Final = 0.5
"""Between two beats, in the database and on the broker."""
FENCE_BEFORE_S: Final = 1.0
"""So much earlier than the standby may act does the holder stop."""
FREE: Final = 0
"""The beat of a lease that was given back."""
_BEATS_KEPT: Final = 64


class Lease(NamedTuple):
    """The row in the database."""

    epoch: int
    """0: there never was one."""
    beat: int


class Watch:
    """What a standby has seen of the active one.

    Args:
        patience_s: Without any sign for so long it is taken for dead.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.lease: Lease | None = None
        """As last read; None while the database does not answer."""
        self._changed_s = inf
        self._heard: tuple[int, int] = (0, 0)
        self._heard_s = -inf
        self._online_s = inf

    @property
    def sign_s(self) -> float:
        """When the latest sign of life came; -inf before the first."""
        return max(self._changed_s if self._changed_s < inf else -inf, self._heard_s)

    def looked(self, lease: Lease | None, now_s: float) -> None:
        """Take what was read from the database; None when it did not answer, for then nobody can have beaten."""
        if lease is None or lease != self.lease:
            self._changed_s = now_s
        self.lease = lease

    def heard(self, epoch: int, beat: int, now_s: float) -> None:
        """Take a beat from the broker; one that is not above all before it is a repeat."""
        if (epoch, beat) > self._heard and (self.lease is None or epoch >= self.lease.epoch):
            self._heard, self._heard_s = (epoch, beat), now_s

    def connected(self, online: bool, now_s: float) -> None:
        """Note whether the broker can be heard at all: without it there is nothing to take over."""
        if not online:
            self._online_s = inf
        elif self._online_s == inf:
            self._online_s = now_s

    def may_claim(self, now_s: float) -> Lease | None:
        """Return the lease to swap for one of our own, or None while there is nothing to be done."""
        if self.lease is None or self._online_s == inf:
            return None
        if self.lease.beat == FREE:
            return self.lease
        quiet_since_s = max(self._changed_s, self._heard_s, self._online_s)
        return self.lease if now_s - quiet_since_s >= self._patience_s else None


class Hold:
    """The active one's right to act.

    Args:
        epoch: Of its lease.
        now_s: When the swap was asked for.
        fence_s: It acts no more when its last sign is older.
    """

    def __init__(self, epoch: int, now_s: float, fence_s: float) -> None:
        self.epoch, self._fence_s = epoch, fence_s
        self._sign_s = now_s
        self._beat = 0
        self._sent_s: dict[int, float] = {}
        self._rival = False
        """Somebody beats in a higher epoch: only the database can say that it is not so."""
        self.lost = False
        """The database names another epoch: for good."""

    def beats(self, now_s: float) -> int:
        """Return the number of the beat that is sent to the broker now."""
        self._beat += 1
        self._sent_s[self._beat] = now_s
        self._sent_s.pop(self._beat - _BEATS_KEPT, None)
        return self._beat

    def heard(self, epoch: int, beat: int) -> None:
        """Take a beat from the broker. Of our own, whoever listens there has heard it too."""
        if epoch > self.epoch:
            self._rival = True
        elif epoch == self.epoch:
            self._sign_s = max(self._sign_s, self._sent_s.get(beat, -inf))

    def renewed(self, sent_s: float) -> None:
        """Note that a renewal which was begun at ``sent_s`` is in the database."""
        self._sign_s = max(self._sign_s, sent_s)
        self._rival = False

    def refused(self) -> None:
        """Note that the database names another epoch."""
        self.lost = True

    def may_act(self, now_s: float) -> bool:
        """Whether it may steer: nobody else can have begun to."""
        return not self.lost and not self._rival and now_s - self._sign_s < self._fence_s
