"""The packaged table of cloud regions: where each stands, whose grid it draws from, and its PUE and WUE.

``packaging/cloud_regions.py`` made the table from the Green Software Foundation's metadata. Figures are those that the
cloud providers publish for a whole region and year; a figure that is not published is None, never a default.
"""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable


class UnknownPlaceError(ValueError):
    """There is no such region in the table; the text names the nearest."""


@dataclass(frozen=True, slots=True)
class Published:
    """A figure and the year it is of."""

    value: float
    year: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One region of one cloud provider."""

    provider: str
    """``aws``, ``azure``, ``gcp`` or ``oci``."""
    region: str
    """As the provider names it, e.g. ``eu-central-1``."""
    location: str
    country: str
    """ISO 3166-1 alpha-2."""
    annual: str
    """Row of the table of annual averages: its state or province where there is one, else its country."""
    electricity_maps_zone: str | None
    watttime_region: str | None
    pue: Published | None
    wue_l_per_kwh: Published | None
    """Litres of water for cooling in one kilowatt-hour of the machines."""
    year: int
    """Of the metadata that name its grid."""
    source: str
    licence: str


class Places:
    """Rows by provider and region."""

    def __init__(self, rows: Iterable[Place]) -> None:
        self._rows = {(row.provider, row.region): row for row in rows}

    @classmethod
    def packaged(cls) -> Self:
        """Read the table that comes with the collector."""
        path = resources.files("evenwatt_collector.carbon") / "data" / "cloud_regions.csv"
        with path.open(encoding="utf-8") as lines:
            return cls(_row(fields) for fields in csv.DictReader(lines))

    @property
    def all(self) -> list[Place]:
        """Every region, by provider and name."""
        return [self._rows[key] for key in sorted(self._rows)]

    def find(self, provider: str, region: str) -> Place:
        """Return a region.

        Raises:
            UnknownPlaceError: there is none; the text says which is near.
        """
        try:
            return self._rows[provider, region]
        except KeyError:
            known = [name for owner, name in self._rows if owner == provider]
        if not known:
            providers = ", ".join(sorted({owner for owner, _ in self._rows}))
            raise UnknownPlaceError(f"no cloud provider {provider!r} in the table; it has {providers}")
        near = difflib.get_close_matches(region, known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else "name its grid and pue yourself"
        raise UnknownPlaceError(f"no region {region!r} of {provider} in the table; {hint}")


def _row(fields: dict[str, str]) -> Place:
    return Place(
        provider=fields["provider"],
        region=fields["region"],
        location=fields["location"],
        country=fields["country"],
        annual=fields["annual"],
        electricity_maps_zone=fields["electricity_maps_zone"] or None,
        watttime_region=fields["watttime_region"] or None,
        pue=_published(fields["pue"], fields["pue_year"]),
        wue_l_per_kwh=_published(fields["wue_l_per_kwh"], fields["wue_year"]),
        year=int(fields["year"]),
        source=fields["source"],
        licence=fields["licence"],
    )


def _published(value: str, year: str) -> Published | None:
    return Published(float(value), int(year)) if value else None
