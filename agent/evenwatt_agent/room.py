"""Which ledger records are added up when the spool is full. Pure.

Oldest first, and no further than needed: first into records of up to an hour of minutes, then of up to a day, at last
into one record a boot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEPS: Final = (60, 1440, 2**62)
"""Records that one coarse record stands for at most, tried in this order."""


class Row(NamedTuple):
    """One record of the spool, without its payload."""

    row: int
    boot: str
    first: int
    """The first number it stands for."""
    seq: int


def runs(rows: Sequence[Row], excess: int) -> list[list[Row]]:
    """Return runs of records to be added up, so that ``excess`` fewer are left, or as many as can be.

    Args:
        rows: All records, the oldest first.
        excess: Records too many.

    Returns:
        Runs of at least two records of one boot that touch; empty if nothing can be added up.
    """
    for most in _STEPS:
        found = _runs(rows, excess, most)
        if found:
            return found
    return []


def _runs(rows: Sequence[Row], excess: int, most: int) -> list[list[Row]]:
    found: list[list[Row]] = []
    run: list[Row] = []
    for row in rows:
        if excess <= 0:
            break
        fits = run and run[-1].boot == row.boot and run[-1].seq + 1 == row.first and row.seq - run[0].first < most
        if not fits:
            run = [row]
            continue
        if len(run) == 1:
            found.append(run)
        run.append(row)
        excess -= 1
    return found
