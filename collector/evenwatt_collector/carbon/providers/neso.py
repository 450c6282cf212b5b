"""NESO's Carbon Intensity API: Great Britain and its 14 regions by the half hour, without a key.

Contract (carbon-intensity.github.io/api-definitions): ``https://api.carbonintensity.org.uk``, times in UTC as
``YYYY-MM-DDThh:mmZ``, CC BY 4.0.

- ``GET /intensity/{from}/{to}`` (at most 14 days), ``/intensity/{from}/fw48h`` -> ``{"data": [{"from", "to",
  "intensity": {"forecast", "actual": null|n}}]}``.
- ``GET /regional/intensity/{from}/{to}|fw48h/postcode/{OUT}|regionid/{id}`` -> ``{"data": {"regionid", "postcode",
  "data": [{"from", "to", "intensity": {"forecast"}}]}}``: regions are modelled and never measured, so that what lies
  behind is ``estimated``.

gCO2/kWh, direct emissions of generation and imports. An old forecast cannot be asked for again: it is overwritten, so
that what is to be compared later must be kept now; the readings of :meth:`Neso.ahead` are that archive. The service
names no figure for its limit; here 60 at once, 10 a minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evenwatt_collector.carbon.providers.contract import (
    DAY_S,
    HOUR_S,
    ProviderError,
    Trouble,
    iso,
    unix_s,
    within,
)
from evenwatt_collector.carbon.providers.http import Get, decode
from evenwatt_collector.carbon.providers.pace import Limit
from evenwatt_collector.carbon.series import Basis, Kind, Reading, Standing

if TYPE_CHECKING:
    from evenwatt_collector.carbon.providers.http import Http
    from evenwatt_collector.carbon.providers.settings import NesoSource

LIMIT: Final = Limit(burst=60, per_s=10 / 60)

_HALF_HOUR_S: Final = 1800
_FORM: Final = "%Y-%m-%dT%H:%MZ"


class _Intensity(Struct):
    forecast: float | None = None
    actual: float | None = None


class _Slot(Struct, rename={"start": "from", "end": "to"}):
    start: str
    end: str
    intensity: _Intensity


class _National(Struct):
    data: list[_Slot]


class _Region(Struct):
    data: list[_Slot]
    regionid: int | None = None
    postcode: str = ""


class _Regional(Struct):
    data: _Region | list[_Region]


class Neso:
    """Great Britain, or one of its regions."""

    kind = Kind.AVERAGE
    period_s = 900
    ahead_period_s = _HALF_HOUR_S
    chunk_s = 13 * DAY_S
    lag_s = HOUR_S

    def __init__(self, http: Http, settings: NesoSource, grid: str) -> None:
        self._http = http
        self._grid = grid
        self.source = settings.name
        self._postcode = settings.postcode.upper()
        self._region = settings.region

    @property
    def clock_off_s(self) -> float | None:
        """See :class:`Provider`."""
        return self._http.clock_off_s

    async def past(self, start_s: int, end_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`."""
        slots = await self._ask(f"{iso(start_s, _FORM)}/{iso(min(end_s, now_s), _FORM)}", now_s, max_age_s=300)
        return [reading for reading in within(self._readings(slots, now_s), start_s, end_s) if _happened(reading)]

    async def ahead(self, horizon_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`."""
        first_s = now_s - now_s % _HALF_HOUR_S
        span = "fw24h" if horizon_s <= DAY_S else "fw48h"
        slots = await self._ask(f"{iso(first_s, _FORM)}/{span}", now_s, max_age_s=900)
        return within(self._readings(slots, now_s, forecast=True), now_s, now_s + horizon_s)

    async def _ask(self, when: str, now_s: int, *, max_age_s: float) -> list[_Slot]:
        if not self._regional:
            return decode(await self._get(f"/intensity/{when}", now_s, max_age_s), _National).data
        where = f"postcode/{self._postcode}" if self._postcode else f"regionid/{self._region}"
        body = await self._get(f"/regional/intensity/{when}/{where}", now_s, max_age_s)
        found = decode(body, _Regional).data
        regions = found if isinstance(found, list) else [found]
        if len(regions) != 1 or not self._is_ours(regions[0]):
            said = ", ".join(f"{region.postcode or region.regionid}" for region in regions[:3]) or "none"
            raise ProviderError(
                Trouble.UNKNOWN_ZONE, f"an answer for region {said}, expected {where}; check postcode or region"
            )
        return regions[0].data

    async def _get(self, path: str, now_s: int, max_age_s: float) -> bytes:
        try:
            return await self._http.get(Get(path=path, max_age_s=max_age_s), now_s)
        except ProviderError as error:
            if error.status == 400 and self._regional:
                text = f"the region is not known: {error}"
                raise ProviderError(Trouble.UNKNOWN_ZONE, text, status=error.status) from None
            raise

    @property
    def _regional(self) -> bool:
        return bool(self._postcode) or self._region is not None

    def _is_ours(self, region: _Region) -> bool:
        if self._postcode:
            return region.postcode.upper() in {"", self._postcode}
        return region.regionid in {None, self._region}

    def _readings(self, slots: list[_Slot], now_s: int, *, forecast: bool = False) -> list[Reading]:
        readings = []
        for slot in slots:
            try:
                start_s, end_s = unix_s(slot.start), unix_s(slot.end)
            except ValueError:
                text = f"a half hour from {slot.start!r} to {slot.end!r}, expected ISO 8601; check base_url"
                raise ProviderError(Trouble.NONSENSE, text) from None
            value, standing = slot.intensity.actual, Standing.MEASURED
            if value is None or forecast:
                value = slot.intensity.forecast
                over = self._regional and not forecast and end_s <= now_s
                standing = Standing.ESTIMATED if over else Standing.FORECAST
            if value is None:
                continue
            readings.append(
                Reading(
                    grid=self._grid,
                    start_s=start_s,
                    end_s=end_s,
                    g_per_kwh=value,
                    kind=Kind.AVERAGE,
                    basis=Basis.DIRECT,
                    source=self.source,
                    standing=standing,
                    issued_s=now_s,
                    recorded_s=now_s,
                )
            )
        return readings


def _happened(reading: Reading) -> bool:
    return reading.standing is not Standing.FORECAST
