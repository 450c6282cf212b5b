"""A node as the control core trusts it to be, and a network that is not to be trusted. Virtual time."""

import heapq
import random
from dataclasses import dataclass, field
from itertools import count

from tests.control.named import Grant

EXPIRY_S = 2.0
RAMP_S = 5.0


@dataclass
class LeaseClock:
    """The node's side of a lease: newest grant only, ttl from receipt, then a ramp to the fallback."""

    name: str
    floor_w: float
    fallback_w: float
    mark: int = 0
    cap_w: float = 0.0
    rest_w: float = 0.0
    ends_s: float = -1e9

    def __post_init__(self):
        self.rest_w = self.cap_w = max(self.floor_w, self.fallback_w)

    def receive(self, grant: Grant, sent_s: float, now_s: float) -> float | None:
        """Return the cap read back, or None when the grant is refused."""
        if now_s > sent_s + EXPIRY_S or grant.seq <= self.mark:
            return None
        self.mark = grant.seq
        self.cap_w = max(self.floor_w, grant.cap_w)
        self.rest_w = max(self.floor_w, min(self.fallback_w, grant.fallback_w))
        self.ends_s = now_s + grant.ttl_s
        return self.cap_w

    def restart(self, now_s: float) -> None:
        """The agent dies and comes back: it remembers mark and fallback, and starts in the fallback."""
        self.cap_w = self.rest_w
        self.ends_s = now_s - RAMP_S

    def cap_at(self, now_s: float) -> float:
        done = min(1.0, max(0.0, (now_s - self.ends_s) / RAMP_S))
        return self.cap_w + (self.rest_w - self.cap_w) * done


@dataclass
class Network:
    """Loses, delays, doubles and so reorders."""

    rng: random.Random
    loss: float
    delay_s: tuple[float, float]
    double: float = 0.0
    _queue: list = field(default_factory=list)
    _ties: count = field(default_factory=count)

    def send(self, now_s: float, message: object) -> None:
        for _ in range(2 if self.rng.random() < self.double else 1):
            if self.rng.random() >= self.loss:
                at_s = now_s + self.rng.uniform(*self.delay_s)
                heapq.heappush(self._queue, (at_s, next(self._ties), message))

    def due(self, now_s: float):
        while self._queue and self._queue[0][0] <= now_s:
            at_s, _, message = heapq.heappop(self._queue)
            yield at_s, message
