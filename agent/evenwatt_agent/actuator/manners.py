"""Bounds on what one connection can cost: time of the processor, and lines of the log. Pure: time is an argument."""

from __future__ import annotations


class Pace:
    """Bounds how many messages one connection may send, so that none of them takes all of a processor.

    An honest agent sends ten a second, and a few more when commands come.

    Args:
        most: Messages in one period.
        period_s: The period.
    """

    def __init__(self, most: int = 100, period_s: float = 0.5) -> None:
        self._most, self._period_s = most, period_s
        self._began_s = float("-inf")
        self._count = 0

    def wait_s(self, now_s: float) -> float:
        """Count one message; return how long to wait before the next one is read."""
        if now_s - self._began_s >= self._period_s:
            self._began_s, self._count = now_s, 0
        self._count += 1
        return 0.0 if self._count < self._most else max(0.0, self._began_s + self._period_s - now_s)


class Complaints:
    """Lets a complaint of one kind through once a minute, and counts the others."""

    def __init__(self, period_s: float = 60.0) -> None:
        self._period_s = period_s
        self._last: dict[str, tuple[float, int]] = {}

    def admit(self, kind: str, now_s: float) -> int | None:
        """Return how many were held back since the last one that was let through, or None to hold this one back.

        Args:
            kind: One of few fixed words; never something that came from outside.
            now_s: The present moment on the monotonic clock.
        """
        said_s, held_back = self._last.get(kind, (float("-inf"), 0))
        if now_s - said_s < self._period_s:
            self._last[kind] = (said_s, held_back + 1)
            return None
        self._last[kind] = (now_s, 0)
        return held_back
