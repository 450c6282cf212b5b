"""How many wrong tokens are looked at: guessing is held up, a program with an old token is not. Pure: time is given.

Only tokens that are new here count: one that is sent again and again is no guess. An address that has tried too many in
a minute, or all addresses together far too many, get no further look until that minute is over.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

EACH: Final = 10
"""Different wrong tokens a minute from one address."""
ALL: Final = 300
"""... and from all of them."""
WINDOW_S: Final = 60.0
_ADDRESSES: Final = 1_000


class Attempts:
    """Wrong tokens of the latest minute."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, dict[bytes, float]] = OrderedDict()

    def wait_s(self, address: str, now_s: float) -> float:
        """Return for how long nothing from an address is looked at any more; 0 when it is."""
        self._forget(now_s)
        own = self._seen.get(address, {})
        everybody = [at_s for tries in self._seen.values() for at_s in tries.values()]
        waits = [
            sorted(tries)[-most] for tries, most in ((list(own.values()), EACH), (everybody, ALL)) if len(tries) >= most
        ]
        return max((at_s + WINDOW_S - now_s for at_s in waits), default=0.0)

    def wrong(self, address: str, token: str, now_s: float) -> bool:
        """Note a wrong token; return whether it was a new one."""
        tries = self._seen.setdefault(address, {})
        self._seen.move_to_end(address)
        if len(self._seen) > _ADDRESSES:
            self._seen.popitem(last=False)
        mark = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()[:8]
        new = mark not in tries
        tries.setdefault(mark, now_s)
        return new

    def _forget(self, now_s: float) -> None:
        for address, tries in list(self._seen.items()):
            for mark, at_s in list(tries.items()):
                if now_s - at_s >= WINDOW_S:
                    del tries[mark]
            if not tries:
                del self._seen[address]
