"""Who is logged in on the page. Pure but for the random part of ids: time is an argument.

A session lives in this process only, known by the hash of its id: a restart or another collector asks for the token
again. It ends when nothing was asked for half an hour, after twelve hours in any case, and with a log-out.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from evenwatt_collector.http.tokens import Caller

IDLE_S: Final = 1_800.0
LONGEST_S: Final = 43_200.0
MOST: Final = 200
"""At once; the one not used for longest gives way."""


@dataclass(slots=True)
class Session:
    """One log-in."""

    caller: Caller
    proof: str
    """What every request that changes something has to repeat in a header, which another site cannot read."""
    began_s: float
    used_s: float

    def ends_s(self) -> float:
        """When it ends if nothing more is asked."""
        return min(self.began_s + LONGEST_S, self.used_s + IDLE_S)

    def proves(self, given: str) -> bool:
        """Whether a request comes from the page that has logged in."""
        return hmac.compare_digest(self.proof.encode(), given.encode("utf-8", "surrogateescape"))


class Sessions:
    """All log-ins."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, caller: Caller, now_s: float) -> tuple[str, Session]:
        """Return a new session and its id, which is told once and not kept."""
        for mark, session in list(self._open.items()):
            if now_s >= session.ends_s():
                del self._open[mark]
        while len(self._open) >= MOST:
            self._open.popitem(last=False)
        identity = secrets.token_urlsafe(32)
        session = Session(caller, secrets.token_urlsafe(32), now_s, now_s)
        self._open[_mark(identity)] = session
        return identity, session

    def find(self, identity: str, now_s: float, *, use: bool = True) -> Session | None:
        """Return a session that has not ended; ``use`` makes it live on."""
        mark = _mark(identity)
        session = self._open.get(mark)
        if session is None:
            return None
        if now_s >= session.ends_s():
            del self._open[mark]
            return None
        if use:
            session.used_s = now_s
            self._open.move_to_end(mark)
        return session

    def end(self, identity: str) -> None:
        """End a session."""
        self._open.pop(_mark(identity), None)


def _mark(identity: str) -> bytes:
    return hashlib.sha256(identity.encode("utf-8", "surrogateescape")).digest()
