import pytest

from evenwatt_collector.carbon.providers.contract import ProviderError, Trouble, iso, unix_s
from evenwatt_collector.carbon.series import Basis, Kind, Standing
from tests.carbon.providers.server import Reply

HALF = 1800
NOW = unix_s("2026-10-25T12:10:00Z")  # the day on which British clocks go back
FORM = "%Y-%m-%dT%H:%MZ"


def slots(first_s, *figures):
    return [
        {
            "from": iso(first_s + i * HALF, FORM),
            "to": iso(first_s + (i + 1) * HALF, FORM),
            "intensity": {"forecast": forecast, "actual": actual, "index": "moderate"},
        }
        for i, (forecast, actual) in enumerate(figures)
    ]


def region(first_s, *values, **named):
    data = [
        {
            "from": iso(first_s + i * HALF, FORM),
            "to": iso(first_s + (i + 1) * HALF, FORM),
            "intensity": {"forecast": value, "index": "low"},
            "generationmix": [{"fuel": "gas", "perc": 43.6}],
        }
        for i, value in enumerate(values)
    ]
    return {"regionid": 12, "dnoregion": "SSE South", "shortname": "South England", **named, "data": data}


async def test_actual_values_are_measured_and_missing_ones_wait(build, replay):
    first = NOW - NOW % HALF - 2 * HALF
    replay.on("/intensity", {"data": slots(first - HALF, (250, 260), (266, 263), (270, None), (280, None))})
    found = await build("neso", grid="GB").past(first, NOW, NOW)
    assert [(r.start_s, r.g_per_kwh, r.standing) for r in found] == [(first, 263, Standing.MEASURED)]
    assert (found[0].kind, found[0].basis) == (Kind.AVERAGE, Basis.DIRECT)
    assert replay.requests[0].url.path == f"/intensity/{iso(first, FORM)}/{iso(NOW, FORM)}"


async def test_the_day_of_25_hours_is_50_half_hours(build, replay):
    start, end = unix_s("2026-10-24T23:00:00Z"), unix_s("2026-10-26T00:00:00Z")
    replay.on("/intensity", {"data": slots(start, *[(1, i) for i in range(50)])})
    found = await build("neso", grid="GB").past(start, end, end)
    assert len(found) == 50
    assert (found[0].start_s, found[-1].end_s) == (start, end)


async def test_the_forecast(build, replay):
    first = NOW - NOW % HALF
    replay.on("/intensity", {"data": slots(first - HALF, *[(100 + i, None) for i in range(97)])})
    found = await build("neso", grid="GB").ahead(48 * 3600, NOW)
    assert found[0].start_s == first
    assert {r.standing for r in found} == {Standing.FORECAST}
    assert replay.requests[0].url.path == f"/intensity/{iso(first, FORM)}/fw48h"


@pytest.mark.parametrize("wrapped", [True, False])
async def test_a_region_is_an_object_or_a_list_and_estimated(build, replay, wrapped):
    first = NOW - NOW % HALF - HALF
    found = region(first, 55, 56, postcode="RG10")
    replay.on("/regional/intensity", {"data": [found] if wrapped else found})
    readings = await build("neso", grid="GB", postcode="rg10").past(first, NOW, NOW)
    assert [(r.g_per_kwh, r.standing) for r in readings] == [(55, Standing.ESTIMATED)]
    assert replay.requests[0].url.path.endswith("/postcode/RG10")


async def test_a_region_by_number_and_its_forecast(build, replay):
    first = NOW - NOW % HALF
    replay.on("/regional/intensity", {"data": region(first, 55, 56)})
    readings = await build("neso", grid="GB", region=12).ahead(86_400, NOW)
    assert [r.g_per_kwh for r in readings] == [55, 56]
    assert replay.requests[0].url.path.endswith("/fw24h/regionid/12")


async def test_another_region_is_refused(build, replay):
    replay.on("/regional/intensity", {"data": region(NOW, 55, postcode="SW1")})
    with pytest.raises(ProviderError, match="region SW1, expected postcode/RG10") as caught:
        await build("neso", grid="GB", postcode="RG10").past(NOW - HALF, NOW, NOW)
    assert caught.value.kind is Trouble.UNKNOWN_ZONE


async def test_an_unknown_region(build, replay):
    replay.on("/regional", Reply({"error": {"code": "400 Bad Request", "message": "postcode invalid"}}, 400))
    with pytest.raises(ProviderError) as caught:
        await build("neso", grid="GB", postcode="ZZ9").past(NOW - HALF, NOW, NOW)
    assert caught.value.kind is Trouble.UNKNOWN_ZONE


async def test_times_that_are_none(build, replay):
    replay.on("/intensity", {"data": [{"from": "noon", "to": "later", "intensity": {"forecast": 1, "actual": 1}}]})
    with pytest.raises(ProviderError, match="from 'noon' to 'later'"):
        await build("neso", grid="GB").past(NOW - HALF, NOW, NOW)
