"""What was forecast and what came: the scores and residuals of one series, by block of the horizon. Pure.

A forecast is written down at its origin, a few targets of each block; when those have come, it is scored beside the
baselines, and its residuals join the window that intervals are made from. The candidate with the smallest error over
that window is the one that is used. All of it fits into a small JSON-able state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evenwatt_collector.carbon.forecast import intervals
from evenwatt_collector.carbon.forecast.history import DAY_S, HOUR_S

if TYPE_CHECKING:
    from evenwatt_collector.carbon.forecast.history import Floats, Ints, Past

CANDIDATES: Final = ("persistence", "seasonal", "profile", "linear")
"""What is compared: the last 24 h, the last 168 h, the usual day of four weeks, the model that learns. Until that one
is fitted the usual day stands in its column."""
PERSISTENCE, SEASONAL, PROFILE, LINEAR = range(len(CANDIDATES))
EVERY_S: Final = 6 * HOUR_S
"""An origin is written down so often: all hours of a day are seen, and the state stays small."""
WINDOW_S: Final = 60 * DAY_S
"""Errors older than that say nothing about now (two months: a season's manners; our choice)."""
BLOCK_ENDS_H: Final = (6, 24, 48, 72, 96, 168)
_CLEARLY: Final = 0.98
"""Another is taken when its error is below this share of the present one's: less is chance, and flapping."""
_TARGETS: Final = 3
"""Of a block, an origin."""
_PATIENCE_S: Final = 3 * DAY_S
"""How late a value may come and still be scored."""
_LEAST_SHARE: Final = 0.05
"""A relative error is taken of at least this share of the level: a value near 0 must not drown all others."""


@dataclass(slots=True, kw_only=True)
class Said:
    """One origin's forecast of one block, until its targets have come."""

    origin_s: int
    block: int
    targets_s: list[int]
    candidates: list[list[float]]
    """(target, candidate)."""
    median: list[float]
    """What was handed out."""
    low: list[float]
    """The 5 % quantile."""
    high: list[float]
    """The 95 % quantile."""
    size: list[float]
    """What residuals are divided by."""
    level: float


@dataclass(slots=True, kw_only=True)
class Book:
    """What is known of one block."""

    chosen: int = PERSISTENCE
    """The candidate that is used."""
    since_s: int | None = None
    """Unix time since when; None: nothing has been compared yet."""
    width: float = 0.0
    """Natural logarithm of the factor on the residuals."""
    rows: list[list[float]] = field(default_factory=list)
    """One a scored target: its time, residual in units of the size, 1 if inside the interval, and the errors of what
    was handed out and of each candidate, relative to the value or the level."""

    def table(self) -> Floats:
        """Return the rows as an array, (target, column)."""
        return np.array(self.rows, dtype=np.float64).reshape(-1, _COLUMNS)


INSIDE: Final = 2
USED: Final = 3
FIRST: Final = 4
"""Columns of a row: whether inside the interval, the errors of what was used and of the first candidate."""
_COLUMNS: Final = FIRST + len(CANDIDATES)


def blocks(step_s: int, horizon: int) -> list[int]:
    """Return the last step of each block of a horizon."""
    ends = [hours * HOUR_S // step_s for hours in BLOCK_ENDS_H]
    return [end for end in ends if 0 < end < horizon] + [horizon]


class Ledger:
    """The books of one series."""

    def __init__(self, step_s: int, horizon: int, *, relative: bool) -> None:
        self.ends = blocks(step_s, horizon)
        self._step_s, self._relative = step_s, relative
        self.books = [Book() for _ in self.ends]
        self.waiting: list[Said] = []
        self.last_s: int | None = None
        """The origin that was written down last."""

    def due(self, origin_s: int) -> bool:
        """Whether an origin is to be written down."""
        return self.last_s is None or origin_s >= self.last_s + EVERY_S

    def sample(self, origin_s: int) -> list[Ints]:
        """Return, for each block, the horizons that are written down: spread, and shifting from origin to origin."""
        turn, out, start = origin_s // EVERY_S, [], 0
        for end in self.ends:
            width = end - start
            count = min(width, _TARGETS)
            shift = (turn * 7) % max(1, width // count)
            out.append(start + 1 + (np.arange(count) * width // count + shift) % width)
            start = end
        return [np.unique(h).astype(np.int64) for h in out]

    def note(self, said: list[Said]) -> None:
        """Write a forecast down."""
        self.waiting.extend(said)
        self.last_s = max(one.origin_s for one in said)

    def settle(self, past: Past, now_s: int) -> int:
        """Score all that has come; return how many targets."""
        left, scored = [], 0
        for one in self.waiting:
            actual = _looked_up(past, one.targets_s)
            over = now_s >= one.targets_s[-1] + self._step_s
            if not over or (np.isnan(actual).any() and now_s < one.targets_s[-1] + _PATIENCE_S):
                left.append(one)
                continue
            there = ~np.isnan(actual)
            if there.any():
                self._score(one, actual, there, now_s)
                scored += int(there.sum())
        self.waiting = left
        for book in self.books:
            while book.rows and book.rows[0][0] < now_s - WINDOW_S:
                book.rows.pop(0)
        return scored

    def ready(self) -> bool:
        """Whether every block has errors enough to make intervals from."""
        return all(len(book.rows) >= intervals.ENOUGH for book in self.books)

    def state(self) -> dict[str, Any]:
        """Return what a restart must not forget, JSON-able."""
        names = Said.__slots__
        return {
            "last_s": self.last_s,
            "books": [
                {"chosen": book.chosen, "since_s": book.since_s, "width": book.width, "rows": book.rows}
                for book in self.books
            ],
            "waiting": [{name: getattr(one, name) for name in names} for one in self.waiting],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state over.

        Raises:
            ValueError: it is not one of a ledger with these blocks and candidates.
        """
        try:
            books = [Book(**held) for held in state["books"]]
            waiting = [Said(**held) for held in state["waiting"]]
            sound = all(0 <= book.chosen < len(CANDIDATES) and np.isfinite(book.table()).all() for book in books)
            sound = sound and all(_sound(said, len(self.ends)) for said in waiting)
            last_s = state["last_s"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the state of a forecast: {error!r}") from None
        if len(books) != len(self.ends) or not sound:
            raise ValueError(f"a forecast's state with {len(books)} blocks, expected {len(self.ends)} sound ones")
        self.books, self.waiting, self.last_s = books, waiting, last_s

    def _score(self, one: Said, actual: Floats, there: Any, now_s: int) -> None:
        book = self.books[one.block]
        came, said = actual[there], np.array(one.candidates)[there]
        median, size = np.array(one.median)[there], np.array(one.size)[there]
        inside = (came >= np.array(one.low)[there]) & (came <= np.array(one.high)[there])
        unit = np.maximum(came, _LEAST_SHARE * one.level) if self._relative else np.full(len(came), one.level)
        rows = np.column_stack(
            (
                np.array(one.targets_s)[there],
                (came - median) / size,
                inside,
                np.abs(came - median) / unit,
                np.abs(came[:, None] - said) / unit[:, None],
            )
        )
        book.rows.extend([[int(row[0]), *(float(f"{x:.4g}") for x in row[1:])] for row in rows.tolist()])
        book.width = intervals.steer(book.width, 1.0 - float(inside.mean()))
        self._choose(book, now_s)

    def _choose(self, book: Book, now_s: int) -> None:
        """Use the candidate with the smallest error over the window; change for a clear advantage alone."""
        if len(book.rows) < intervals.ENOUGH:
            return
        errors = book.table()[:, FIRST:].mean(axis=0)
        best = int(errors.argmin())
        if book.since_s is None or errors[best] < _CLEARLY * errors[book.chosen]:
            book.since_s = now_s if best != book.chosen or book.since_s is None else book.since_s
            book.chosen = best


def _sound(said: Said, blocks_there: int) -> bool:
    """Whether all of what was said has one value a target."""
    rows = (said.median, said.low, said.high, said.size)
    shape = np.array(said.candidates, dtype=np.float64).shape
    count = len(said.targets_s)
    return 0 <= said.block < blocks_there and shape == (count, len(CANDIDATES)) and all(len(r) == count for r in rows)


def _looked_up(past: Past, at_s: list[int]) -> Floats:
    index = (np.array(at_s) - past.start_s) // past.step_s
    inside = (index >= 0) & (index < len(past.known))
    return np.where(
        inside, past.known[np.clip(index, 0, max(0, len(past.known) - 1))] if len(past.known) else np.nan, np.nan
    )
