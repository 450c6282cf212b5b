"""Power of a node that no knob reaches: memory, fans, boards. Pure; time is counted in bins of 100 ms.

A cap on the node leaves to the knobs what this leaves, so it is set aside before they share: the highest of the last
ten seconds. What the node can hold at all follows the highest that lasted, of the last ten minutes: a floor that did
not know of it would be promised and never held.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_PEAK_BINS: Final = 100
_LASTS_BINS: Final = 3
"""A bin or two may be the grain of a meter, or two meters that were not read at the same moment."""
_BLOCK_BINS: Final = 600
_BLOCKS: Final = 10


class Fixed:
    """What is set aside, and what to count on."""

    def __init__(self) -> None:
        self._peaks_w: deque[float] = deque(maxlen=_PEAK_BINS)
        self._latest_w: deque[float] = deque(maxlen=_LASTS_BINS)
        self._blocks_w: deque[float] = deque([0.0], maxlen=_BLOCKS)
        self._bins = 0

    @property
    def peak_w(self) -> float:
        """Highest bin of the last ten seconds; 0 before the first."""
        return max(self._peaks_w, default=0.0)

    @property
    def lasting_w(self) -> float:
        """Highest power that lasted for three bins, of the last nine to ten minutes."""
        return max(self._blocks_w)

    def take(self, power_w: float) -> None:
        """Take one bin; what is below zero is grain of the meters and counts as nothing."""
        self._peaks_w.append(max(0.0, power_w))
        self._latest_w.append(max(0.0, power_w))
        self._bins += 1
        if self._bins % _BLOCK_BINS == 0:
            self._blocks_w.append(0.0)
        if len(self._latest_w) == _LASTS_BINS:
            self._blocks_w[-1] = max(self._blocks_w[-1], min(self._latest_w))
