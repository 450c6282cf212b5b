"""ENTSO-E Transparency Platform: generation by production type in a European zone, weighed into an average intensity.

Contract (RESTful API guide): ``GET https://web-api.tp.entsoe.eu/api?securityToken&documentType=A75&processType=A16&
in_Domain=EIC&periodStart=yyyyMMddHHmm&periodEnd`` (UTC) -> XML ``GL_MarketDocument`` of ``TimeSeries``: ``MktPSRType/
psrType`` B01.. and ``Period`` with ``timeInterval``, ``resolution`` and ``Point`` (``position`` from 1, ``quantity`` in
MW). A series with ``outBiddingZone_Domain`` is consumption (a pump) and is left out. Curve type A03: a point that is
omitted repeats the one before it, to the end of the period; A01: it is a gap. No data and wrong questions come as an
``Acknowledgement_MarketDocument`` with a reason.

400 requests a minute, then a ban of ten minutes; here 100 at once, 200 a minute. Figures come one to three hours late
and are corrected later. What is generated in the zone, without imports. Terms: free use with the source named.
"""

from __future__ import annotations

import asyncio
from math import isfinite
from typing import TYPE_CHECKING, Final

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from evenwatt_collector.carbon.providers.contract import (
    DAY_S,
    HOUR_S,
    ProviderError,
    Trouble,
    iso,
    unix_s,
    within,
)
from evenwatt_collector.carbon.providers.http import Get, beginning
from evenwatt_collector.carbon.providers.mix import STORAGE, Generated, intensities
from evenwatt_collector.carbon.providers.pace import Limit
from evenwatt_collector.carbon.providers.secret import Secret
from evenwatt_collector.carbon.series import Kind, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from evenwatt_collector.carbon.providers.http import Http
    from evenwatt_collector.carbon.providers.settings import EntsoeSource
    from evenwatt_collector.carbon.series import Basis

LIMIT: Final = Limit(burst=100, per_s=200 / 60)

FUELS: Final = {
    "B01": "biomass",
    "B02": "lignite",
    "B03": "coal-gas",
    "B04": "gas",
    "B05": "coal",
    "B06": "oil",
    "B07": "oil-shale",
    "B08": "peat",
    "B09": "geothermal",
    "B10": STORAGE,
    "B11": "hydro",
    "B12": "hydro",
    "B13": "marine",
    "B14": "nuclear",
    "B15": "other-renewable",
    "B16": "solar",
    "B17": "waste",
    "B18": "wind-offshore",
    "B19": "wind-onshore",
    "B20": "other",
    "B25": STORAGE,
}
"""Production types of the code list; one that is not in it counts as ``other``."""

_RESOLUTIONS_S: Final = {"PT15M": 900, "PT30M": 1800, "PT60M": 3600, "PT1H": 3600, "P1D": 86_400}
_REPEATS: Final = "A03"
_MOST_POINTS: Final = 3000
"""Of one period: a month of quarter hours."""


