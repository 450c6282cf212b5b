"""Electricity Maps: consumption-based average intensity of some 350 zones, measured or estimated, and forecasts.

Contract (API reference at app.electricitymaps.com/developer-hub): ``https://api.electricitymaps.com/v3``, header
``auth-token``.

- ``GET /carbon-intensity/history?zone`` -> ``{"zone", "history": [{"carbonIntensity", "datetime", "updatedAt",
  "emissionFactorType", "isEstimated", ..}]}``: the last 24 hours, in every plan.
- ``GET /carbon-intensity/past-range?zone&start&end`` -> ``{"zone", "data": [..]}``: at most 10 days by the hour, in
  paid plans. Where the key may not, the last 24 hours stand in for it.
- ``GET /carbon-intensity/forecast?zone&horizonHours=6|24|48|72`` -> ``{"zone", "updatedAt", "forecast":
  [{"carbonIntensity", "datetime"}]}``, in paid plans.

A zone that the API does not know would be replaced by that of the caller's address: ``disableCallerLookup=true`` turns
it off, and the zone of the answer is compared with the one asked for. Values are gCO2eq/kWh. Limits depend on the plan
and are not published as figures; here: 40 at once, 100 an hour.
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
    said_at,
    unix_s,
    within,
)
from evenwatt_collector.carbon.providers.http import Get, decode
from evenwatt_collector.carbon.providers.pace import Limit
from evenwatt_collector.carbon.providers.secret import Secret
from evenwatt_collector.carbon.series import Kind, Reading, Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.carbon.providers.http import Http
    from evenwatt_collector.carbon.providers.settings import ElectricityMapsSource
    from evenwatt_collector.carbon.series import Basis

LIMIT: Final = Limit(burst=40, per_s=100 / 3600)

_STEP_S: Final = {"hourly": 3600, "15_minutes": 900, "5_minutes": 300}
_HORIZONS_H: Final = (6, 24, 48, 72)
_UNITS: Final = {"", "gCO2eq/kWh", "gCO2e/kWh"}


class _Point(Struct, rename="camel"):
    datetime: str
    carbon_intensity: float | None = None
    zone: str = ""
    updated_at: str | None = None
    emission_factor_type: str = ""
    is_estimated: bool | None = None


class _Answer(Struct, rename="camel"):
    zone: str
    history: list[_Point] | None = None
    data: list[_Point] | None = None
    forecast: list[_Point] | None = None
    updated_at: str | None = None
    emission_factor_type: str = ""
    temporal_granularity: str = ""
    unit: str = ""


class ElectricityMaps:
    """One zone."""

    kind = Kind.AVERAGE
    ahead_period_s = HOUR_S

    def __init__(self, http: Http, settings: ElectricityMapsSource, grid: str, basis: Basis) -> None:
        self._http = http
        self._token = Secret(settings.token_file, "token_file")
        self._grid = grid
        self.source = settings.name
        self._zone = settings.zone
        self._basis = basis
        self._granularity = settings.granularity
        self._estimations = settings.estimations
        self._step_s = _STEP_S[settings.granularity]
        self.period_s = 300 if self._step_s == 300 else 900
        self.chunk_s = 10 * DAY_S if self._step_s == HOUR_S else DAY_S
        self.lag_s = HOUR_S if settings.estimations else 3 * HOUR_S
        self._range_refused = False

    @property
    def clock_off_s(self) -> float | None:
        """See :class:`Provider`."""
        return self._http.clock_off_s

    async def past(self, start_s: int, end_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`."""
        if self._range_refused or start_s >= now_s - DAY_S + HOUR_S:
            return await self._history(start_s, end_s, now_s)
        try:
            params = {"start": iso(start_s), "end": iso(min(end_s, now_s))}
            answer = await self._ask("/carbon-intensity/past-range", params, now_s, max_age_s=600)
        except ProviderError as error:
            if error.status not in {401, 403}:
                raise
            readings = await self._history(start_s, end_s, now_s)  # raises when it is the key and not the plan
            self._range_refused = True
            return readings
        return within(self._readings(answer, answer.data, now_s), start_s, end_s)

    async def ahead(self, horizon_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`."""
        hours = next((hours for hours in _HORIZONS_H if hours * HOUR_S >= horizon_s), _HORIZONS_H[-1])
        answer = await self._ask("/carbon-intensity/forecast", {"horizonHours": str(hours)}, now_s, max_age_s=900)
        issued_s = said_at(answer.updated_at, now_s)
        readings = self._readings(answer, answer.forecast, now_s, Standing.FORECAST, issued_s)
        return within(readings, now_s, now_s + horizon_s)

    async def _history(self, start_s: int, end_s: int, now_s: int) -> list[Reading]:
        answer = await self._ask("/carbon-intensity/history", {}, now_s, max_age_s=240)
        return within(self._readings(answer, answer.history, now_s), start_s, end_s)

    async def _ask(self, path: str, params: dict[str, str], now_s: int, *, max_age_s: float) -> _Answer:
        token = self._token.read()
        asked = {
            "zone": self._zone,
            "emissionFactorType": self._basis.value,
            "temporalGranularity": self._granularity,
            "disableCallerLookup": "true",
            **({} if self._estimations else {"disableEstimations": "true"}),
            **params,
        }
        question = Get(path=path, params=asked, max_age_s=max_age_s, headers={"auth-token": token}, secrets=(token,))
        body = await self._http.get(question, now_s)
        return decode(body, _Answer)

    def _readings(
        self,
        answer: _Answer,
        points: Sequence[_Point] | None,
        now_s: int,
        standing: Standing | None = None,
        issued_s: int | None = None,
    ) -> list[Reading]:
        if points is None:
            raise ProviderError(
                Trouble.NONSENSE, "an answer without its list of values; expected the documented JSON, check base_url"
            )
        self._check(answer.zone, answer.emission_factor_type)
        if answer.unit not in _UNITS:
            raise ProviderError(
                Trouble.NONSENSE, f"an answer in {answer.unit!r}, expected gCO2eq/kWh; check base_url and its version"
            )
        if answer.temporal_granularity not in {"", self._granularity}:
            raise ProviderError(
                Trouble.NONSENSE,
                f"values for {answer.temporal_granularity!r}, expected {self._granularity!r}; set granularity to what "
                "the plan includes",
            )
        readings = []
        for point in points:
            self._check(point.zone or answer.zone, point.emission_factor_type)
            if point.carbon_intensity is None:
                continue
            start_s = _time(point.datetime)
            estimated = Standing.ESTIMATED if point.is_estimated else Standing.MEASURED
            readings.append(
                Reading(
                    grid=self._grid,
                    start_s=start_s,
                    end_s=start_s + self._step_s,
                    g_per_kwh=point.carbon_intensity,
                    kind=Kind.AVERAGE,
                    basis=self._basis,
                    source=self.source,
                    standing=standing or estimated,
                    issued_s=said_at(point.updated_at, now_s) if issued_s is None else issued_s,
                    recorded_s=now_s,
                )
            )
        return readings

    def _check(self, zone: str, factor_type: str) -> None:
        if zone != self._zone:
            raise ProviderError(
                Trouble.UNKNOWN_ZONE,
                f"an answer for zone {zone!r}, expected {self._zone!r}; check the zone (a list: GET /v3/zones)",
            )
        if factor_type not in {"", self._basis.value}:
            raise ProviderError(
                Trouble.NONSENSE,
                f"values with {factor_type!r} emission factors, expected {self._basis.value!r}; set the grid's basis "
                "to what the plan includes",
            )


def _time(text: str) -> int:
    try:
        return unix_s(text)
    except ValueError:
        raise ProviderError(Trouble.NONSENSE, f"the time {text!r}, expected ISO 8601; check base_url") from None
