"""Reads comma-separated tables; whatever is wrong with one becomes one error that names file, line and column."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A table with a header."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self, column: str) -> list[str]:
        """Return a column as it stands."""
        at = self.columns.index(column)
        return [row[at] for row in self.rows]

    def numbers(self, column: str, *, least: float = -math.inf) -> list[float]:
        """Return a column of numbers.

        Raises:
            Failure: a cell is not a finite number from ``least`` up.
        """
        at = self.columns.index(column)
        return [self._number(row[at], line, column, least) for line, row in enumerate(self.rows, start=2)]

    def _number(self, cell: str, line: int, column: str, least: float) -> float:
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number < least:
            wanted = "a number" if least == -math.inf else f"a number from {least:g} up"
            raise Failure(
                f"{self.path}, line {line}, column {column}: found {cell!r}, expected {wanted}; mend the line"
            )
        return number


def read_table(path: Path) -> CsvTable:
    """Read a file.

    Raises:
        Failure: it cannot be read, has no header and row, or a row is not as long as the header.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Failure(f"{path}: cannot be read as comma-separated text ({error}); give a CSV file") from None
    if len(lines) < 2:
        raise Failure(f"{path}: found {len(lines)} lines, expected a header and at least one row")
    columns = tuple(cell.strip() for cell in lines[0])
    if len(set(columns)) < len(columns):
        raise Failure(f"{path}, line 1: two columns have the same name; names must differ: {', '.join(columns)}")
    for line, row in enumerate(lines[1:], start=2):
        if len(row) != len(columns):
            raise Failure(f"{path}, line {line}: found {len(row)} cells, expected {len(columns)} as in the header")
    return CsvTable(path, columns, tuple(tuple(cell.strip() for cell in row) for row in lines[1:]))
