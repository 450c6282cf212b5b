"""Since when nodes can have been heard: silence counts only for who listens. Pure.

A collector that was away, whose broker was away, or whose clock has jumped cannot say that a run is silent, and taking
it for lost would start the work a second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_JUMP_S: Final = 2.0
"""Wall and monotonic clock drift apart by less than that between two looks."""


class Listening:
    """Of each zone, since when its nodes can have been heard without a break."""

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}
        self._ahead_s: float | None = None

    def look(self, wall_s: float, now_s: float, reachable: Callable[[str], bool]) -> Callable[[str], float]:
        """Return since when a zone can be heard, as Unix time; call it each second.

        Args:
            wall_s: Unix time.
            now_s: Monotonic.
            reachable: Whether a zone's nodes can be heard now.
        """
        ahead_s = wall_s - now_s
        if self._ahead_s is None or abs(ahead_s - self._ahead_s) > _JUMP_S:
            self._since_s.clear()
        self._ahead_s = ahead_s
        for zone in [zone for zone in self._since_s if not reachable(zone)]:
            del self._since_s[zone]

        def since_s(zone: str) -> float:
            return self._since_s.setdefault(zone, wall_s) if reachable(zone) else wall_s

        return since_s
