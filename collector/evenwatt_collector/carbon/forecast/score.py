"""How good the forecasts were: figures and a sentence. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evenwatt_collector.carbon.forecast.history import HOUR_S
from evenwatt_collector.carbon.forecast.ledger import CANDIDATES, FIRST, INSIDE, SEASONAL, USED

if TYPE_CHECKING:
    from evenwatt_collector.carbon.forecast.history import Floats
    from evenwatt_collector.carbon.forecast.ledger import Book, Ledger


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
    candidates: dict[str, float]
    """The same of all that were compared, by name."""
    coverage_90: float
    """Share of the targets within the interval from the 5 % to the 95 % quantile."""
    chosen: str
    """The candidate that is used."""
    since_s: int | None
    """Unix time since when; None: it is not known yet which is better."""

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
            return "no forecast has been scored yet: which is better is not known"
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
    found = tuple(_block(name, book) for name, book in zip(names(ledger, step_s), ledger.books, strict=True))
    return Scores(measure="MAPE" if relative else "WAPE", blocks=found)


def names(ledger: Ledger, step_s: int) -> list[str]:
    """Return what each block is called: its hours."""
    starts = [0, *ledger.ends[:-1]]
    return [
        f"{start * step_s / HOUR_S:g}-{end * step_s / HOUR_S:g} h"
        for start, end in zip(starts, ledger.ends, strict=True)
    ]


def _block(name: str, book: Book) -> BlockScore:
    table = book.table()
    mean = table.mean(axis=0) if len(table) else np.full(table.shape[1], np.nan)
    return BlockScore(
        block=name,
        n=len(table),
        error=float(mean[USED]),
        persistence=float(mean[FIRST]),
        seasonal=float(mean[FIRST + SEASONAL]),
        coverage_90=float(mean[INSIDE]),
        candidates=dict(zip(CANDIDATES, mean[FIRST:].tolist(), strict=True)),
        chosen=CANDIDATES[book.chosen],
        since_s=book.since_s,
    )


def _words(block: BlockScore, measure: str) -> str:
    if not block.n:
        return f"{block.block}: not scored yet"
    return (
        f"{block.block}: {block.chosen} ({measure} {100 * block.error:.1f} % against "
        f"{100 * block.persistence:.1f} % of persistence and {100 * block.seasonal:.1f} % of the week before)"
    )