class Entsoe:
    """One bidding zone or control area."""

    kind = Kind.AVERAGE
    period_s = 900
    ahead_period_s = DAY_S
    chunk_s = 7 * DAY_S
    lag_s = 4 * HOUR_S

    def __init__(self, http: Http, settings: EntsoeSource, grid: str, basis: Basis) -> None:
        self._http = http
        self._token = Secret(settings.token_file, "token_file")
        self._grid = grid
        self.source = settings.name
        self._zone = settings.zone
        self._basis = basis

    @property
    def clock_off_s(self) -> float | None:
        """See :class:`Provider`."""
        return self._http.clock_off_s

    async def past(self, start_s: int, end_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`."""
        token = self._token.read()
        params = {
            "documentType": "A75",
            "processType": "A16",
            "in_Domain": self._zone,
            "periodStart": iso(start_s - start_s % HOUR_S, "%Y%m%d%H%M"),
            "periodEnd": iso(end_s + -end_s % HOUR_S, "%Y%m%d%H%M"),
        }
        question = Get(path="", params=params, max_age_s=600, hidden={"securityToken": token}, secrets=(token,))
        try:
            body = await self._http.get(question, now_s)
        except ProviderError as error:
            if error.status != 400 or b"Acknowledgement" not in error.body:
                raise
            body = error.body
        # A week of quarter hours takes a tenth of a second: not in the event loop, which steers power.
        return within(await asyncio.to_thread(self._read, body, now_s), start_s, end_s)

    async def ahead(self, horizon_s: int, now_s: int) -> list[Reading]:  # noqa: ARG002  (A75 is about the past only)
        """See :class:`Provider`; there is no forecast of the whole mix."""
        return []

    def _read(self, body: bytes, now_s: int) -> list[Reading]:
        root = _parse(body)
        if _name(root) == "Acknowledgement_MarketDocument":
            self._acknowledged(root)
            return []
        if _name(root) != "GL_MarketDocument":
            text = f"a document {_name(root)!r}, expected GL_MarketDocument; check base_url"
            raise ProviderError(Trouble.NONSENSE, text)
        issued_s = _issued(root, now_s)
        return intensities(
            self._generated(root),
            self._basis,
            grid=self._grid,
            source=self.source,
            issued_s=issued_s,
            recorded_s=now_s,
        )

    def _acknowledged(self, root: Element) -> None:
        reason = " ".join(_text(element) for element in root.iter() if _name(element) == "text")[:200]
        low = reason.lower()
        if "no matching data" in low:
            return
        if "domain" in low or "area" in low or "eic" in low:
            kind = Trouble.UNKNOWN_ZONE
            fix = f"check that {self._zone} is the EIC of a bidding zone or control area"
        elif "token" in low or "unauthor" in low:
            kind, fix = Trouble.REFUSED, "check token_file"
        else:
            kind, fix = Trouble.NONSENSE, "check zone and base_url"
        raise ProviderError(kind, f"it declined: {reason or 'no reason given'!r}; {fix}")

    def _generated(self, root: Element) -> Iterator[Generated]:
        for series in _all(root, "TimeSeries"):
            zone = _find(series, "inBiddingZone_Domain.mRID")
            if zone is None:
                continue  # consumption
            if _text(zone) != self._zone:
                text = f"figures of zone {_text(zone)!r}, expected {self._zone!r}; check the zone"
                raise ProviderError(Trouble.UNKNOWN_ZONE, text)
            unit = _find(series, "quantity_Measure_Unit.name")
            if unit is not None and _text(unit) != "MAW":
                text = f"figures in {_text(unit)!r}, expected MAW (megawatts); check base_url"
                raise ProviderError(Trouble.NONSENSE, text)
            code = next((_text(found) for found in series.iter() if _name(found) == "psrType"), "")
            curve = _find(series, "curveType")
            repeats = curve is None or _text(curve) == _REPEATS
            for period in _all(series, "Period"):
                for start_s, end_s, power_mw in _points(period, repeats=repeats):
                    yield Generated(code, FUELS.get(code, "other"), start_s, end_s, power_mw)


def _points(period: Element, *, repeats: bool) -> Iterator[tuple[int, int, float]]:
    try:
        interval = next(_all(period, "timeInterval"))
        start_s, end_s = (unix_s(_text(next(_all(interval, name)))) for name in ("start", "end"))
        step_s = _RESOLUTIONS_S[_text(next(_all(period, "resolution")))]
        given = {
            int(_text(next(_all(point, "position")))): float(_text(next(_all(point, "quantity"))))
            for point in _all(period, "Point")
        }
    except (StopIteration, KeyError, ValueError) as error:
        text = f"a period that cannot be read ({type(error).__name__}: {error}); check base_url"
        raise ProviderError(Trouble.NONSENSE, text) from None
    count = (end_s - start_s) // step_s
    if count > _MOST_POINTS:
        raise ProviderError(Trouble.NONSENSE, f"a period of {count} points, expected {_MOST_POINTS} at the most")
    power_mw: float | None = None
    for position in range(1, count + 1):
        power_mw = given.get(position, power_mw if repeats else None)
        if power_mw is not None and isfinite(power_mw):
            at_s = start_s + (position - 1) * step_s
            yield at_s, at_s + step_s, power_mw


def _parse(body: bytes) -> Element:
    try:
        root: Element = fromstring(body)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:  # an encoding that nobody knows
        text = f"an answer that begins {beginning(body)!r}: {error}; expected the documented XML, check base_url"
        raise ProviderError(Trouble.NONSENSE, text) from None
    return root


def _issued(root: Element, now_s: int) -> int:
    created = _find(root, "createdDateTime")
    try:
        return now_s if created is None else min(now_s, unix_s(_text(created)))
    except ValueError:
        return now_s


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _all(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if _name(child) == name)


def _find(element: Element, name: str) -> Element | None:
    return next(_all(element, name), None)


def _text(element: Element) -> str:
    return (element.text or "").strip()
