"""The packaged table of annual average grid intensities, g CO2e/kWh, each row with its year, source and licence.

An annual average says nothing about the hour. It is the figure of last resort, and says so wherever it is shown.
``packaging/annual_intensity.py`` made the table.
"""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Self

from evenwatt_collector.carbon.series import Basis

if TYPE_CHECKING:
    from collections.abc import Iterable


class UnknownGridError(ValueError):
    """There is no such row in the table."""


@dataclass(frozen=True, slots=True)
class GridRow:
    """One country, state or the world."""

    code: str
    """ISO 3166-1 alpha-2 (``DE``), ISO 3166-2 (``US-CA``) or ``WORLD``."""
    name: str
    intensity_g_per_kwh: float
    year: int
    source: str
    licence: str


class IntensityTable:
    """Rows by code."""

    def __init__(self, rows: Iterable[GridRow]) -> None:
        self._rows = {row.code: row for row in rows}

    @classmethod
    def packaged(cls) -> Self:
        """Read the table that comes with the collector."""
        path = resources.files("evenwatt_collector.carbon") / "data" / "annual_intensity.csv"
        with path.open(encoding="utf-8") as lines:
            return cls(_row(fields) for fields in csv.DictReader(lines))

    @property
    def codes(self) -> list[str]:
        """Every code, sorted."""
        return sorted(self._rows)

    def nearest(self, text: str) -> str | None:
        """Return the code that somebody who wrote ``text`` may have meant: by name, then by code."""
        names = {row.name.casefold(): row.code for row in self._rows.values()}
        near = difflib.get_close_matches(text.casefold(), names, n=1, cutoff=0.8)
        if near:
            return names[near[0]]
        return next(iter(difflib.get_close_matches(text.upper(), self.codes, n=1, cutoff=0.6)), None)

    def row(self, code: str) -> GridRow:
        """Return a row.

        Raises:
            UnknownGridError: there is none with this code.
        """
        try:
            return self._rows[code]
        except KeyError:
            raise UnknownGridError(f"no grid {code!r} in the table of annual intensities") from None


def annual_basis(row: GridRow) -> Basis:
    """Return which emissions a row counts; its source says so."""
    return Basis.DIRECT if "direct" in row.source else Basis.LIFECYCLE


def _row(fields: dict[str, str]) -> GridRow:
    return GridRow(
        code=fields["code"],
        name=fields["name"],
        intensity_g_per_kwh=float(fields["intensity_g_per_kwh"]),
        year=int(fields["year"]),
        source=fields["source"],
        licence=fields["licence"],
    )
