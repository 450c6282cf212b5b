"""How often a collector answers probes: often enough for people, too seldom for a flood to matter."""

from __future__ import annotations

from typing import Final

_APART_S: Final = 0.2
"""Between two answers to one asker: who floods keeps nobody else from an answer."""
_PER_S: Final = 200.0
_AT_ONCE: Final = 200.0
_ASKERS_KEPT: Final = 20_000


class Echoes:
    """A bucket of answers that fills again with time, and a pause for each asker."""

    def __init__(self) -> None:
        self._left, self._seen_s = _AT_ONCE, float("-inf")
        self._answered_s: dict[str, float] = {}

    def allow(self, asker: str, now_s: float) -> bool:
        """Whether a probe that comes at ``now_s`` (monotonic seconds) is answered.

        Args:
            asker: Its topic, which the broker lets nobody else use.
            now_s: When it comes.
        """
        self._left = min(_AT_ONCE, self._left + (now_s - self._seen_s) * _PER_S)
        self._seen_s = now_s
        if self._left < 1 or now_s - self._answered_s.get(asker, float("-inf")) < _APART_S:
            return False
        if len(self._answered_s) >= _ASKERS_KEPT:
            self._answered_s.clear()
        self._left -= 1
        self._answered_s[asker] = now_s
        return True
