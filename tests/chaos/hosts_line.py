"""One way of one host's line: when each frame comes out at the other end, once, twice or never. Of ``netem``'s kind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Impairment:
    """What is wrong with one way of a line; nothing by default.

    Chances are from 0 to 1, of each frame for itself. Delays differ evenly within ``delay_ms`` +- ``jitter_ms``, so
    frames overtake each other, as with ``netem``.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """The chance to be sent at once, before what waits."""
    rate_kbit: float = 0.0
    """Thousands of bits a second; 0: no limit."""

    def words(self):
        """Return the arguments of ``tc qdisc ... netem``."""
        said = []
        if self.delay_ms or self.jitter_ms:
            said += ["delay", f"{self.delay_ms}ms", f"{self.jitter_ms}ms"]
        for name in ("loss", "duplicate", "reorder"):
            chance = getattr(self, name)
            said += [name, f"{100 * chance}%"] if chance else []
        return said + (["rate", f"{self.rate_kbit}kbit"] if self.rate_kbit else [])


class Line:
    """Decides for each frame of one way.

    Args:
        random: A ``random.Random``.
    """

    def __init__(self, random):
        self._random, self._free_s = random, 0.0
        self.impairment, self.cut = Impairment(), False

    def due(self, now_s, size_bytes):
        """Return the moments at which a frame comes out."""
        wrong, chance = self.impairment, self._random.random
        if self.cut or (wrong.loss and chance() < wrong.loss):
            return []
        copies = 2 if wrong.duplicate and chance() < wrong.duplicate else 1
        return [self._one(now_s, size_bytes) for _ in range(copies)]

    def _one(self, now_s, size_bytes):
        wrong = self.impairment
        if wrong.rate_kbit:
            self._free_s = max(now_s, self._free_s) + size_bytes * 8 / (wrong.rate_kbit * 1000)
            now_s = self._free_s
        if wrong.reorder and self._random.random() < wrong.reorder:
            return now_s
        return now_s + max(0.0, wrong.delay_ms + self._random.uniform(-1, 1) * wrong.jitter_ms) / 1000
