"""From settings to sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from evenwatt_collector.carbon.providers import carbon_aware, eia, electricity_maps, entsoe, neso, watttime
from evenwatt_collector.carbon.providers.annual import Annual
from evenwatt_collector.carbon.providers.files import FileSource
from evenwatt_collector.carbon.providers.settings import (
    CarbonAwareSource,
    EiaSource,
    ElectricityMapsSource,
    EntsoeSource,
    FileSettings,
    NesoSource,
    WattTimeSource,
    annual_row,
)

if TYPE_CHECKING:
    from evenwatt_collector.carbon.annual import IntensityTable
    from evenwatt_collector.carbon.providers.contract import Provider
    from evenwatt_collector.carbon.providers.http import Net
    from evenwatt_collector.carbon.providers.settings import GridSettings, Source


def providers(grid: GridSettings, net: Net) -> list[Provider]:
    """Return the sources of a grid, in its order."""
    return [_provider(source, grid, net) for source in grid.sources]


def last_resort(grid: GridSettings, table: IntensityTable) -> Annual:
    """Return the annual average that counts when no source answers.

    Raises:
        UnknownGridError: the table has no row for the grid.
    """
    return Annual(annual_row(grid, table), grid=grid.name)


def _provider(source: Source, grid: GridSettings, net: Net) -> Provider:  # noqa: PLR0911  (one for each type)
    name, basis = grid.name, grid.basis
    match source:
        case ElectricityMapsSource(token_file=account, base_url=url):
            http = net.http(source.name, url, electricity_maps.LIMIT, account)
            return electricity_maps.ElectricityMaps(http, source, name, basis)
        case WattTimeSource(username=account, base_url=url):
            return watttime.WattTime(net.http(source.name, url, watttime.LIMIT, account), source, name)
        case NesoSource(base_url=url):
            return neso.Neso(net.http(source.name, url, neso.LIMIT), source, name)
        case EntsoeSource(token_file=account, base_url=url):
            return entsoe.Entsoe(net.http(source.name, url, entsoe.LIMIT, account), source, name, basis)
        case EiaSource(token_file=account, base_url=url):
            return eia.Eia(net.http(source.name, url, eia.LIMIT, account), source, name, basis)
        case CarbonAwareSource(base_url=url):
            return carbon_aware.CarbonAware(net.http(source.name, url, carbon_aware.LIMIT), source, name)
        case FileSettings():
            return FileSource(source, name, basis)
        case _:
            assert_never(source)
