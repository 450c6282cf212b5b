"""Looks at the certificates that lead to the broker before they end, and says so once a day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from evenwatt_daemon.broker import BrokerSettings

_LOOK_S: Final = 3_600.0
_TELL_S: Final = 86_400.0


class CertificateWatch:
    """What is wrong with the certificates of a connection, or soon will be."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._broker = broker
        self._due_s = float("-inf")
        self._told_s: dict[str, float] = {}
        self.troubles: list[str] = []
        """What the last look found; one sentence each."""

    def look(self, now_s: float, wall_s: float) -> list[str]:
        """Look, at most once an hour; return what is to be told now: what is new, and once a day what goes on.

        Args:
            now_s: Monotonic seconds.
            wall_s: Seconds since 1970.
        """
        if now_s < self._due_s or self._broker.ca_file is None:
            return []
        self._due_s = now_s + _LOOK_S
        self.troubles = self._broker.expiring(wall_s)
        files = {
            one.partition(" ")[0]: one for one in self.troubles
        }  # the days in a sentence change, its file does not
        tell = [one for file, one in files.items() if now_s - self._told_s.get(file, float("-inf")) >= _TELL_S]
        self._told_s = {file: now_s if one in tell else self._told_s[file] for file, one in files.items()}
        return tell
