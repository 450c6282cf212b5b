import pytest

from evenwatt_collector.carbon.providers.contract import ProviderError, Trouble, iso, unix_s
from evenwatt_collector.carbon.series import Basis, Kind, Standing
from tests.carbon.providers.server import Reply

HOUR = 3600
NOW = unix_s("2026-03-10T12:20:00Z")


def point(at_s, value, **more):
    said = {"zone": "DE", "carbonIntensity": value, "datetime": iso(at_s, "%Y-%m-%dT%H:%M:%S.000Z")}
    said |= {"updatedAt": iso(at_s + 1800), "createdAt": iso(at_s), "emissionFactorType": "lifecycle"}
    return said | {"isEstimated": False, "estimationMethod": None} | more


def history(*points):
    return {"zone": "DE", "history": list(points), "temporalGranularity": "hourly"}


async def test_history_is_read_with_its_provenance(build, replay):
    ten = unix_s("2026-03-10T10:00:00Z")
    replay.on("/carbon-intensity/history", history(point(ten, 302), point(ten + HOUR, 310.5, isEstimated=True)))
    found = await build("electricity-maps", zone="DE").past(ten, NOW, NOW)
    assert [(r.start_s, r.end_s, r.g_per_kwh, r.standing) for r in found] == [
        (ten, ten + HOUR, 302, Standing.MEASURED),
        (ten + HOUR, ten + 2 * HOUR, 310.5, Standing.ESTIMATED),
    ]
    assert {(r.grid, r.kind, r.basis, r.source, r.recorded_s) for r in found} == {
        ("DE", Kind.AVERAGE, Basis.LIFECYCLE, "electricity-maps", NOW)
    }
    assert [r.issued_s for r in found] == [ten + 1800, ten + HOUR + 1800]
    asked = replay.requests[0]
    assert asked.headers["auth-token"] == "s3cr3t/key+With=Signs"
    assert dict(asked.query_params) == {
        "zone": "DE",
        "emissionFactorType": "lifecycle",
        "temporalGranularity": "hourly",
        "disableCallerLookup": "true",
    }


async def test_days_ago_are_asked_as_a_range_and_a_plan_without_it_falls_back_to_a_day(build, replay):
    start = NOW - 5 * 86_400
    replay.on("/carbon-intensity/past-range", Reply({"message": "not in your plan"}, 403))
    replay.on("/carbon-intensity/history", history(point(NOW - NOW % HOUR - HOUR, 250)))
    source = build("electricity-maps", zone="DE")
    assert len(await source.past(start, NOW, NOW)) == 1
    assert len(await source.past(start, NOW, NOW)) == 1
    assert len(replay.asked("/carbon-intensity/past-range")) == 1, "what the plan refuses is not asked for twice"


async def test_a_range_holds_its_data(build, replay):
    start = unix_s("2026-03-01T00:00:00Z")
    replay.on("/carbon-intensity/past-range", {"zone": "DE", "data": [point(start + i * HOUR, i) for i in range(9)]})
    found = await build("electricity-maps", zone="DE").past(start + HOUR, start + 4 * HOUR, NOW)
    assert [r.g_per_kwh for r in found] == [1, 2, 3]
    assert replay.requests[0].query_params["start"] == "2026-03-01T01:00:00Z"


async def test_a_wrong_key_is_the_key_and_not_the_plan(build, replay):
    replay.on("/carbon-intensity", Reply({"message": "Invalid auth-token"}, 401))
    with pytest.raises(ProviderError, match="check the key") as caught:
        await build("electricity-maps", zone="DE").past(NOW - 5 * 86_400, NOW, NOW)
    assert caught.value.kind is Trouble.REFUSED


async def test_the_forecast_has_its_issue_time(build, replay):
    first = NOW - NOW % HOUR
    values = [{"carbonIntensity": 100 + i, "datetime": iso(first + i * HOUR)} for i in range(24)]
    replay.on(
        "/carbon-intensity/forecast",
        {"zone": "DE", "updatedAt": iso(NOW - 900), "forecast": values, "temporalGranularity": "hourly"},
    )
    found = await build("electricity-maps", zone="DE").ahead(20 * HOUR, NOW)
    assert len(found) == 21
    assert {(r.standing, r.issued_s) for r in found} == {(Standing.FORECAST, NOW - 900)}
    assert replay.requests[0].query_params["horizonHours"] == "24"


async def test_an_issue_time_ahead_of_now_is_now(build, replay):
    body = {"zone": "DE", "updatedAt": "2031-01-01T00:00:00Z", "forecast": [point(NOW, 5)]}
    replay.on("/carbon-intensity/forecast", body)
    assert [r.issued_s for r in await build("electricity-maps", zone="DE").ahead(6 * HOUR, NOW)] == [NOW]


async def test_holes_are_no_readings(build, replay):
    ten = NOW - NOW % HOUR
    replay.on("/carbon-intensity/history", history(point(ten - 2 * HOUR, None), point(ten - HOUR, 7)))
    assert [r.g_per_kwh for r in await build("electricity-maps", zone="DE").past(NOW - 3 * HOUR, NOW, NOW)] == [7]


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ({"zone": "FR", "history": []}, Trouble.UNKNOWN_ZONE, "zone 'FR', expected 'DE'"),
        (history(point(NOW, 1, zone="FR")), Trouble.UNKNOWN_ZONE, "zone 'FR', expected 'DE'"),
        (history(point(NOW, 1, emissionFactorType="direct")), Trouble.NONSENSE, "'direct' emission factors"),
        (history(point(NOW, 1, datetime="yesterday")), Trouble.NONSENSE, "time 'yesterday'"),
        (history(point(NOW, 1, datetime="0001-01-01T00:00:00Z")), Trouble.NONSENSE, "0001"),
        (history(point(NOW, "much")), Trouble.NONSENSE, "documented JSON"),
        ({**history(), "temporalGranularity": "daily"}, Trouble.NONSENSE, "set granularity"),
        ({**history(), "unit": "lb/MWh"}, Trouble.NONSENSE, "expected gCO2eq/kWh"),
        ({"zone": "DE"}, Trouble.NONSENSE, "without its list"),
        ([], Trouble.NONSENSE, "documented JSON"),
    ],
)
async def test_nonsense_is_named(build, replay, body, kind, says):
    replay.on("/carbon-intensity/history", body)
    with pytest.raises(ProviderError, match=says) as caught:
        await build("electricity-maps", zone="DE").past(NOW - HOUR, NOW, NOW)
    assert caught.value.kind is kind
