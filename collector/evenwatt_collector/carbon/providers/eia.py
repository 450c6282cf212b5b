"""US Energy Information Administration (form EIA-930): generation by fuel and hour, weighed into an average intensity.

Contract (eia.gov/opendata, API v2): ``GET https://api.eia.gov/v2/electricity/rto/fuel-type-data/data/?api_key&
frequency=hourly&data[0]=value&facets[respondent][]=CISO&start&end&sort..&offset&length<=5000`` -> ``{"response":
{"total", "frequency", "data": [{"period": "2024-06-15T14", "respondent", "fueltype", "value": "1234",
"value-units": "megawatthours"}]}}``. With ``frequency=hourly`` periods are UTC; ``local-hourly`` periods carry their
offset, and are read too. A period is named by the **end** of its hour. ``value`` is a string, null where nothing was
reported, and negative where a store charges or a plant consumes: that is not generation.

The answer's echo of the question holds the key: it is blanked out before anybody sees it. Some 9,000 requests an hour
are let through; here 100 at once, 1,000 an hour. Figures come one to several hours late. Public domain.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evenwatt_collector.carbon.providers.contract import DAY_S, HOUR_S, ProviderError, Trouble, iso, unix_s, within
from evenwatt_collector.carbon.providers.http import Get, decode
from evenwatt_collector.carbon.providers.mix import STORAGE, Generated, intensities
from evenwatt_collector.carbon.providers.pace import Limit
from evenwatt_collector.carbon.providers.secret import Secret
from evenwatt_collector.carbon.series import Kind, Reading

if TYPE_CHECKING:
    from evenwatt_collector.carbon.providers.http import Http
    from evenwatt_collector.carbon.providers.settings import EiaSource
    from evenwatt_collector.carbon.series import Basis

LIMIT: Final = Limit(burst=100, per_s=1000 / 3600)

FUELS: Final = {
    "COL": "coal",
    "NG": "gas",
    "NUC": "nuclear",
    "OIL": "oil",
    "OTH": "other",
    "SUN": "solar",
    "SNB": "solar",
    "WAT": "hydro",
    "WND": "wind-onshore",
    "WNB": "wind-onshore",
    "GEO": "geothermal",
    "BIO": "biomass",
    "UNK": "other",
    "PS": STORAGE,
    "BAT": STORAGE,
    "OES": STORAGE,
    "UES": STORAGE,
}
"""Energy sources of the form; one that is not in it counts as ``other``."""

_PATH: Final = "/v2/electricity/rto/fuel-type-data/data/"
_PAGE: Final = 5000
_MOST_PAGES: Final = 20
_FORM: Final = "%Y-%m-%dT%H"


class _Row(Struct, rename={"fuel": "fueltype", "unit": "value-units"}):
    period: str
    respondent: str
    fuel: str
    value: str | float | None = None
    unit: str = "megawatthours"


class _Response(Struct):
    data: list[_Row]
    total: str | int = 0
    frequency: str = "hourly"


class _Answer(Struct):
    response: _Response


class Eia:
    """One balancing authority or region."""

    kind = Kind.AVERAGE
    period_s = 900
    ahead_period_s = DAY_S
    chunk_s = 14 * DAY_S
    lag_s = 6 * HOUR_S

    def __init__(self, http: Http, settings: EiaSource, grid: str, basis: Basis) -> None:
        self._http = http
        self._key = Secret(settings.token_file, "token_file")
        self._grid = grid
        self.source = settings.name
        self._respondent = settings.respondent
        self._basis = basis

    @property
    def clock_off_s(self) -> float | None:
        """See :class:`Provider`."""
        return self._http.clock_off_s

    async def past(self, start_s: int, end_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`."""
        rows: list[_Row] = []
        for page in range(_MOST_PAGES):
            response = await self._page(start_s, min(end_s, now_s), page * _PAGE, now_s)
            rows += response.data
            if len(rows) >= _total(response.total) or not response.data:
                break
        else:
            text = f"more than {_MOST_PAGES} pages of {_PAGE} rows for one window; check respondent and base_url"
            raise ProviderError(Trouble.NONSENSE, text)
        readings = intensities(
            self._generated(rows),
            self._basis,
            grid=self._grid,
            source=self.source,
            issued_s=now_s,
            recorded_s=now_s,
        )
        return within(readings, start_s, end_s)

    async def ahead(self, horizon_s: int, now_s: int) -> list[Reading]:  # noqa: ARG002  (the form is about the past)
        """See :class:`Provider`; EIA forecasts demand, not its sources."""
        return []

    async def _page(self, start_s: int, end_s: int, offset: int, now_s: int) -> _Response:
        key = self._key.read()
        params = {
            "frequency": "hourly",
            "data[0]": "value",
            "facets[respondent][]": self._respondent,
            "start": iso(start_s + HOUR_S, _FORM),  # by the end of the hour
            "end": iso(end_s + HOUR_S, _FORM),
            "sort[0][column]": "period",
            "sort[0][direction]": "asc",
            "sort[1][column]": "fueltype",
            "sort[1][direction]": "asc",
            "offset": str(offset),
            "length": str(_PAGE),
        }
        question = Get(path=_PATH, params=params, max_age_s=600, hidden={"api_key": key}, secrets=(key,))
        body = await self._http.get(question, now_s)
        response = decode(body, _Answer).response
        if response.frequency not in {"hourly", "local-hourly"}:
            text = f"figures {response.frequency!r}, expected 'hourly'; check base_url"
            raise ProviderError(Trouble.NONSENSE, text)
        return response

    def _generated(self, rows: list[_Row]) -> list[Generated]:
        generated = []
        for row in rows:
            if row.respondent != self._respondent:
                text = f"figures of {row.respondent!r}, expected {self._respondent!r}; check respondent"
                raise ProviderError(Trouble.UNKNOWN_ZONE, text)
            if row.unit != "megawatthours":
                text = f"figures in {row.unit!r}, expected 'megawatthours'; check base_url"
                raise ProviderError(Trouble.NONSENSE, text)
            energy_mwh = _number(row.value)
            if energy_mwh is not None:
                end_s = _hour_end(row.period)
                fuel = FUELS.get(row.fuel, "other")
                generated.append(Generated(row.fuel, fuel, end_s - HOUR_S, end_s, energy_mwh))
        return generated


def _number(value: str | float | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        text = f"the value {value!r}, expected a number of megawatt-hours; check base_url"
        raise ProviderError(Trouble.NONSENSE, text) from None
    return number if number is not None and isfinite(number) else None


def _total(total: str | int) -> int:
    try:
        return int(total)
    except ValueError:
        raise ProviderError(Trouble.NONSENSE, f"a total of {total!r}, expected a number; check base_url") from None


def _hour_end(period: str) -> int:
    try:
        return unix_s(period)
    except ValueError:
        text = f"the period {period!r}, expected an hour such as 2024-06-15T14; check base_url"
        raise ProviderError(Trouble.NONSENSE, text) from None
