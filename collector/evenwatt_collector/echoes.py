"""How often a collector answers probes: often enough for people, too seldom for a flood to matter."""

from __future__ import annotations

from typing import Final

_PER_S: Final = 20.0
_AT_ONCE: Final = 40.0


class Echoes:
    """A bucket of answers that fills again with time."""

    def __init__(self) -> None:
        self._left, self._seen_s = _AT_ONCE, float("-inf")

    def allow(self, now_s: float) -> bool:
        """Whether a probe that comes at ``now_s`` (monotonic seconds) is answered."""
        self._left = min(_AT_ONCE, self._left + (now_s - self._seen_s) * _PER_S)
        self._seen_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
