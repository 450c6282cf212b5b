"""WattTime v3: marginal intensity (MOER) in steps of five minutes, and its forecast.

Contract (docs.watttime.org): ``https://api.watttime.org``.

- ``GET /login`` with basic authentication -> ``{"token"}``, valid for 30 minutes; then ``Authorization: Bearer``.
- ``GET /v3/historical?region&signal_type=co2_moer&start&end`` (at most 32 days) and ``GET
  /v3/forecast?region&signal_type=co2_moer&horizon_hours=0..72`` -> ``{"data": [{"point_time", "value"}], "meta":
  {"data_point_period_seconds", "region", "signal_type", "units": "lbs_co2_per_mwh", "generated_at"}}``.

The forecast and history need a subscription, but for the region CAISO_NORTH. 3,000 requests in 5 minutes, 100 logins in
5 minutes. One pound is 0.45359237 kg (NIST SP 811), so that one lb/MWh is 0.45359237 g/kWh. The signal index is a
percentile and not an intensity; it is not asked for, and an answer in any other unit is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evenwatt_collector.carbon.providers.contract import (
    DAY_S,
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
from evenwatt_collector.carbon.series import Basis, Kind, Reading, Standing

if TYPE_CHECKING:
    from evenwatt_collector.carbon.providers.http import Http
    from evenwatt_collector.carbon.providers.settings import WattTimeSource

LIMIT: Final = Limit(burst=300, per_s=5.0)
"""Half of 3,000 in 5 minutes: others may use the account too."""

G_PER_KWH: Final = 0.45359237
"""Of one pound per megawatt-hour."""

_UNITS: Final = "lbs_co2_per_mwh"
_SIGNAL: Final = "co2_moer"
_TOKEN_S: Final = 25 * 60
"""Renewed before its 30 minutes are over."""


class _Token(Struct):
    token: str


class _Point(Struct):
    point_time: str
    value: float | None = None


class _Meta(Struct):
    units: str
    region: str
    signal_type: str
    data_point_period_seconds: int = 300
    generated_at: str | None = None


class _Answer(Struct):
    data: list[_Point]
    meta: _Meta


class WattTime:
    """One region."""

    kind = Kind.MARGINAL
    period_s = 300
    ahead_period_s = 900
    chunk_s = 7 * DAY_S
    lag_s = 900

    def __init__(self, http: Http, settings: WattTimeSource, grid: str) -> None:
        self._http = http
        self._username = settings.username
        self._password = Secret(settings.password_file, "password_file")
        self._grid = grid
        self.source = settings.name
        self._region = settings.region
        self._token = ""
        self._token_until_s = 0

    @property
    def clock_off_s(self) -> float | None:
        """See :class:`Provider`."""
        return self._http.clock_off_s

    async def past(self, start_s: int, end_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`."""
        params = {"start": iso(start_s), "end": iso(min(end_s, now_s))}
        answer = await self._ask("/v3/historical", params, now_s, max_age_s=240)
        return within(self._readings(answer, Standing.MEASURED, now_s, now_s), start_s, end_s)

    async def ahead(self, horizon_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`."""
        hours = min(72, max(1, -(-horizon_s // 3600)))
        answer = await self._ask("/v3/forecast", {"horizon_hours": str(hours)}, now_s, max_age_s=600)
        issued_s = said_at(answer.meta.generated_at, now_s)
        return within(self._readings(answer, Standing.FORECAST, issued_s, now_s), now_s, now_s + horizon_s)

    async def _ask(self, path: str, params: dict[str, str], now_s: int, *, max_age_s: float) -> _Answer:
        asked = {"region": self._region, "signal_type": _SIGNAL, **params}
        kept = self._http.kept(Get(path=path, params=asked, max_age_s=max_age_s), now_s)
        if kept is not None:  # without a login
            return self._checked(decode(kept, _Answer))
        fresh = not self._token_holds(now_s)
        token = await self._login(now_s) if fresh else self._token
        try:
            body = await self._get(path, asked, now_s, token, max_age_s)
        except ProviderError as error:
            if error.status != 401 or fresh:
                raise self._refined(error) from None
            body = await self._get(path, asked, now_s, await self._login(now_s), max_age_s)
        return self._checked(decode(body, _Answer))

    async def _get(self, path: str, asked: dict[str, str], now_s: int, token: str, max_age_s: float) -> bytes:
        headers = {"authorization": f"Bearer {token}"}
        question = Get(path=path, params=asked, max_age_s=max_age_s, headers=headers, secrets=(token,))
        return await self._http.get(question, now_s)

    def _token_holds(self, now_s: int) -> bool:
        return bool(self._token) and 0 <= self._token_until_s - now_s <= _TOKEN_S

    async def _login(self, now_s: int) -> str:
        password = self._password.read()
        self._token = ""
        # The answer holds the token, and so is neither cached nor blanked.
        question = Get(path="/login", login=(self._username, password), secrets=(password,))
        body = await self._http.get(question, now_s)
        try:
            self._token = decode(body, _Token).token
        except ProviderError:
            raise ProviderError(
                Trouble.NONSENSE, "the login's answer has no token; check base_url (https://api.watttime.org)"
            ) from None
        self._token_until_s = now_s + _TOKEN_S
        return self._token

    def _refined(self, error: ProviderError) -> ProviderError:
        if error.status in {400, 404} and b"region" in error.body.lower():
            text = f"region {self._region!r} is not known; see GET /v3/my-access for the regions of this account"
            return ProviderError(Trouble.UNKNOWN_ZONE, text, status=error.status)
        return error

    def _checked(self, answer: _Answer) -> _Answer:
        meta = answer.meta
        for what, found, expected in (
            ("units", meta.units, _UNITS),
            ("signal_type", meta.signal_type, _SIGNAL),
            ("region", meta.region, self._region),
        ):
            if found != expected:
                kind = Trouble.UNKNOWN_ZONE if what == "region" else Trouble.NONSENSE
                raise ProviderError(kind, f"an answer with {what} {found!r}, expected {expected!r}; check {what}")
        if not 60 <= meta.data_point_period_seconds <= 3600:
            found_s = meta.data_point_period_seconds
            raise ProviderError(Trouble.NONSENSE, f"values every {found_s} s, expected 60 to 3600; check base_url")
        return answer

    def _readings(self, answer: _Answer, standing: Standing, issued_s: int, now_s: int) -> list[Reading]:
        readings = []
        for point in answer.data:
            if point.value is None:
                continue
            try:
                start_s = unix_s(point.point_time)
            except ValueError:
                text = f"the time {point.point_time!r}, expected ISO 8601; check base_url"
                raise ProviderError(Trouble.NONSENSE, text) from None
            readings.append(
                Reading(
                    grid=self._grid,
                    start_s=start_s,
                    end_s=start_s + answer.meta.data_point_period_seconds,
                    g_per_kwh=point.value * G_PER_KWH,
                    kind=Kind.MARGINAL,
                    basis=Basis.DIRECT,
                    source=self.source,
                    standing=standing,
                    issued_s=issued_s,
                    recorded_s=now_s,
                )
            )
        return readings
