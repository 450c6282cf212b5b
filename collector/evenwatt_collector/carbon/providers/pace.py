"""How often a provider may be asked: its documented limit as a token bucket, and waiting after failures. Pure.

Shared by all that ask the same service with the same account. Time is Unix time and an argument; a clock set back never
makes anybody wait longer than the bound.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.providers.contract import ProviderError, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_WAIT_S: Final = 30.0
LONGEST_WAIT_S: Final = 3600.0
LONGEST_ASKED_S: Final = 6 * 3600.0
"""A server may ask for more patience than we would have; not for more than this."""


@dataclass(frozen=True, slots=True)
class Limit:
    """``burst`` requests at once, ``per_s`` a second in the long run."""

    burst: float
    per_s: float


class Pace:
    """Says whether a request may go out now.

    States: *open* -> (failure n) -> *waiting* for min(30 s x 2^n, 3600 s), anywhere in the upper half of it so that a
    fleet of collectors does not return at once, or as long as ``Retry-After`` says -> *open*; a success resets n.
    """

    def __init__(self, limit: Limit, jitter: Callable[[], float] = random.random) -> None:
        """Args: the limit; a source of numbers in [0, 1)."""
        self._limit = limit
        self._jitter = jitter
        self._tokens = limit.burst
        self._filled_s: float | None = None
        self._failures = 0
        self._until_s = 0.0
        self._last: ProviderError | None = None

    def admit(self, now_s: float) -> None:
        """Take a token.

        Raises:
            ProviderError: it must wait; the text says why and how long.
        """
        wait_s = self._until_s - now_s
        if self._last is not None and 0 < wait_s <= LONGEST_ASKED_S:
            again = f"{self._last}; asked again in {wait_s:.0f} s"
            raise ProviderError(self._last.kind, again, retry_s=wait_s)
        filled_s = now_s if self._filled_s is None else self._filled_s
        self._tokens = min(self._limit.burst, self._tokens + max(0.0, now_s - filled_s) * self._limit.per_s)
        self._filled_s = now_s
        if self._tokens < 1:
            retry_s = (1 - self._tokens) / self._limit.per_s
            raise ProviderError(
                Trouble.LIMITED,
                f"our own count of its limit ({self._limit.burst:g} at once, {self._limit.per_s * 3600:g} an hour) is "
                f"used up; asked again in {retry_s:.0f} s",
                retry_s=retry_s,
            )
        self._tokens -= 1

    def failed(self, error: ProviderError, now_s: float, asked_s: float | None) -> ProviderError:
        """Wait after a failure that time may heal; return the error with its waiting time.

        Args:
            error: What went wrong.
            now_s: Unix time.
            asked_s: What ``Retry-After`` said, in seconds.
        """
        bound_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._failures, 10))
        wait_s = bound_s * (0.5 + 0.5 * self._jitter()) if asked_s is None else min(max(1.0, asked_s), LONGEST_ASKED_S)
        self._failures += 1
        self._until_s = now_s + wait_s
        self._last = error
        return ProviderError(error.kind, str(error), retry_s=wait_s, status=error.status, body=error.body)

    def went_well(self) -> None:
        """Forget failures."""
        self._failures = 0
        self._last = None


def retry_after_s(header: str | None, now_s: float) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3: seconds or a date); None: none."""
    if header is None:
        return None
    try:
        return min(LONGEST_ASKED_S, max(0.0, float(header)))
    except ValueError:
        pass
    try:
        return min(LONGEST_ASKED_S, max(0.0, parsedate_to_datetime(header).timestamp() - now_s))
    except (ValueError, OverflowError):
        return None
