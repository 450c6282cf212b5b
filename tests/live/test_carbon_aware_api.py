"""The Carbon Aware SDK's surface, asked as its own tests and clients ask it, over a real socket."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest

from evenwatt_collector.carbon.series import Basis, Kind, Reading, Standing, resolve
from evenwatt_collector.carbon_aware_api import Place, carbon_aware_routes
from evenwatt_collector.carbon_aware_wire import span, stamp
from evenwatt_collector.http.application import application
from tests.live.alerts import served

NOW = datetime(2026, 6, 2, 10, 28, 46, 864407, tzinfo=UTC)
DAY = datetime(2026, 6, 1, tzinfo=UTC)


class Emission(msgspec.Struct, forbid_unknown_fields=True):
    """``EmissionsData`` of the SDK; generated clients refuse keys that are not in its schema."""

    location: str
    time: datetime
    rating: float
    duration: str


class Forecasted(msgspec.Struct, forbid_unknown_fields=True):
    """``EmissionsDataDTO``."""

    location: str
    timestamp: datetime
    duration: int
    value: float


class Forecast(msgspec.Struct, forbid_unknown_fields=True):
    """``EmissionsForecastDTO``."""

    generatedAt: datetime  # noqa: N815  (the SDK's names)
    requestedAt: datetime  # noqa: N815
    location: str
    dataStartAt: datetime  # noqa: N815
    dataEndAt: datetime  # noqa: N815
    windowSize: int  # noqa: N815
    optimalDataPoints: list[Forecasted]  # noqa: N815
    forecastData: list[Forecasted]  # noqa: N815


class Intensity(msgspec.Struct, forbid_unknown_fields=True):
    """``CarbonIntensityDTO``."""

    location: str
    startTime: datetime  # noqa: N815
    endTime: datetime  # noqa: N815
    carbonIntensity: float  # noqa: N815


class Problem(msgspec.Struct):
    """``ValidationProblemDetails``."""

    title: str
    status: int
    errors: dict[str, list[str]]
    detail: str = ""


def reading(grid, start, minutes, value, standing=Standing.MEASURED, issued=None, source="provider"):
    start_s = int(start.timestamp())
    issued_s = int((issued or start).timestamp())
    return Reading(
        grid=grid,
        start_s=start_s,
        end_s=start_s + 60 * minutes,
        g_per_kwh=value,
        kind=Kind.AVERAGE,
        basis=Basis.LIFECYCLE,
        source=source,
        standing=standing,
        issued_s=issued_s,
        recorded_s=issued_s,
    )


class Store:
    """Readings in memory, resolved as the collector does."""

    def __init__(self, *readings, places=None):
        self.readings_of = list(readings)
        self.places = {"eastus": Place("PJM", 37.3719, -79.8164), "westus": Place("CISO"), "hall-1": Place("DE")}
        if places is not None:
            self.places = places

    def locations(self):
        return self.places

    async def readings(self, grid, start_s, end_s):
        return resolve([r for r in self.readings_of if r.grid == grid], start_s, end_s)

    async def forecast(self, grid, now_s):
        among = [
            r for r in self.readings_of if r.grid == grid and r.standing is Standing.FORECAST and r.issued_s <= now_s
        ]
        newest = max((r.issued_s for r in among), default=None)
        return [r for r in among if r.issued_s == newest]


HOURLY = [
    *(reading("PJM", DAY + timedelta(hours=h), 60, 500.0 + h) for h in range(24)),
    *(reading("CISO", DAY + timedelta(hours=h), 60, 300.0 + (h - 12) ** 2) for h in range(24)),
]
AHEAD = [
    reading(
        "PJM",
        NOW.replace(minute=30, second=0, microsecond=0) + timedelta(minutes=5 * i),
        5,
        value,
        Standing.FORECAST,
        NOW,
    )
    for i, value in enumerate([10.0, 20.0, 30.0, 40.0, 5.0, 5.0])
]


@pytest.fixture
def ask():
    """Ask a server of a store; return status, content type and body."""

    async def asked(store, path, *, method="GET", healthy=True, prefix="", **more):
        routes = carbon_aware_routes(store, healthy=lambda: healthy, wall=NOW.timestamp, prefix=prefix)
        async with served(application(routes)) as url, httpx.AsyncClient() as client:
            return await client.request(method, f"{url}{path}", **more)

    return asked


def read(response, kind):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    return msgspec.json.decode(response.content, type=kind)


def problem(response, status=400):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json; charset=utf-8"
    found = msgspec.json.decode(response.content, type=Problem)
    assert found.status == status
    return found


# The cases of the SDK's own CarbonAwareControllerTests.cs, moved to the days that there are data for.
@pytest.mark.parametrize("path", ["/emissions/bylocation", "/emissions/bylocations", "/emissions/bylocations/best"])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-06-01T04:05:06.0000000+00:00", "2026-06-01T08:05:06.0000000+00:00"),
        ("2026-6-1T04:05:06Z", "2026-6-1T08:05:06Z"),
        ("2026-06-01T10:05:06+06:00", "2026-06-01T14:05:06+06:00"),
    ],
)
async def test_what_was_between_two_times(ask, path, start, end):
    answer = await ask(Store(*HOURLY), path, params={"location": "eastus", "time": start, "toTime": end})
    rows = read(answer, list[Emission])
    expected = [504.0] if path.endswith("best") else [504.0, 505.0, 506.0, 507.0, 508.0]
    assert [row.rating for row in rows] == expected
    assert rows[0].location == "eastus"
    assert rows[0].time == DAY + timedelta(hours=4)
    assert rows[0].duration == "01:00:00"


@pytest.mark.parametrize(
    "path",
    [
        "/emissions/bylocation",
        "/emissions/bylocations",
        "/emissions/bylocations/best",
        "/emissions/forecasts/current",
        "/emissions/average-carbon-intensity",
    ],
)
@pytest.mark.parametrize("params", [{"location": ""}, {"non-location-param": ""}])
async def test_without_a_location_it_is_a_bad_request(ask, path, params):
    found = problem(await ask(Store(*HOURLY), path, params=params))
    assert found.errors["location"] == ["location is not set"]


async def test_several_locations_and_the_best_of_them(ask):
    params = {"location": ["eastus", "westus"], "time": "2026-06-01T11:00:00Z", "toTime": "2026-06-01T14:00:00Z"}
    rows = read(await ask(Store(*HOURLY), "/emissions/bylocations", params=params), list[Emission])
    assert [(row.location, row.rating) for row in rows] == [
        ("eastus", 511.0),
        ("eastus", 512.0),
        ("eastus", 513.0),
        ("westus", 301.0),
        ("westus", 300.0),
        ("westus", 301.0),
    ]
    (best,) = read(await ask(Store(*HOURLY), "/emissions/bylocations/best", params=params), list[Emission])
    assert (best.location, best.time, best.rating) == ("westus", DAY + timedelta(hours=12), 300.0)


async def test_all_that_are_equally_good_are_best(ask):
    store = Store(reading("PJM", DAY, 60, 7.0), reading("CISO", DAY, 60, 7.0))
    params = {"location": ["eastus", "westus"], "time": "2026-06-01", "toTime": "2026-06-02"}
    rows = read(await ask(store, "/emissions/bylocations/best", params=params), list[Emission])
    assert [row.location for row in rows] == ["eastus", "westus"]


async def test_one_time_is_that_moment_and_none_is_now(ask):
    store = Store(*HOURLY, reading("PJM", NOW.replace(minute=0, second=0, microsecond=0), 60, 444.0))
    moment = {"location": "eastus", "time": "2026-06-01T04:30:00Z"}
    (row,) = read(await ask(store, "/emissions/bylocation", params=moment), list[Emission])
    assert (row.time, row.rating) == (DAY + timedelta(hours=4), 504.0)
    (now,) = read(await ask(store, "/emissions/bylocation", params={"location": "eastus"}), list[Emission])
    assert now.rating == 444.0


async def test_where_nothing_is_known_there_is_no_content(ask):
    for path in ("/emissions/bylocation", "/emissions/bylocations", "/emissions/bylocations/best"):
        answer = await ask(Store(), path, params={"location": "eastus"})
        assert (answer.status_code, answer.content) == (204, b"")
    span_of = {"location": "eastus", "startTime": "2026-06-01", "endTime": "2026-06-02"}
    answer = await ask(Store(), "/emissions/average-carbon-intensity", params=span_of)
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_forecast_is_never_given_as_observed(ask):
    answer = await ask(
        Store(*AHEAD), "/emissions/bylocation", params={"location": "eastus", "time": "2026-06-02T10:31:00Z"}
    )
    assert answer.status_code == 204


async def test_a_fallback_answers_for_its_hour(ask):
    yearly = reading("DE", datetime(2026, 1, 1, tzinfo=UTC), 525_600, 344.0, Standing.FALLBACK)
    (row,) = read(await ask(Store(yearly), "/emissions/bylocation", params={"location": "hall-1"}), list[Emission])
    assert (row.rating, row.time, row.duration) == (344.0, NOW.replace(minute=0, second=0, microsecond=0), "01:00:00")
    params = {"location": "hall-1", "time": "2026-06-01", "toTime": "2026-06-03"}
    (row,) = read(await ask(Store(yearly), "/emissions/bylocation", params=params), list[Emission])
    assert (row.time, row.duration) == (DAY, "2.00:00:00")


async def test_a_correction_is_what_is_given(ask):
    corrected = replace(
        HOURLY[4], g_per_kwh=111.0, issued_s=HOURLY[4].issued_s + 1, recorded_s=HOURLY[4].recorded_s + 1
    )
    params = {"location": "eastus", "time": "2026-06-01T04:30:00Z"}
    (row,) = read(await ask(Store(*HOURLY, corrected), "/emissions/bylocation", params=params), list[Emission])
    assert row.rating == 111.0


@pytest.mark.parametrize(
    ("params", "errors"),
    [
        ({"toTime": "2026-06-01"}, {"time": ["time must be defined if toTime is defined"]}),
        ({"time": "2026-06-02", "toTime": "2026-06-01"}, {"time": ["time must be before toTime"]}),
        ({"time": "2026-06-01", "toTime": "2026-06-01"}, {"time": ["time must be before toTime"]}),
        ({"time": "yesterday"}, {"time": ["The value 'yesterday' is not valid."]}),
        ({"time": "2026-13-01"}, {"time": ["The value '2026-13-01' is not valid."]}),
        ({"time": "0001-01-01"}, {"time": ["The value '0001-01-01' is not valid."]}),
        ({"time": "2020-01-01", "toTime": "2026-01-01"}, {"toTime": ["toTime must be at most 366 days after time"]}),
    ],
)
async def test_times_that_make_no_sense_are_named(ask, params, errors):
    found = problem(await ask(Store(*HOURLY), "/emissions/bylocation", params={"location": "eastus"} | params))
    assert found.errors == errors


async def test_more_time_than_is_read_at_once_is_named(ask):
    names = [f"town-{number}" for number in range(11)]
    asked = {"location": names, "time": "2025-01-01", "toTime": "2026-01-01"}
    found = problem(await ask(Store(*HOURLY), "/emissions/bylocations", params=asked))
    assert found.errors == {"toTime": ["4015 days in all; at most 3660 at once"]}
    rows = [{"location": name, "startTime": "2025-01-01", "endTime": "2026-01-01"} for name in names]
    answer = await ask(Store(*HOURLY), "/emissions/average-carbon-intensity/batch", method="POST", json=rows)
    assert problem(answer).errors == {"$": ["4015 days in all; at most 3660 at once"]}


async def test_an_unknown_location_is_named(ask):
    for path in ("/emissions/bylocation", "/emissions/forecasts/current"):
        found = problem(await ask(Store(*HOURLY), path, params={"location": "atlantis"}))
        assert found.errors == {"location": ["Unknown Location: 'atlantis' not found"]}


async def test_a_plus_that_was_not_escaped_is_understood(ask):
    query = "?location=eastus&time=2026-06-01T10:30:00+06:00"
    (row,) = read(await ask(Store(*HOURLY), f"/emissions/bylocation{query}"), list[Emission])
    assert row.rating == 504.0


async def test_the_current_forecast_as_the_sdk_gives_it(ask):
    (found,) = read(
        await ask(Store(*AHEAD), "/emissions/forecasts/current", params={"location": "eastus"}), list[Forecast]
    )
    start = datetime(2026, 6, 2, 10, 30, tzinfo=UTC)
    assert found.generatedAt == NOW.replace(microsecond=0)
    assert found.requestedAt == NOW
    assert (found.dataStartAt, found.dataEndAt, found.windowSize) == (start, start + timedelta(minutes=30), 5)
    assert [point.value for point in found.forecastData] == [10, 20, 30, 40, 5, 5]
    assert [point.timestamp for point in found.optimalDataPoints] == [start + timedelta(minutes=m) for m in (20, 25)]
    assert {point.duration for point in found.forecastData} == {5}


async def test_a_window_within_bounds(ask):
    params = {
        "location": "eastus",
        "dataStartAt": "2026-06-02T10:32:00Z",
        "dataEndAt": "2026-06-02T10:55:00Z",
        "windowSize": "10",
    }
    (found,) = read(await ask(Store(*AHEAD), "/emissions/forecasts/current", params=params), list[Forecast])
    assert found.windowSize == 10
    assert [point.value for point in found.forecastData] == pytest.approx([19, 29, 30])
    (best,) = found.optimalDataPoints
    assert (best.timestamp, best.duration) == (datetime(2026, 6, 2, 10, 32, tzinfo=UTC), 10)


async def test_a_window_that_does_not_fit_finds_nothing(ask):
    params = {"location": "eastus", "windowSize": "31"}
    (found,) = read(await ask(Store(*AHEAD), "/emissions/forecasts/current", params=params), list[Forecast])
    assert (found.optimalDataPoints, found.forecastData, found.windowSize) == ([], [], 31)


async def test_bounds_outside_the_forecast_are_a_bad_request(ask):
    params = {"location": "eastus", "dataStartAt": "1999-01-01T00:00:00Z", "dataEndAt": "1999-01-02T00:00:00Z"}
    found = problem(await ask(Store(*AHEAD), "/emissions/forecasts/current", params=params))
    assert set(found.errors) == {"dataStartAt", "dataEndAt"}
    through = "'2026-06-02T10:30:00+00:00' through '2026-06-02T11:00:00+00:00'"
    assert found.errors["dataEndAt"] == [f"dataEndAt must be within time range of the forecasted data, {through}"]


async def test_without_a_forecast_it_is_not_implemented(ask):
    found = problem(await ask(Store(*HOURLY), "/emissions/forecasts/current", params={"location": "eastus"}), 501)
    assert found.title == "NotImplementedException"


async def test_a_forecast_with_a_hole_is_no_ones_fault_but_ours(ask):
    holed = Store(*AHEAD[:2], *AHEAD[3:])
    found = problem(await ask(holed, "/emissions/forecasts/current", params={"location": "eastus"}), 500)
    assert "contiguous" in found.detail


@pytest.mark.parametrize("window", ["-5", "ten", "1.5", "99999999999", "600000", "\u0663"])
async def test_a_window_that_makes_no_sense_is_named(ask, window):
    params = {"location": "eastus", "windowSize": window}
    assert "windowSize" in problem(await ask(Store(*AHEAD), "/emissions/forecasts/current", params=params)).errors


async def test_a_batch_sees_each_forecast_as_it_was_known_then(ask):
    earlier = [replace(r, g_per_kwh=r.g_per_kwh + 100, issued_s=r.issued_s - 3600) for r in AHEAD]
    rows = [
        {"location": "eastus", "requestedAt": "2026-06-02T10:00:00Z", "windowSize": 10},
        {
            "location": "eastus",
            "requestedAt": "2026-06-02T16:29:00+06:00",
            "dataStartAt": "2026-06-02T10:30:00Z",
            "dataEndAt": "2026-06-02T10:40:00Z",
        },
    ]
    answer = await ask(Store(*AHEAD, *earlier), "/emissions/forecasts/batch", method="POST", json=rows)
    old, new = read(answer, list[Forecast])
    assert [point.value for point in old.forecastData] == pytest.approx([115, 125, 135, 122.5, 105])
    assert old.generatedAt == NOW.replace(microsecond=0) - timedelta(hours=1)
    assert [point.value for point in new.forecastData] == [10, 20]
    assert new.requestedAt == datetime(2026, 6, 2, 10, 29, tzinfo=UTC)
    assert answer.json()[1]["requestedAt"] == "2026-06-02T16:29:00+06:00"


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ({"location": None, "requestedAt": None}, {"location", "requestedAt"}),
        ({"location": "eastus", "requestedAt": None}, {"requestedAt"}),
        ({"location": None, "requestedAt": "2021-09-01T08:30:00Z"}, {"location"}),
        ({"location": "eastus", "requestedAt": "2021-9-1T08:30:00Z"}, {"requestedAt"}),
        ({"location": "eastus", "requestedAt": 5}, {"requestedAt"}),
        ({"location": 5, "requestedAt": "2021-09-01T08:30:00Z"}, {"location"}),
        ({"location": "eastus", "requestedAt": "2026-06-02T10:30:00Z", "windowSize": "10"}, {"windowSize"}),
        ({"location": "eastus", "requestedAt": "2026-06-02T10:30:00Z", "windowSize": True}, {"windowSize"}),
    ],
)
async def test_a_forecast_batch_that_lacks_something_is_a_bad_request(ask, row, names):
    answer = await ask(Store(*AHEAD), "/emissions/forecasts/batch", method="POST", json=[row])
    assert set(problem(answer).errors) == names


async def test_the_average_is_weighted_by_time(ask):
    params = {"location": "eastus", "startTime": "2026-06-01T10:45:00+06:00", "endTime": "2026-06-01T12:30:00+06:00"}
    answer = await ask(Store(*HOURLY), "/emissions/average-carbon-intensity", params=params)
    found = read(answer, Intensity)
    assert found.carbonIntensity == pytest.approx((504 * 15 + 505 * 60 + 506 * 30) / 105)
    assert answer.json()["startTime"] == "2026-06-01T10:45:00+06:00", "as it was asked"


async def test_an_average_over_a_hole_is_none(ask):
    holed = Store(*HOURLY[:4], *HOURLY[6:24])
    params = {"location": "eastus", "startTime": "2026-06-01T00:00:00Z", "endTime": "2026-06-01T06:00:00Z"}
    assert (await ask(holed, "/emissions/average-carbon-intensity", params=params)).status_code == 204
    rows = [params, params | {"endTime": "2026-06-01T04:00:00Z"}]
    answer = await ask(holed, "/emissions/average-carbon-intensity/batch", method="POST", json=rows)
    assert [row["carbonIntensity"] for row in answer.json()] == [None, 501.5]


@pytest.mark.parametrize("count", [1, 3])
async def test_averages_in_a_batch(ask, count):
    row = {"location": "westus", "startTime": "2026-06-01T00:00:00+06:00", "endTime": "2026-06-02T00:00:00"}
    answer = await ask(Store(*HOURLY), "/emissions/average-carbon-intensity/batch", method="POST", json=[row] * count)
    assert answer.status_code == 200
    assert len(answer.json()) == count
    late = row | {"startTime": "2026-06-01T00:00:00"}
    answer = await ask(Store(*HOURLY), "/emissions/average-carbon-intensity/batch", method="POST", json=[late] * count)
    for found in read(answer, list[Intensity]):
        assert found.location == "westus"
        assert found.carbonIntensity == pytest.approx(300 + sum((h - 12) ** 2 for h in range(24)) / 24)


@pytest.mark.parametrize(
    ("location", "start", "end", "names"),
    [
        (None, None, None, {"location", "startTime", "endTime"}),
        ("eastus", None, None, {"startTime", "endTime"}),
        ("eastus", "2022-03-01T15:30:00Z", None, {"endTime"}),
        ("eastus", None, "2022-03-01T18:00:00Z", {"startTime"}),
        ("westus", "2022-3-1T15:30:00Z", "2022-3-1T18:00:00Z", {"startTime"}),
    ],
)
async def test_an_average_batch_that_lacks_something_is_a_bad_request(ask, location, start, end, names):
    row = {"location": location, "startTime": start, "endTime": end}
    answer = await ask(Store(*HOURLY), "/emissions/average-carbon-intensity/batch", method="POST", json=[row])
    assert set(problem(answer).errors) == names


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"{}", "application/json", 400),
        (b"[5]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[]", "text/plain", 415),
        (b"[" + b" " * 1_100_000 + b"]", "application/json; charset=utf-8", 413),
        (b"[" + b"{}," * 1_000 + b"{}]", "application/json", 400),
    ],
)
async def test_a_body_that_is_no_batch_is_refused(ask, content, kind, status):
    headers = {"Content-Type": kind}
    problem(await ask(Store(), "/emissions/forecasts/batch", method="POST", content=content, headers=headers), status)


async def test_an_empty_batch_is_an_empty_answer(ask):
    assert (await ask(Store(), "/emissions/forecasts/batch", method="POST", json=[])).json() == []


async def test_locations_health_and_what_there_is_not(ask):
    answer = await ask(Store(), "/locations")
    assert answer.json()["eastus"] == {"latitude": 37.3719, "longitude": -79.8164, "name": "eastus"}
    assert answer.json()["westus"] == {"latitude": None, "longitude": None, "name": "westus"}
    assert (await ask(Store(places={}), "/locations")).status_code == 204
    assert (await ask(Store(), "/health")).text == "Healthy"
    ill = await ask(Store(), "/health", healthy=False)
    assert (ill.status_code, ill.text) == (503, "Unhealthy")
    assert (await ask(Store(), "/fake-endpoint")).status_code == 404
    assert (await ask(Store(), "/emissions/bylocation", method="POST")).status_code == 405
    assert (await ask(Store(), "/carbon/locations", prefix="/carbon")).status_code == 200


def test_times_are_written_as_dotnet_writes_them():
    assert stamp(datetime(2026, 6, 1, 14, 45, tzinfo=UTC)) == "2026-06-01T14:45:00+00:00"
    assert stamp(datetime(2026, 6, 1, 14, 45, 11, 509_200, tzinfo=UTC)) == "2026-06-01T14:45:11.5092+00:00"
    assert span(300) == "00:05:00"
    assert span(90_061) == "1.01:01:01"
