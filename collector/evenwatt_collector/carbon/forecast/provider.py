"""A provider's own forecasts, held against what was measured later, and beside ours. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.forecast.ledger import USED
from evenwatt_collector.carbon.forecast.score import names
from evenwatt_collector.carbon.series import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.carbon.forecast.forecaster import Forecaster
    from evenwatt_collector.carbon.forecast.history import Floats, History
    from evenwatt_collector.carbon.forecast.ledger import Ledger
    from evenwatt_collector.carbon.series import Reading

ENOUGH: Final = 40
"""Targets that both have forecast, below which nothing is said of who is better (our choice)."""
_LEAST_SHARE: Final = 0.05
"""A relative error is taken of at least this share of the mean, as our own are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderScore:
    """A source's forecasts over one block of the horizon, and ours of the same targets."""

    source: str
    block: str
    """Its hours, counted from when the source issued the forecast."""
    n: int
    """Targets that both have forecast; the errors are over these, NaN where there are none."""
    theirs: float
    """Mean absolute error relative to what was measured."""
    ours: float
    """The same of what we handed out."""
    better: str
    """The source, ``ours``, or ``unknown`` while there are too few."""

    def sentence(self) -> str:
        """Return who is used, and why."""
        if self.better == "unknown":
            return f"{self.block}: {self.n} forecasts of {self.source} can be compared with ours, {ENOUGH} are needed"
        used = self.better if self.better == self.source else "our own forecast"
        return (
            f"{self.block}: {used} (MAPE {100 * self.theirs:.1f} % of {self.source} against {100 * self.ours:.1f} % "
            f"of ours, over {self.n} values)"
        )


def check_provider(readings: Iterable[Reading], history: History, forecaster: Forecaster) -> tuple[ProviderScore, ...]:
    """Score every source that forecasts, block by block; blocks of which it says nothing are left out.

    Args:
        readings: Of one grid and kind. Those that stand as forecasts and were issued before the time they speak of
            count; several issues of one target and block count with their mean error.
        history: What was measured. A shorter reading is held against the mean of the step it lies in, together with
            others of its issue; a longer one against the mean of the steps it covers.
        forecaster: Ours of the same series; what it has scored in its last 60 days is compared.
    """
    ledger, step_s = forecaster.ledger, history.step_s
    said: dict[tuple[str, int, int], dict[int, list[tuple[int, float]]]] = {}
    for reading in readings:
        ahead = -(-(reading.end_s - reading.issued_s) // step_s)
        block = int(np.searchsorted(np.array(ledger.ends), ahead))
        if reading.standing is not Standing.FORECAST or reading.issued_s >= reading.end_s or block >= len(ledger.ends):
            continue
        target_s = reading.start_s - (reading.start_s - history.start_s) % step_s
        issues = said.setdefault((reading.source, block, target_s), {})
        issues.setdefault(reading.issued_s, []).append((reading.end_s, reading.g_per_kwh))
    scored = {key: _error(history, key[2], issues) for key, issues in said.items()}
    pairs = sorted({(source, block) for source, block, _ in scored})
    return tuple(_compare(ledger, source, block, step_s, scored) for source, block in pairs)


def _error(history: History, target_s: int, issues: dict[int, list[tuple[int, float]]]) -> float:
    """Return the mean relative error of what was said of a step or some; NaN where any of it is unknown."""
    errors = []
    for issue in issues.values():
        end_s = max(end for end, _ in issue)
        first = (target_s - history.start_s) // history.step_s
        last = -(-(end_s - history.start_s) // history.step_s)
        inside = first >= 0 and last <= len(history.values)
        came = float(np.mean(history.values[first:last])) if inside else np.nan
        unit = max(came, _LEAST_SHARE * float(np.nanmean(history.values))) if np.isfinite(came) else np.nan
        errors.append(abs(float(np.mean([value for _, value in issue])) - came) / unit if unit else np.nan)
    return float(np.mean(errors))


def _compare(
    ledger: Ledger, source: str, block: int, step_s: int, scored: dict[tuple[str, int, int], float]
) -> ProviderScore:
    own = _ours(ledger.books[block].table())
    both = [
        (error, own[target_s])
        for (who, where, target_s), error in scored.items()
        if who == source and where == block and target_s in own and np.isfinite(error)
    ]
    theirs, ours = np.array(both).mean(axis=0).tolist() if both else (np.nan, np.nan)
    better = "unknown" if len(both) < ENOUGH else source if theirs < ours else "ours"
    return ProviderScore(
        source=source,
        block=names(ledger, step_s)[block],
        n=len(both),
        theirs=theirs,
        ours=ours,
        better=better,
    )


def _ours(table: Floats) -> dict[int, float]:
    """Return our error by target; of several forecasts of one target their mean."""
    from_target: dict[int, list[float]] = {}
    for row in table.tolist():
        from_target.setdefault(int(row[0]), []).append(row[USED])
    return {target_s: float(np.mean(errors)) for target_s, errors in from_target.items()}
