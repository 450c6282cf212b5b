"""What is known of a series, and how a forecast of it is handed over. Pure; numpy.

A series is a row of steps of one length; a step is [start, start + step_s) in UTC, so summer time does not exist here.
What is not known is NaN. A step belongs to the past when it has ended: the one that runs is the first to be forecast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

DAY_S: Final = 86_400
HOUR_S: Final = 3_600
WEEK: Final = 7
"""Days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A series as far as it is known, g/kWh or W."""

    start_s: int
    """Unix time at which the first step begins."""
    step_s: int
    values: Floats
    """One a step; NaN where unknown. What is not finite or negative counts as unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is expected, in the unit of the history."""

    start_s: int
    """Unix time at which the first step begins: the step that holds the moment of the forecast."""
    step_s: int
    quantiles: tuple[float, ...]
    values: Floats
    """(quantile, step); 0 or more, ascending over ascending quantiles. NaN throughout where nothing was ever known."""
    model: str
    """Which model spoke, e.g. ``blend`` or ``persistence``."""
    why: str
    """Why that one: a sentence."""

    def at(self, quantile: float) -> Floats:
        """Return one quantile's row.

        Raises:
            ValueError: it was not asked for.
        """
        return np.asarray(self.values[self.quantiles.index(quantile)], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Past:
    """What of a history may be used at a moment, holes filled with what its own past suggests.

    Trailing steps of which nothing is known yet (a provider is late) are left out, a day of them at the most: a
    forecast then begins where knowledge ends and reaches further. A longer silence is filled up to a day before now.
    """

    start_s: int
    step_s: int
    known: Floats
    """One a step, NaN where unknown."""
    filled: Floats
    """The same without NaN."""
    now: int
    """Index of the step that holds the moment; ``len(known)`` or some more."""

    @classmethod
    def of(cls, history: History, now_s: int, keep_days: int) -> Past:
        """Take what had ended by ``now_s``, the last ``keep_days`` of it."""
        day = DAY_S // history.step_s
        now = (now_s - history.start_s) // history.step_s
        known = np.asarray(history.values[: max(0, now)], dtype=np.float64)
        first = max(0, now - keep_days * day)
        known = known[first:]
        known = np.where(np.isfinite(known) & (known >= 0), known, np.nan)
        there = np.flatnonzero(~np.isnan(known))
        if not len(there):
            return cls(history.start_s + now * history.step_s, history.step_s, known[:0], known[:0], 0)
        end = max(int(there[-1]) + 1, now - first - day)
        known = np.concatenate((known[:end], np.full(max(0, end - len(known)), np.nan)))[there[0] :]
        first += int(there[0])
        return cls(history.start_s + first * history.step_s, history.step_s, known, _filled(known, day), now - first)

    @property
    def day(self) -> int:
        """Steps of a day."""
        return DAY_S // self.step_s

    @property
    def known_days(self) -> float:
        """How much is known, in days."""
        return float(np.count_nonzero(~np.isnan(self.known))) / self.day

    def cut(self, end: int) -> Past:
        """Return what was known when step ``end`` began."""
        return Past(self.start_s, self.step_s, self.known[:end], self.filled[:end], end)


def _filled(known: Floats, day: int) -> Floats:
    """Fill each hole with the mean of the same time of the seven days before it; else with the value before it."""
    filled = known.copy()
    for i in np.flatnonzero(np.isnan(known)).tolist():
        same = filled[max(i % day, i - WEEK * day) : i : day]
        filled[i] = same.mean() if len(same) else filled[i - 1]
    return filled
