"""How good the forecasts were: figures and a sentence. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.forecast.history import HOUR_S
from evenwatt_collector.carbon.forecast.ledger import BASELINES, BLEND, CANDIDATES, FIRST, USED

if TYPE_CHECKING:
    from evenwatt_collector.carbon.forecast.history import Floats
    from evenwatt_collector.carbon.forecast.ledger import Book, Ledger

_SINGLE: Final = 0.8
"""A weight from which a candidate may be called the one that speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockScore:
    """One block of the horizon, over the last 60 days."""

    block: str
    """Its hours, e.g. ``7-24 h``."""
    n: int
    """Targets that were scored; the figures below are NaN when there are none."""
    error: float
    """Mean absolute error of what was handed out: relative to the value (MAPE) or to the level (WAPE)."""
    persistence: float
    """The same of the last 24 h repeated."""
    seasonal: float
    """The same of the last 168 h repeated."""
    blend: float
    """The same of the blend, which is what was handed out unless a baseline was better."""
    coverage_90: float
    """Share of the targets within the interval from the 5 % to the 95 % quantile."""
    weights: dict[str, float]
    chosen: str
    """``blend`` or the baseline that is used alone."""
    since_s: int | None
    """Unix time since when."""

    @property
    def skill_persistence(self) -> float:
        """1 - error / error of persistence: above 0 is better."""
        return 1 - self.error / self.persistence if self.persistence else 0.0

    @property
    def skill_seasonal(self) -> float:
        """1 - error / error of the week before."""
        return 1 - self.error / self.seasonal if self.seasonal else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """All blocks."""

    measure: str
    """``MAPE`` or ``WAPE``."""
    blocks: tuple[BlockScore, ...]

    def sentence(self) -> str:
        """Return what is used, block by block, and how it compares."""
        if not any(block.n for block in self.blocks):
            return "no forecast has been scored yet: equal weights of all candidates"
        return "; ".join(_words(block, self.measure) for block in self.blocks)


def mape(actual: Floats, forecast: Floats) -> float:
    """Return the mean absolute percentage error, %; values that are unknown or 0 do not count.

    NaN where none counts.
    """
    there = np.isfinite(actual) & np.isfinite(forecast) & (actual > 0)
    return float(100 * np.mean(np.abs(forecast[there] - actual[there]) / actual[there])) if there.any() else np.nan


def wape(actual: Floats, forecast: Floats) -> float:
    """Return the sum of absolute errors over the sum of values, %; NaN where that is 0."""
    there = np.isfinite(actual) & np.isfinite(forecast)
    whole = float(np.abs(actual[there]).sum())
    return float(100 * np.abs(forecast[there] - actual[there]).sum() / whole) if whole else np.nan


def read(ledger: Ledger, step_s: int, *, relative: bool) -> Scores:
    """Read a ledger's scores."""
    starts = [0, *ledger.ends[:-1]]
    named = [
        _hours(start * step_s / HOUR_S, end * step_s / HOUR_S) for start, end in zip(starts, ledger.ends, strict=True)
    ]
    found = tuple(_block(name, book) for name, book in zip(named, ledger.books, strict=True))
    return Scores(measure="MAPE" if relative else "WAPE", blocks=found)


def _hours(start: float, end: float) -> str:
    return f"{start:g}-{end:g} h"


def _block(name: str, book: Book) -> BlockScore:
    table = book.table()
    mean = table.mean(axis=0) if len(table) else np.full(table.shape[1], np.nan)
    return BlockScore(
        block=name,
        n=len(table),
        error=float(mean[USED]),
        blend=float(mean[BLEND]),
        persistence=float(mean[FIRST]),
        seasonal=float(mean[FIRST + 1]),
        coverage_90=float(mean[2]),
        weights={who: round(weight, 4) for who, weight in zip(CANDIDATES, book.weights, strict=True)},
        chosen="blend" if book.lone < 0 else CANDIDATES[: BASELINES][book.lone],
        since_s=book.since_s,
    )


def _words(block: BlockScore, measure: str) -> str:
    if not block.n:
        return f"{block.block}: not scored yet"
    most = max(block.weights, key=lambda who: block.weights[who])
    used = block.chosen
    if used == "blend":
        used = f"blend, mostly {most}" if block.weights[most] < _SINGLE else f"{most}, by its weight in the blend"
    return (
        f"{block.block}: {used} ({measure} {100 * block.error:.1f} % against {100 * block.persistence:.1f} % of "
        f"persistence and {100 * block.seasonal:.1f} % of the week before)"
    )
