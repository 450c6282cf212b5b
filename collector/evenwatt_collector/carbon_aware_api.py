"""The read surface of the Green Software Foundation's Carbon Aware SDK (its WebAPI), so that its clients work with us.

After its source: ``CarbonAwareController.cs``, ``LocationsController.cs``, the models beside them and
``ForecastHandler.cs`` of github.com/Green-Software-Foundation/carbon-aware-sdk. Names, casing, defaults and status
codes are its own; ``docs/carbon-aware-api.md`` lists where we differ. All intensities are g CO2e/kWh, as the SDK's are.

A location is whatever :meth:`IntensityStore.locations` names: our zones, grids, cloud regions. What is observed is what
the store says was measured, estimated or, for want of both, a fallback; a forecast is never given as observed, and
where nothing is known there is no figure, not a zero.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from starlette.responses import PlainTextResponse, Response

from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.carbon.windows import Point, cleanest, mean, windows
from evenwatt_collector.carbon_aware_requests import (
    bounded,
    locations,
    missing,
    moment_of,
    ordered,
    rows,
    text_of,
    time_of,
)
from evenwatt_collector.carbon_aware_wire import Problem, invalid, span, stamp, unreadable, utc
from evenwatt_collector.http.endpoint import OBJECT, TEXT, Endpoint, Operation
from evenwatt_collector.http.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from starlette.requests import Request

    from evenwatt_collector.carbon.series import Reading, Steps

_LONGEST_WINDOW_MIN: Final = 366 * 1440
_MOST_POINTS: Final = 200_000
_LEAST_KNOWN: Final = 0.8
"""A mean over less of the time than this is none."""


@dataclass(frozen=True, slots=True)
class Place:
    """A location."""

    grid: str
    """Its grid's name in the settings."""
    latitude: float | None = None
    longitude: float | None = None


class IntensityStore(Protocol):
    """What is known of intensity."""

    def locations(self) -> Mapping[str, Place]:
        """Return every location by name."""

    async def readings(self, grid: str, start_s: int, end_s: int) -> Steps:
        """Return what a grid's average intensity was over [start_s, end_s), as known now."""

    async def forecast(self, grid: str, now_s: int) -> list[Reading]:
        """Return the newest forecast issued by ``now_s``, contiguous and in order; empty when there is none."""


def carbon_aware_routes(
    store: IntensityStore, *, healthy: Callable[[], bool], wall: Callable[[], float] = time.time, prefix: str = ""
) -> list[Endpoint]:
    """Return the routes.

    Args:
        store: What is known.
        healthy: Whether the collector can do its work, for ``/health``.
        wall: Unix time.
        prefix: Put before every path, as the SDK's ``WebApiRoutePrefix``.
    """
    turns = Turns()  # their own: who asks for years of intensities does not hold up reports
    api = _Api(store, wall, turns)

    async def health(_request: Request) -> Response:
        well = healthy()
        return PlainTextResponse("Healthy" if well else "Unhealthy", status_code=200 if well else 503)

    def past(make: _Make) -> _Make:
        async def in_turn(request: Request) -> Any:
            async with turns.turn():
                return await make(request)

        return in_turn

    gets: dict[str, _Make] = {
        "/emissions/bylocation": past(api.by_location),
        "/emissions/bylocations": past(api.by_locations),
        "/emissions/bylocations/best": past(api.best),
        "/emissions/forecasts/current": api.current_forecast,
        "/emissions/average-carbon-intensity": past(api.average),
        "/locations": api.locations,
    }
    posts: dict[str, _Make] = {
        "/emissions/forecasts/batch": api.batch_forecast,
        "/emissions/average-carbon-intensity/batch": api.batch_average,
    }
    return [
        *(Endpoint("GET", f"{prefix}{path}", _answering(make), _said(path)) for path, make in gets.items()),
        *(Endpoint("POST", f"{prefix}{path}", _answering(make), _said(path, _ROWS)) for path, make in posts.items()),
        Endpoint("GET", f"{prefix}/health", health, _HEALTH),
    ]


_Make = Callable[["Request"], Awaitable[Any]]
_ROWS: Final = {"type": "array", "items": OBJECT}
_HEALTH: Final = Operation(
    summary="Carbon Aware SDK: whether it can do its work",
    answer=TEXT,
    media="text/plain; charset=utf-8",
    errors=(503,),
    query=None,
    scope=None,
)


def _said(path: str, body: Any = None) -> Operation:
    return Operation(
        summary=f"Carbon Aware SDK: {path} (docs/carbon-aware-api.md)",
        answer={},
        media="application/json; charset=utf-8",
        more={204: None},
        errors=(400, 408, 413, 415, 429, 500, 501) if body else (400, 429, 500, 501),
        query=None,
        body=body,
    )


