"""The settings of grids and their sources: ``[[grids]]`` with ``[[grids.sources]]`` in the collector's file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct, field

from evenwatt_collector.carbon.annual import UnknownGridError
from evenwatt_collector.carbon.series import Basis, Kind
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from evenwatt_collector.carbon.annual import GridRow, IntensityTable

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(?!\n)$")]
Url = Annotated[str, Meta(pattern=r"^https?://[^\s?#]+(?!\n)$")]
Given = Annotated[str, Meta(min_length=1, max_length=200)]


class ElectricityMapsSource(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="electricity-maps"):
    """Electricity Maps; average, measured or estimated, with forecasts where the plan has them."""

    name: Name = "electricity-maps"
    """What readings of this source say; two of one type need names of their own."""
    zone: Given
    """Its zone, such as ``DE`` or ``US-CAL-CISO``."""
    token_file: Given
    """A file that holds the API key."""
    granularity: Literal["hourly", "15_minutes", "5_minutes"] = "hourly"
    """Length of its steps; finer ones need a plan that has them."""
    estimations: bool = True
    """Without them the last hours come late."""
    base_url: Url = "https://api.electricitymaps.com/v3"
    """Where its API is."""


class WattTimeSource(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="watttime"):
    """WattTime v3; marginal, five minutes, with forecasts."""

    name: Name = "watttime"
    """What readings of this source say; two of one type need names of their own."""
    region: Given
    """Its region, such as ``CAISO_NORTH``."""
    username: Given
    """Login."""
    password_file: Given
    """A file that holds the password."""
    base_url: Url = "https://api.watttime.org"
    """Where its API is."""


class NesoSource(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="neso"):
    """NESO, Great Britain; average, direct, half hours, with forecasts, without a key."""

    name: Name = "neso"
    """What readings of this source say; two of one type need names of their own."""
    postcode: Annotated[str, Meta(pattern=r"^([A-Za-z]{1,2}[0-9][A-Za-z0-9]?)?(?!\n)$")] = ""
    """First half of a postcode, such as ``RG10``: that region."""
    region: Annotated[int, Meta(ge=1, le=17)] | None = None
    """NESO's number of a region, instead of a postcode."""
    base_url: Url = "https://api.carbonintensity.org.uk"
    """Where its API is."""


class EntsoeSource(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="entsoe"):
    """ENTSO-E; average of what the zone generates, from its mix."""

    name: Name = "entsoe"
    """What readings of this source say; two of one type need names of their own."""
    zone: Annotated[str, Meta(pattern=r"^[0-9A-Z-]{16}(?!\n)$")]
    """EIC of a bidding zone or control area, such as ``10Y1001A1001A82H`` (Germany and Luxembourg)."""
    token_file: Given
    """A file that holds the API key."""
    base_url: Url = "https://web-api.tp.entsoe.eu/api"
    """Where its API is."""


class EiaSource(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="eia"):
    """EIA, United States; average of what the area generates, from its mix."""

    name: Name = "eia"
    """What readings of this source say; two of one type need names of their own."""
    respondent: Annotated[str, Meta(pattern=r"^[A-Z0-9]{2,8}(?!\n)$")]
    """Balancing authority or region, such as ``CISO``."""
    token_file: Given
    """A file that holds the API key."""
    base_url: Url = "https://api.eia.gov"
    """Where its API is."""


class CarbonAwareSource(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="carbon-aware-sdk"):
    """A Carbon Aware SDK WebAPI."""

    name: Name = "carbon-aware-sdk"
    """What readings of this source say; two of one type need names of their own."""
    base_url: Url
    """Where its API is."""
    location: Given
    """As its WebAPI names it."""
    region: str = ""
    """What its answers call the location, where that is to be checked."""
    kind: Kind
    """What its own data source gives: WattTime marginal, Electricity Maps average."""
    basis: Basis
    """What its own data source gives."""


class FileSettings(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="file"):
    """A CSV or Parquet file of your own."""

    name: Name = "file"
    """What readings of this source say; two of one type need names of their own."""
    path: Given
    """The file, ``.csv`` or ``.parquet``; read again when it changes."""
    kind: Kind = Kind.AVERAGE
    """What its figures are: average or marginal."""
    basis: Basis | None = None
    """Default: the grid's."""
    unit: Literal["g/kWh", "kg/MWh", "lb/MWh"] = "g/kWh"
    """Unit of its figures."""
    origin: datetime | None = None
    """When elapsed seconds count from; with an offset."""
    standing: Literal["measured", "estimated"] = "measured"
    """How its figures are known."""
    period_s: Annotated[int, Meta(ge=1, le=86_400)] = 300
    """Time between looks whether it has changed; for what is ahead three times as long."""


Source = (
    ElectricityMapsSource | WattTimeSource | NesoSource | EntsoeSource | EiaSource | CarbonAwareSource | FileSettings
)


class GridSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """One grid and the chain of its sources, the most trusted first."""

    name: Name
    """What zones refer to, such as ``DE`` or ``US-CAL-CISO``."""
    basis: Basis = Basis.LIFECYCLE
    """Which emissions are asked for, where a source lets one choose."""
    annual: str = ""
    """Row of the table of annual averages that counts when nothing else is known. Default: by the name."""
    sources: list[Source] = field(default_factory=list)


def annual_row(grid: GridSettings, table: IntensityTable) -> GridRow:
    """Return the row of last resort: the one named, else the grid's name, else the country its name begins with.

    Raises:
        UnknownGridError: there is none.
    """
    if grid.annual:
        return table.row(grid.annual)
    try:
        return table.row(grid.name)
    except UnknownGridError:
        return table.row(grid.name.partition("-")[0])


def check_grids(where: str, grids: list[GridSettings], table: IntensityTable) -> None:
    """Check what types cannot.

    Raises:
        Failure: naming the file, the key, what was found and the fix.
    """
    for i, grid in enumerate(grids):
        key = f"{where}: key 'grids[{i}]"
        if any(other.name == grid.name for other in grids[:i]):
            raise Failure(f"{key}.name': {grid.name!r} stands twice; give each [[grids]] its own name")
        try:
            annual_row(grid, table)
        except UnknownGridError as error:
            near = table.nearest(grid.annual or grid.name)
            hint = "set annual to the ISO 3166 code of its country or state, or to 'WORLD'"
            if near:
                hint = f"did you mean {near!r}? If not, {hint}"
            raise Failure(f"{key}.annual': {error}; {hint}") from None
        names = [source.name for source in grid.sources]
        for k, source in enumerate(grid.sources):
            at = f"{key}.sources[{k}]"
            if source.name in names[:k] or source.name == "annual-average":
                raise Failure(f"{at}.name': {source.name!r} is taken; set name so that each source has its own")
            _check_source(at, source)


def _check_source(at: str, source: Source) -> None:
    if isinstance(source, NesoSource) and source.postcode and source.region is not None:
        raise Failure(f"{at}.region': there is a postcode too; keep one of them")
    if isinstance(source, FileSettings) and source.origin is not None and source.origin.tzinfo is None:
        raise Failure(f"{at}.origin': {source.origin} has no offset; write e.g. 2026-01-01T00:00:00Z")
    if isinstance(source, FileSettings) and Path(source.path).suffix.lower() not in {".csv", ".parquet", ".pq", ".txt"}:
        raise Failure(f"{at}.path': {source.path!r} is neither .csv nor .parquet; give it the ending of what it is")
