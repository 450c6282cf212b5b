"""What comes again and again without changing anything is counted, and entered as one sum. Pure: time is an argument.

A cap is renewed every two seconds. The first one of a stream is an entry; those that say the same are counted, and
their sum is an entry when it is a minute old or when the stream says something else. So an unchanging fleet costs a
log one entry a stream and period, and every change is there by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

    from evenwatt_daemon.audit import Facts

PERIOD_S: Final = 60.0
MOST_STREAMS: Final = 256
"""Streams followed at once; the one that has been silent longest makes room."""


@dataclass(slots=True)
class _Stream:
    facts: Facts
    opened_s: float
    """When the first one that is only counted came."""
    count: int = 0
    first: tuple[int, int] = (0, 0)
    last: tuple[int, int] = (0, 0)
    """Number and wall time of those that are counted."""
    latest: Facts = field(default_factory=dict)


class Sums:
    """The streams of one log.

    Args:
        period_s: How old a sum gets before it is entered.
        most: How many streams are followed at once.
    """

    def __init__(self, period_s: float = PERIOD_S, most: int = MOST_STREAMS) -> None:
        self._period_s, self._most = period_s, most
        self._streams: dict[Hashable, _Stream] = {}

    def take(
        self, stream: Hashable, facts: Facts, seq: int, at_ms: int, now_s: float, latest: Facts | None = None
    ) -> tuple[bool, list[Facts]]:
        """Take one more of a stream.

        Args:
            stream: What it is one more of.
            facts: What makes it the same as the one before.
            seq: Its number.
            at_ms: Its wall time.
            now_s: Monotonic time.
            latest: What may be another each time; a sum tells the last one.

        Returns:
            Whether it is to be entered by itself, and the sums to enter before that.
        """
        if self.repeats(stream, facts, seq, at_ms, now_s, latest):
            return False, []  # what is due is asked for seldom: there may be thousands of streams
        known = self._streams.pop(stream, None)
        sums = [_sum(known)] if known is not None and known.count else []
        while len(self._streams) >= self._most:
            oldest = self._streams.pop(next(iter(self._streams)))
            sums += [_sum(oldest)] if oldest.count else []
        self._streams[stream] = _Stream(facts, now_s)
        return True, sums

    def repeats(
        self, stream: Hashable, facts: Facts, seq: int, at_ms: int, now_s: float, latest: Facts | None = None
    ) -> bool:
        """Count one more of a stream if it is the same as the one before; for who would rather make no entry of it."""
        known = self._streams.get(stream)
        if known is None or known.facts != facts:
            return False
        self._streams[stream] = self._streams.pop(stream)  # the latest heard stands last
        if not known.count:
            known.first, known.opened_s = (seq, at_ms), now_s
        known.count += 1
        known.last, known.latest = (seq, at_ms), latest or {}
        return True

    def end(self, stream: Hashable) -> list[Facts]:
        """End a stream: what comes next of it is a change. Return its sum, if there is one."""
        known = self._streams.pop(stream, None)
        return [_sum(known)] if known is not None and known.count else []

    def due(self, now_s: float) -> list[Facts]:
        """Return the sums that are old enough to be entered now."""
        old = [s for s in self._streams.values() if s.count and now_s - s.opened_s >= self._period_s]
        return [self._close(stream) for stream in old]

    def flush(self) -> list[Facts]:
        """Return every sum there is: the log is about to end."""
        return [self._close(stream) for stream in self._streams.values() if stream.count]

    def _close(self, stream: _Stream) -> Facts:
        facts, stream.count = _sum(stream), 0
        return facts


def _sum(stream: _Stream) -> Facts:
    return {
        **stream.facts,
        "count": stream.count,
        "first_seq": stream.first[0],
        "last_seq": stream.last[0],
        "first_ms": stream.first[1],
        "last_ms": stream.last[1],
        **stream.latest,
    }
