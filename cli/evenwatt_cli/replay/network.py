"""A network under virtual time: it delays, loses, doubles, and so reorders. Messages are arrays, a row a node."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evenwatt_collector.control.arrays import Bools


class Message(Protocol):
    """Arrays with a row for every node that it is from or for."""

    def part(self, rows: Bools) -> Self:
        """Return some of the rows."""


T = TypeVar("T", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How bad a network is."""

    delay_s: tuple[float, float] = (0.005, 0.06)
    """Uniform between these (our choice: a broker in the same building to one in the next town)."""
    loss: float = 0.001
    double: float = 0.0


class Pipe(Generic[T]):
    """One direction of the network, on the grid of the simulation's steps.

    Args:
        conditions: How bad it is.
        dt_s: The grid.
        seed: Of its dice.
    """

    def __init__(self, conditions: Conditions, dt_s: float, seed: list[int]) -> None:
        self._conditions, self._dt_s = conditions, dt_s
        self._rng = np.random.default_rng(seed)
        self._coming: dict[int, list[T]] = defaultdict(list)
        self.up = True
        """False while the broker is away: what is sent is lost."""

    def send(self, k: int, message: T, rows: int) -> None:
        """Send a message of ``rows`` rows at step ``k``; each row has its own fate."""
        if not rows or not self.up:
            return
        copies = 1 + (self._conditions.double > 0)
        for copy in range(copies):
            kept = self._rng.random(rows) >= self._conditions.loss
            if copy:
                kept &= self._rng.random(rows) < self._conditions.double
            late = np.ceil(self._rng.uniform(*self._conditions.delay_s, rows) / self._dt_s).astype(np.int64)
            for steps in np.unique(late[kept]):
                self._coming[k + max(1, int(steps))].append(message.part(kept & (late == steps)))

    def arrived(self, k: int) -> Iterator[T]:
        """Return what arrives at step ``k``."""
        messages = self._coming.pop(k, [])
        return iter(messages) if self.up else iter(())
