import pytest

from evenwatt_collector.carbon.providers.contract import ProviderError, Trouble, iso, unix_s
from evenwatt_collector.carbon.series import Basis, Kind, Standing
from tests.carbon.providers.server import Reply

HOUR = 3600
NOW = unix_s("2026-03-10T12:00:00Z")


@pytest.fixture
def source(build):
    return lambda **more: build("carbon-aware-sdk", location="eastus", kind="marginal", basis="direct", **more)


def rating(at_s, value, **more):
    return {"location": "PJM_DC", "time": iso(at_s), "rating": value, "duration": "01:00:00"} | more


async def test_ratings_are_what_the_settings_say(source, replay):
    replay.on("/emissions/bylocation", [rating(NOW - HOUR, 545.2), rating(NOW - 2 * HOUR, 540, duration="00:05:00")])
    found = await source().past(NOW - 3 * HOUR, NOW, NOW)
    assert [(r.g_per_kwh, r.end_s - r.start_s) for r in found] == [(545.2, HOUR), (540, 300)]
    assert {(r.kind, r.basis, r.standing) for r in found} == {(Kind.MARGINAL, Basis.DIRECT, Standing.MEASURED)}
    asked = dict(replay.requests[0].query_params)
    assert asked == {"location": "eastus", "time": iso(NOW - 3 * HOUR), "toTime": iso(NOW)}


@pytest.mark.parametrize(
    ("duration", "length_s"), [("1.00:00:00", 86_400), ("00:30:00.0000000", 1800), (None, HOUR), ("00:00:00", HOUR)]
)
async def test_durations_of_net(source, replay, duration, length_s):
    replay.on("/emissions/bylocation", [rating(NOW - 2 * HOUR, 1, duration=duration)])
    assert [r.end_s - r.start_s for r in await source().past(NOW - 3 * HOUR, NOW, NOW)] == [length_s]


async def test_nothing_there(source, replay):
    replay.on("/emissions", Reply(b"", 204))
    assert await source().past(NOW - HOUR, NOW, NOW) == []
    assert await source().ahead(HOUR, NOW) == []


async def test_the_forecast(source, replay):
    values = [
        {"location": "PJM_DC", "timestamp": iso(NOW + i * 300), "duration": 5, "value": 400 + i} for i in range(3)
    ]
    body = {"generatedAt": iso(NOW - 60), "requestedAt": iso(NOW), "location": "eastus", "windowSize": 5}
    replay.on("/emissions/forecasts/current", [body | {"optimalDataPoints": [], "forecastData": values}])
    found = await source().ahead(600, NOW)
    assert [(r.start_s, r.end_s, r.g_per_kwh) for r in found] == [
        (NOW, NOW + 300, 400),
        (NOW + 300, NOW + 600, 401),
    ]
    assert {(r.standing, r.issued_s) for r in found} == {(Standing.FORECAST, NOW - 60)}


async def test_a_source_of_its_own_that_does_not_forecast(source, replay):
    replay.on("/emissions/forecasts", Reply({"title": "NotImplemented"}, 501))
    assert await source().ahead(HOUR, NOW) == []


async def test_the_region_is_checked_where_it_is_named(source, replay):
    replay.on("/emissions/bylocation", [rating(NOW - HOUR, 5)])
    assert len(await source(region="PJM_DC").past(NOW - HOUR, NOW, NOW)) == 1
    with pytest.raises(ProviderError, match="'PJM_DC', expected 'CAISO_NORTH'"):
        await source(region="CAISO_NORTH").past(NOW - HOUR, NOW, NOW + 600)


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (Reply({"errors": {"location": ["Unknown"]}}, 400), Trouble.UNKNOWN_ZONE, "GET /locations"),
        ([rating(NOW, 1, time="then")], Trouble.NONSENSE, "time 'then'"),
        ([rating(NOW, 1, duration="an hour")], Trouble.NONSENSE, "'an hour', expected hh:mm:ss"),
        ({"rating": 1}, Trouble.NONSENSE, "documented JSON"),
    ],
)
async def test_nonsense_is_named(source, replay, reply, kind, says):
    replay.on("/emissions/bylocation", reply)
    with pytest.raises(ProviderError, match=says) as caught:
        await source().past(NOW - HOUR, NOW, NOW)
    assert caught.value.kind is kind
