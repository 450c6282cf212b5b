"""One series' forecasts: fitted on a schedule, handed out at any moment, scored as the truth comes in. Pure.

Of four candidates (the last 24 h again, the last 168 h again, the usual day, and a linear model that learns), the one
with the smallest error over the last 60 days is used, block by block of the horizon. Intervals come from
the errors that were made, see :mod:`~evenwatt_collector.carbon.forecast.intervals`. At ``now_s`` nothing is looked at
but steps that had ended by then.

``fit`` takes a second or a few and may run in a thread of its own, beside ``predict``; all other calls belong to one
thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evenwatt_collector.carbon.forecast import intervals, linear
from evenwatt_collector.carbon.forecast.features import MONTH, REACH_DAYS, Lags
from evenwatt_collector.carbon.forecast.history import DAY_S, HOUR_S, Forecast, History, Past
from evenwatt_collector.carbon.forecast.ledger import CANDIDATES, EVERY_S, LINEAR, PERSISTENCE, Ledger, Said
from evenwatt_collector.carbon.forecast.score import Scores, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.carbon.forecast.history import Floats, Ints
    from evenwatt_collector.carbon.forecast.linear import Linear

QUANTILES: Final = (0.05, 0.5, 0.95)
REFIT_S: Final = 7 * DAY_S
MEAN_BELOW_DAYS: Final = 2
"""With less than that there is no day to repeat."""
PERSIST_BELOW_DAYS: Final = 15
"""With less than that there are no two weeks to compare."""
LEARN_FROM_DAYS: Final = 28
KEEP_DAYS: Final = 3 * 366
_KEEP_STEPS: Final = 30_000
"""What is learned from: three years of hours, or three months of five minutes."""
_TRIED: Final = (0.1, 1.0, 10.0, 50.0)
"""Strengths of shrinkage that the first fit tries, in days."""
_HELD_OUT_DAYS: Final = 60
_HELD_OUT_SHARE: Final = 1 / 3
_EDGES: Final = (0.05, 0.95)


@dataclass(frozen=True, slots=True)
class _Spoken:
    """What was worked out for some horizons of one origin, one row a horizon."""

    candidates: Floats
    median: Floats
    size: Floats
    block: Ints


class Forecaster:
    """Forecasts of one series, e.g. a grid's intensity or a zone's power.

    Args:
        step_s: Of the history and the forecast; divides a day.
        horizon_s: How far a forecast reaches; at most a week.
        relative: Whether an error counts relative to the value (MAPE; for intensities) or to the level of the week
            (WAPE; for power, which may be near 0).

    Raises:
        ValueError: a length that cannot be.
    """

    def __init__(self, step_s: int, horizon_s: int, *, relative: bool = True) -> None:
        if step_s < 1 or DAY_S % step_s or step_s > HOUR_S:
            raise ValueError(f"a step of {step_s} s, expected one that divides a day, an hour at the most")
        if not step_s <= horizon_s <= 7 * DAY_S:
            raise ValueError(f"a horizon of {horizon_s} s, expected one of a step to a week")
        self._step_s, self._relative = step_s, relative
        self._horizon = -(-horizon_s // step_s)
        self._reach = self._horizon + DAY_S // step_s  # a day more: knowledge may end a day before now
        self._keep_days = max(REACH_DAYS, min(KEEP_DAYS, _KEEP_STEPS * step_s // DAY_S))
        self._model: Linear | None = None
        self._shrink: float | None = None
        self._fitted_s: int | None = None
        self._ledger = Ledger(step_s, self._horizon, relative=relative)

    def refit_due(self, now_s: int) -> bool:
        """Whether ``fit`` should be called: never done, or a week ago."""
        return self._fitted_s is None or now_s >= self._fitted_s + REFIT_S

    def fit(self, history: History, now_s: int) -> None:
        """Learn from what had ended by ``now_s``.

        The first time, or after so long a pause that errors are too few to judge by, the last third of the history (60
        days at the most) is held out first: models that know only what was before it forecast it, which chooses the
        shrinkage, the candidates and the first intervals.

        Raises:
            ValueError: the history's step is another.
        """
        self._check(history)
        past = Past.of(history, now_s, self._keep_days)
        if past.known_days >= PERSIST_BELOW_DAYS / 3 and (self._shrink is None or not self._ledger.ready()):
            self._rehearse(past)
        if past.known_days >= LEARN_FROM_DAYS:
            shrink = _TRIED[1] if self._shrink is None else self._shrink
            self._model = linear.fit(past, self._reach, shrink, relative=self._relative)
        self._fitted_s = now_s

    def predict(self, history: History, now_s: int, quantiles: Sequence[float] = QUANTILES) -> Forecast:
        """Return what is expected from the running step on; light.

        A forecast every six hours is written down, to be scored by :meth:`observe`.

        Raises:
            ValueError: the history's step is another, or a quantile is not between 0 and 1, or they do not ascend.
        """
        self._check(history)
        wanted = tuple(quantiles)
        if not all(0 < q < 1 for q in wanted) or any(a >= b for a, b in pairwise(wanted)):
            raise ValueError(f"quantiles {wanted}, expected some between 0 and 1, ascending")
        past = Past.of(history, now_s, REACH_DAYS)
        start_s = now_s - (now_s - history.start_s) % self._step_s
        if not len(past.known):
            nothing = np.full((len(wanted), self._horizon), np.nan)
            return self._forecast(start_s, wanted, nothing, "none", "nothing is known of this series yet")
        h = np.arange(1, self._horizon + 1, dtype=np.int64)
        lags, model = Lags(past), self._model
        spoken = self._speak(past, lags, h, self._ledger, model)
        values = self._quantiles(past, spoken, wanted, self._ledger)
        if self._ledger.due(start_s) and past.known_days >= MEAN_BELOW_DAYS:
            self._write_down(past, lags, start_s, self._ledger, model)
        name, why = self._words(past, start_s)
        return self._forecast(start_s, wanted, values, name, why)

    def observe(self, history: History, now_s: int) -> int:
        """Score earlier forecasts of what has come since; return how many targets.

        Raises:
            ValueError: the history's step is another.
        """
        self._check(history)
        return self._ledger.settle(Past.of(history, now_s, REACH_DAYS), now_s)

    def scores(self) -> Scores:
        """Return how good the forecasts of the last 60 days were, by block of the horizon."""
        return read(self._ledger, self._step_s, relative=self._relative)

    @property
    def ledger(self) -> Ledger:
        """What was forecast and what came; to be read only."""
        return self._ledger

    def state(self) -> dict[str, Any]:
        """Return what a restart must not forget (scores, weights, residuals), JSON-able; the model is fitted anew."""
        return {"step_s": self._step_s, "shrink": self._shrink, **self._ledger.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state` gave.

        Raises:
            ValueError: it is not the state of a series with this step and horizon.
        """
        if state.get("step_s") != self._step_s:
            raise ValueError(f"a forecast's state with steps of {state.get('step_s')} s, expected {self._step_s}")
        self._ledger.restore(state)
        self._shrink = state.get("shrink") if state.get("shrink") in _TRIED else None

    def _forecast(self, start_s: int, quantiles: tuple[float, ...], values: Floats, model: str, why: str) -> Forecast:
        return Forecast(start_s=start_s, step_s=self._step_s, quantiles=quantiles, values=values, model=model, why=why)

    def _check(self, history: History) -> None:
        if history.step_s != self._step_s:
            raise ValueError(f"a history with steps of {history.step_s} s, expected {self._step_s}")

    def _rehearse(self, past: Past) -> None:
        """Forecast the end of the past from what was before it; take the shrinkage and the ledger of the best."""
        days = min(_HELD_OUT_DAYS, len(past.known) / past.day * _HELD_OUT_SHARE)
        first = len(past.known) - int(days * past.day)
        models: list[tuple[float | None, Linear | None]] = [(None, None)]
        if past.known_days >= LEARN_FROM_DAYS:
            before = past.cut(first)
            models = [(x, linear.fit(before, self._reach, x, relative=self._relative)) for x in _TRIED]
        lags = Lags(past)
        tried = [(self._held_out_error(past, lags, first, model), shrink, model) for shrink, model in models]
        _, self._shrink, model = min(tried, key=lambda one: one[0])
        ledger = Ledger(self._step_s, self._horizon, relative=self._relative)
        for o in self._origins(past, first):
            now_s = past.start_s + o * self._step_s
            ledger.settle(past.cut(o), now_s)
            self._write_down(past.cut(o), lags, now_s, ledger, model)
        ledger.settle(past, past.start_s + len(past.known) * self._step_s)
        self._ledger = ledger

    def _origins(self, past: Past, first: int) -> range:
        return range(first, len(past.known), EVERY_S // self._step_s)

    def _held_out_error(self, past: Past, lags: Lags, first: int, model: Linear | None) -> float:
        if model is None:
            return np.inf
        errors = []
        for o in self._origins(past, first):
            h = np.arange(1, min(self._horizon, len(past.known) - o) + 1, max(1, past.day // 24), dtype=np.int64)
            came = past.known[o + h - 1]
            at = np.full(len(h), o, dtype=np.int64)
            level = float(lags.level(at[:1])[0])
            unit = np.maximum(came, 0.05 * level) if self._relative else level
            errors.append(np.abs(model.predict(lags, at, h) - came) / unit)
        return float(np.nanmean(np.concatenate(errors)))

    def _speak(self, past: Past, lags: Lags, h: Ints, ledger: Ledger, model: Linear | None) -> _Spoken:
        """Work out the median of some horizons, counted from the moment."""
        end = len(past.known)
        o, late = np.full(len(h), end, dtype=np.int64), past.now - end
        far = h + late
        block = np.searchsorted(np.array(ledger.ends), h)
        usual = lags.profile(o, far, MONTH)
        learned = usual if model is None else model.predict(lags, o, far)
        candidates = np.column_stack((lags.persistence(o, far), lags.seasonal(o, far), usual, learned))
        if past.known_days < MEAN_BELOW_DAYS:
            used = np.full(len(h), float(np.nanmean(past.known)))
        elif past.known_days < PERSIST_BELOW_DAYS:
            used = candidates[:, 0]
        else:
            unsure = PERSISTENCE if model is None else LINEAR
            chosen = [unsure if book.since_s is None else book.chosen for book in ledger.books]
            used = candidates[np.arange(len(h)), np.array(chosen)[block]]
        size = np.full(len(h), lags.usual_spread(end)) if model is None else model.size(lags, o, far)
        return _Spoken(candidates, used, size, block)

    def _quantiles(self, past: Past, spoken: _Spoken, wanted: Sequence[float], ledger: Ledger) -> Floats:
        """Return (quantile, horizon)."""
        values = np.empty((len(wanted), len(spoken.median)))
        for number, book in enumerate(ledger.books):
            own = spoken.block == number
            if len(book.rows) >= intervals.ENOUGH:
                residuals = np.array([row[1] for row in book.rows])
                days = len({row[0] // DAY_S for row in book.rows})
                away = intervals.offsets(residuals, book.width, wanted, days)
                off = away[:, None] * spoken.size[own]
            else:
                differences = _differences(past)
                off = intervals.offsets(differences, 0.0, wanted)[:, None] * np.ones(int(own.sum()))
            values[:, own] = spoken.median[own] + off
        return np.maximum(values, 0.0)

    def _write_down(self, past: Past, lags: Lags, start_s: int, ledger: Ledger, model: Linear | None) -> None:
        said = []
        for number, h in enumerate(ledger.sample(start_s)):
            spoken = self._speak(past, lags, h, ledger, model)
            edges = self._quantiles(past, spoken, _EDGES, ledger)
            said.append(
                Said(
                    origin_s=start_s,
                    block=number,
                    targets_s=(start_s + (h - 1) * self._step_s).tolist(),
                    candidates=_short(spoken.candidates),
                    median=_short(spoken.median),
                    low=_short(edges[0]),
                    high=_short(edges[1]),
                    size=_short(spoken.size),
                    level=float(lags.level(np.array([len(past.known)]))[0]),
                )
            )
        ledger.note(said)

    def _words(self, past: Past, now_s: int) -> tuple[str, str]:
        """Return which model speaks, and why."""
        days = past.known_days
        if days < MEAN_BELOW_DAYS:
            return "mean", f"only {days:.1f} days are known, which is no day to repeat: the mean of what is known"
        if days < PERSIST_BELOW_DAYS:
            return "persistence", f"only {days:.0f} days are known, too few to weigh models by: the last 24 h again"
        model = self._model
        learned = (
            f"a linear model fitted on {model.days:.0f} days up to {(now_s - model.fitted_to) / DAY_S:.1f} days ago"
            if model
            else "no model that learns yet, which takes 28 days and a fit"
        )
        late = (past.now - len(past.known)) * self._step_s
        tail = f"; the last {late / HOUR_S:g} h are not known yet" if late else ""
        used = {CANDIDATES[book.chosen] for book in self._ledger.books if book.since_s is not None}
        name = " and ".join(sorted(used)) or ("linear" if model else "persistence")
        return name, f"{self.scores().sentence()}; {learned}{tail}"


def _differences(past: Past) -> Floats:
    """Return by how much values differed from those of a day before; from their mean where no day is whole."""
    known, day = past.known, past.day
    gaps = known[day:] - known[:-day] if len(known) > day else known[:0]
    gaps = gaps[~np.isnan(gaps)]
    return gaps if len(gaps) >= intervals.ENOUGH else known[~np.isnan(known)] - np.nanmean(known)


def _short(values: Floats) -> Any:
    """Return a list, to six digits: it is written down and kept."""
    return np.vectorize(lambda x: float(f"{x:.6g}"), otypes=[np.float64])(values).tolist()
