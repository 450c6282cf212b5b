"""A Carbon Aware SDK WebAPI that somebody already runs, as a source.

Contract (Green Software Foundation, Carbon Aware SDK 1.x, MIT licence):

- ``GET /emissions/bylocation?location&time&toTime`` -> ``[{"location", "time", "rating", "duration": "hh:mm:ss"}]``;
  204 where there is nothing.
- ``GET /emissions/forecasts/current?location`` -> ``[{"generatedAt", "location", "forecastData": [{"timestamp",
  "duration" (minutes), "value"}]}]``; 501 where its data source does not forecast.

Ratings are g/kWh. Whether they are average or marginal, life cycle or direct, depends on the SDK's own data source and
stands in no answer, so that the settings say it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evenwatt_collector.carbon.providers.contract import (
    DAY_S,
    HOUR_S,
    ProviderError,
    Trouble,
    iso,
    said_at,
    unix_s,
    within,
)
from evenwatt_collector.carbon.providers.http import Get, decode
from evenwatt_collector.carbon.providers.pace import Limit
from evenwatt_collector.carbon.series import Reading, Standing

if TYPE_CHECKING:
    from evenwatt_collector.carbon.providers.http import Http
    from evenwatt_collector.carbon.providers.settings import CarbonAwareSource

LIMIT: Final = Limit(burst=60, per_s=0.5)

_LONGEST_MIN: Final = 7 * 24 * 60


class _Rating(Struct):
    location: str
    time: str
    rating: float | None = None
    duration: str | None = None


class _Value(Struct):
    timestamp: str
    duration: float
    value: float | None = None


class _Forecast(Struct, rename="camel"):
    location: str
    forecast_data: list[_Value]
    generated_at: str | None = None


class CarbonAware:
    """One location."""

    period_s = 900
    ahead_period_s = 1800
    chunk_s = 7 * DAY_S
    lag_s = HOUR_S

    def __init__(self, http: Http, settings: CarbonAwareSource, grid: str) -> None:
        self._http = http
        self._grid = grid
        self.source = settings.name
        self._location = settings.location
        self._region = settings.region
        self.kind = settings.kind
        self._basis = settings.basis

    @property
    def clock_off_s(self) -> float | None:
        """See :class:`Provider`."""
        return self._http.clock_off_s

    async def past(self, start_s: int, end_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`."""
        params = {"location": self._location, "time": iso(start_s), "toTime": iso(min(end_s, now_s))}
        body = await self._get("/emissions/bylocation", params, now_s, max_age_s=300)
        ratings = decode(body, list[_Rating]) if body else []
        readings = []
        for rating in ratings:
            self._check(rating.location)
            if rating.rating is None:
                continue
            start = _time(rating.time)
            length_s = _length_s(rating.duration)
            readings.append(self._reading(start, start + length_s, rating.rating, Standing.MEASURED, now_s, now_s))
        return within(readings, start_s, end_s)

    async def ahead(self, horizon_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`."""
        try:
            body = await self._get("/emissions/forecasts/current", {"location": self._location}, now_s, max_age_s=900)
        except ProviderError as error:
            if error.status == 501:
                return []
            raise
        readings = []
        for forecast in decode(body, list[_Forecast]) if body else []:
            self._check(forecast.location)
            issued_s = said_at(forecast.generated_at, now_s)
            for point in forecast.forecast_data:
                if point.value is None:
                    continue
                if not 0 < point.duration <= _LONGEST_MIN:
                    text = f"a forecast over {point.duration:g} minutes, expected 1 to {_LONGEST_MIN}; check base_url"
                    raise ProviderError(Trouble.NONSENSE, text)
                start_s = _time(point.timestamp)
                end_s = start_s + round(60 * point.duration)
                readings.append(self._reading(start_s, end_s, point.value, Standing.FORECAST, issued_s, now_s))
        return within(readings, now_s, now_s + horizon_s)

    async def _get(self, path: str, params: dict[str, str], now_s: int, *, max_age_s: float) -> bytes:
        try:
            return await self._http.get(Get(path=path, params=params, max_age_s=max_age_s), now_s)
        except ProviderError as error:
            if error.status == 400 and b"location" in error.body.lower():
                text = f"location {self._location!r} is not known; see GET /locations for those it has"
                raise ProviderError(Trouble.UNKNOWN_ZONE, text, status=error.status) from None
            raise

    def _check(self, location: str) -> None:
        # The SDK names the grid region that it resolved the location to, which need not be the location's name.
        if location not in {self._location, self._region or location}:
            text = f"a value of {location!r}, expected {self._region!r}; check location and region"
            raise ProviderError(Trouble.UNKNOWN_ZONE, text)

    def _reading(
        self, start_s: int, end_s: int, g_per_kwh: float, standing: Standing, issued_s: int, now_s: int
    ) -> Reading:
        return Reading(
            grid=self._grid,
            start_s=start_s,
            end_s=end_s,
            g_per_kwh=g_per_kwh,
            kind=self.kind,
            basis=self._basis,
            source=self.source,
            standing=standing,
            issued_s=issued_s,
            recorded_s=now_s,
        )


def _time(text: str) -> int:
    try:
        return unix_s(text)
    except ValueError:
        raise ProviderError(Trouble.NONSENSE, f"the time {text!r}, expected ISO 8601; check base_url") from None


_SPAN: Final = re.compile(r"(?:(?P<d>\d{1,3})\.)?(?P<h>\d{1,2}):(?P<m>\d{2}):(?P<s>\d{2})(?:\.\d+)?")


def _length_s(duration: str | None) -> int:
    """Seconds of a .NET TimeSpan ``[d.]hh:mm:ss[.f]``; where the SDK gives none it means an hour."""
    if duration is None:
        return HOUR_S
    found = _SPAN.fullmatch(duration)
    if found is None:
        text = f"the duration {duration!r}, expected hh:mm:ss; check base_url"
        raise ProviderError(Trouble.NONSENSE, text)
    length_s = int(found["d"] or 0) * DAY_S + int(found["h"]) * HOUR_S + int(found["m"]) * 60 + int(found["s"])
    return length_s or HOUR_S