def _answering(make: _Make) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint: data as JSON, nothing as 204, a problem as such."""

    async def answer(request: Request) -> Response:
        try:
            content = await make(request)
        except Problem as problem:
            body = msgspec.json.encode(problem.document())
            return Response(body, problem.status, media_type="application/problem+json; charset=utf-8")
        if content is None:
            return Response(status_code=204)
        encoded = await asyncio.to_thread(msgspec.json.encode, content)  # of a year there is much
        return Response(encoded, media_type="application/json; charset=utf-8")

    return answer


class _Api:
    """The endpoints."""

    def __init__(self, store: IntensityStore, wall: Callable[[], float], turns: Turns) -> None:
        self._store, self._wall, self._turns = store, wall, turns

    async def locations(self, _request: Request) -> dict[str, Any] | None:
        return {
            name: {"latitude": place.latitude, "longitude": place.longitude, "name": name}
            for name, place in self._store.locations().items()
        } or None

    # --- what was -------------------------------------------------------------------------------------------------

    async def by_location(self, request: Request) -> list[dict[str, Any]] | None:
        return await self.by_locations(request, single=True)

    async def by_locations(self, request: Request, *, single: bool = False) -> list[dict[str, Any]] | None:
        names = locations(request)
        observed = await self._observed(request, names[:1] if single else names)
        return await asyncio.to_thread(_emissions, observed)

    async def best(self, request: Request) -> list[dict[str, Any]] | None:
        observed = await self._observed(request, locations(request))
        least = min((point.g_per_kwh for _, point in observed), default=None)
        return await asyncio.to_thread(_emissions, [one for one in observed if one[1].g_per_kwh == least])

    async def average(self, request: Request) -> dict[str, Any] | None:
        name = request.query_params.get("location", "")
        row = await self._average(*_complete(name, time_of(request, "startTime"), time_of(request, "endTime")))
        return row if row["carbonIntensity"] is not None else None

    async def batch_average(self, request: Request) -> list[dict[str, Any]]:
        asked = [
            _complete(text_of(row, "location"), moment_of(row, "startTime"), moment_of(row, "endTime"))
            for row in await rows(request)
        ]
        bounded("$", sum(abs((end - start).total_seconds()) for _, start, end in asked))
        async with self._turns.turn():
            return [await self._average(*one) for one in asked]

    async def _average(self, name: str, start: datetime, end: datetime) -> dict[str, Any]:
        start_s, end_s = ordered(("startTime", start), ("endTime", end))
        value, known = await asyncio.to_thread(mean, await self._points(name, start_s, end_s), start_s, end_s)
        return {
            "location": name,
            "startTime": stamp(start),
            "endTime": stamp(end),
            "carbonIntensity": value if known >= _LEAST_KNOWN else None,
        }

    async def _observed(self, request: Request, names: Sequence[str]) -> list[tuple[str, Point]]:
        start, end = time_of(request, "time"), time_of(request, "toTime")
        if end is not None and start is None:
            raise invalid({"time": ["time must be defined if toTime is defined"]})
        if start is None:
            start_s = self._wall()
            end_s = start_s
        elif end is None:
            start_s = end_s = start.timestamp()
        else:
            start_s, end_s = ordered(("time", start), ("toTime", end))
        bounded("toTime", (end_s - start_s) * len(names))
        observed: list[tuple[str, Point]] = []
        for name in names:
            observed += [(name, point) for point in await self._points(name, start_s, end_s, whole=True)]
            if len(observed) > _MOST_POINTS:
                raise invalid({"toTime": [f"more than {_MOST_POINTS} points; ask for fewer locations or less time"]})
        return observed

    async def _points(self, name: str, start_s: float, end_s: float, *, whole: bool = False) -> list[Point]:
        """Return what was observed over a span, or at a moment.

        Args:
            name: The location.
            start_s: Unix time.
            end_s: Unix time; ``start_s`` for a moment.
            whole: Give points at the ends with the times that their source gave, as the SDK does.
        """
        first_s, last_s = int(start_s), max(int(start_s) + 1, -int(-end_s // 1))
        steps = await self._store.readings(self._grid(name), first_s, last_s)
        at_s = start_s if start_s == end_s else None
        return await asyncio.to_thread(_picked, steps, (first_s, last_s), at_s, whole=whole)

    # --- what will be ---------------------------------------------------------------------------------------------

    async def current_forecast(self, request: Request) -> list[dict[str, Any]]:
        names, now = locations(request), utc(self._wall())
        start, end = time_of(request, "dataStartAt"), time_of(request, "dataEndAt")
        window = request.query_params.get("windowSize")
        if window is not None and not (window.isascii() and window.isdigit() and len(window) < 10):
            raise unreadable("windowSize", window)
        return [await self._forecast(name, now, start, end, int(window or 0)) for name in names]

    async def batch_forecast(self, request: Request) -> list[dict[str, Any]]:
        asked = []
        for row in await rows(request):
            name, requested, window = (
                text_of(row, "location"),
                moment_of(row, "requestedAt"),
                row.get("windowSize") or 0,
            )
            if not name or requested is None:
                raise missing(location=name, requestedAt=requested)
            if not isinstance(window, int) or isinstance(window, bool):
                raise unreadable("windowSize", window)
            asked.append((name, requested, moment_of(row, "dataStartAt"), moment_of(row, "dataEndAt"), window))
        async with self._turns.turn():
            return [await self._forecast(*one) for one in asked]

    async def _forecast(
        self, name: str, requested: datetime, start: datetime | None, end: datetime | None, window_min: int
    ) -> dict[str, Any]:
        if not 0 <= window_min <= _LONGEST_WINDOW_MIN:
            raise invalid({"windowSize": [f"windowSize must be 0 to {_LONGEST_WINDOW_MIN} minutes"]})
        readings = await self._store.forecast(self._grid(name), int(requested.timestamp()))
        if not readings:
            raise Problem(501, "NotImplementedException", f"There is no forecast for location '{name}'.")
        points = [Point(float(one.start_s), float(one.end_s), one.g_per_kwh) for one in readings]
        start_s = points[0].start_s if start is None else start.timestamp()
        end_s = points[-1].end_s if end is None else end.timestamp()
        _within(points, start_s, end_s)
        try:
            found = windows(points, start_s, end_s, window_min * 60.0 if window_min else None)
        except ValueError as error:
            raise Problem(500, "InvalidOperationException", f"The forecast of '{name}' has a fault: {error}.") from None
        first_min = round((points[0].end_s - points[0].start_s) / 60)
        return {
            "generatedAt": stamp(utc(max(one.issued_s for one in readings))),
            "requestedAt": stamp(requested),
            "location": name,
            "dataStartAt": stamp(start or utc(start_s)),
            "dataEndAt": stamp(end or utc(end_s)),
            "windowSize": window_min or first_min,
            "optimalDataPoints": [_forecasted(name, point) for point in cleanest(found)],
            "forecastData": [_forecasted(name, point) for point in found],
        }

    def _grid(self, name: str) -> str:
        place = self._store.locations().get(name)
        if place is None:
            raise invalid({"location": [f"Unknown Location: '{name[:100]}' not found"]})
        return place.grid


def _complete(name: str, start: datetime | None, end: datetime | None) -> tuple[str, datetime, datetime]:
    if not name or start is None or end is None:
        raise missing(location=name, startTime=start, endTime=end)
    return name, start, end


def _picked(steps: Steps, span_s: tuple[int, int], at_s: float | None, *, whole: bool) -> list[Point]:
    """Return what of a series was observed; see ``_points``. ``at_s`` is the moment, if it is one."""
    first_s, last_s = span_s
    points = []
    for i, which in enumerate(steps.which.tolist()):
        if which < 0 or steps.readings[which].standing is Standing.FORECAST:
            continue
        reading, from_s, until_s = steps.readings[which], float(steps.edges[i]), float(steps.edges[i + 1])
        if whole and reading.standing is not Standing.FALLBACK:
            from_s = reading.start_s if from_s <= first_s else from_s
            until_s = reading.end_s if until_s >= last_s else until_s
        elif whole and at_s is not None:  # a fallback holds for a year or longer; here it answers for its hour
            from_s = at_s // 3600 * 3600
            until_s = from_s + 3600
        points.append(Point(from_s, until_s, float(steps.g_per_kwh[i])))
    return points


def _emissions(observed: Sequence[tuple[str, Point]]) -> list[dict[str, Any]] | None:
    return [_emission(name, point) for name, point in observed] or None


def _emission(name: str, point: Point) -> dict[str, Any]:
    return {
        "location": name,
        "time": stamp(utc(point.start_s)),
        "rating": point.g_per_kwh,
        "duration": span(point.end_s - point.start_s),
    }


def _forecasted(name: str, point: Point) -> dict[str, Any]:
    minutes = int((point.end_s - point.start_s) / 60)
    return {"location": name, "timestamp": stamp(utc(point.start_s)), "duration": minutes, "value": point.g_per_kwh}


def _within(points: Sequence[Point], start_s: float, end_s: float) -> None:
    errors: dict[str, list[str]] = {}
    first_s, last_s = points[0].start_s, points[-1].end_s
    through = f"'{stamp(utc(first_s))}' through '{stamp(utc(last_s))}'"
    if start_s >= end_s:
        errors.setdefault("dataStartAt", []).append("dataStartAt must be earlier than dataEndAt")
    for name, at_s in (("dataStartAt", start_s), ("dataEndAt", end_s)):
        if not first_s <= at_s <= last_s:
            text = f"{name} must be within time range of the forecasted data, {through}"
            errors.setdefault(name, []).append(text)
    if errors:
        raise Problem(400, "ArgumentException", "Invalid EmissionsForecast", errors)
