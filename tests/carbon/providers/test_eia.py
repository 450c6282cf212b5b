from itertools import pairwise

import pytest

from evenwatt_collector.carbon.providers import eia
from evenwatt_collector.carbon.providers.contract import ProviderError, Trouble, iso, unix_s
from evenwatt_collector.carbon.series import Basis, Standing
from tests.carbon.providers.server import Reply

HOUR = 3600
START = unix_s("2026-05-12T00:00:00Z")
NOW = START + 12 * HOUR


def row(end_s, fuel, value, **more):
    said = {"period": iso(end_s, "%Y-%m-%dT%H"), "respondent": "CISO", "respondent-name": "California ISO"}
    said |= {"fueltype": fuel, "type-name": fuel, "value": value, "value-units": "megawatthours"}
    return said | more


def answer(*rows, total=None, **more):
    return {
        "response": {"total": str(len(rows) if total is None else total), "data": list(rows), "frequency": "hourly"}
        | more
    }


@pytest.fixture
def ask(build, replay):
    async def asking(*bodies, start_s=START, end_s=NOW, **settings):
        replay.on("/v2", *bodies)
        return await build("eia", respondent="CISO", **settings).past(start_s, end_s, NOW)

    return asking


async def test_a_period_is_named_by_the_end_of_its_hour(ask, replay):
    found = await ask(answer(row(START + HOUR, "COL", "100"), row(START + HOUR, "SUN", "300")))
    assert [(r.start_s, r.end_s, r.standing) for r in found] == [(START, START + HOUR, Standing.MEASURED)]
    assert found[0].g_per_kwh == pytest.approx((820 + 3 * 48) / 4, rel=1e-12)
    asked = dict(replay.requests[0].query_params)
    assert (asked["facets[respondent][]"], asked["start"], asked["frequency"]) == ("CISO", "2026-05-12T01", "hourly")
    assert asked["api_key"] == "s3cr3t/key+With=Signs"


async def test_charging_and_pumping_are_not_generation(ask):
    found = await ask(
        answer(
            row(START + HOUR, "NG", "100"),
            row(START + HOUR, "BAT", "-250"),
            row(START + HOUR, "PS", "80"),
            row(START + HOUR, "SUN", "-3"),
        ),
        basis="direct",
    )
    assert [(r.g_per_kwh, r.basis) for r in found] == [(370, Basis.DIRECT)]


async def test_holes(ask):
    found = await ask(
        answer(row(START + HOUR, "NG", None), row(START + 2 * HOUR, "NG", "5"), row(START + 3 * HOUR, "NG", "NaN"))
    )
    assert [r.start_s for r in found] == [START + HOUR]


async def test_a_fuel_that_is_new_weighs_like_other(ask):
    assert [r.g_per_kwh for r in await ask(answer(row(START + HOUR, "XYZ", "1")))] == [490]


async def test_no_data_is_no_reading(ask):
    assert await ask(answer()) == []


async def test_pages_are_all_read_and_total_is_text(ask, replay, monkeypatch):
    monkeypatch.setattr(eia, "_PAGE", 2)
    rows = [row(START + (i + 1) * HOUR, "NG", str(i + 1)) for i in range(5)]

    def page(request):
        offset = int(request.query_params["offset"])
        return answer(*rows[offset : offset + 2], total=5)

    assert len(await ask(page)) == 5
    assert [request.query_params["offset"] for request in replay.requests] == ["0", "2", "4"]


async def test_pages_without_end_are_cut(ask, monkeypatch):
    monkeypatch.setattr(eia, "_PAGE", 1)
    with pytest.raises(ProviderError, match="more than 20 pages"):
        await ask(answer(row(START + HOUR, "NG", "1"), total=10**9))


async def test_local_hours_of_the_day_that_has_23(ask):
    spring = [row(0, "NG", "1", period=f"2026-03-08T{hour}") for hour in ("01-08:00", "03-07:00", "04-07:00")]
    found = await ask(answer(*spring, frequency="local-hourly"), start_s=unix_s("2026-03-01"))
    assert [after.start_s - before.start_s for before, after in pairwise(found)] == [HOUR, HOUR]


async def test_the_hour_that_clocks_repeat_is_two_hours(build, replay):
    now_s = unix_s("2026-11-02T00:00:00Z")
    rows = [row(0, "NG", "1", period=f"2026-11-01T{hour}") for hour in ("01-07:00", "01-08:00", "02-08:00")]
    replay.on("/v2", answer(*rows, frequency="local-hourly"))
    found = await build("eia", respondent="CISO").past(now_s - 2 * 86_400, now_s, now_s)
    assert [r.end_s for r in found] == [unix_s(f"2026-11-01T{hour}:00:00Z") for hour in ("08", "09", "10")]


async def test_a_leap_day(build, replay):
    now_s = unix_s("2028-03-01T02:00:00Z")
    replay.on("/v2", answer(*[row(now_s - i * HOUR, "NG", "1") for i in range(26, -1, -1)]))
    found = await build("eia", respondent="CISO").past(now_s - 26 * HOUR, now_s, now_s)
    assert len(found) == 26


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (answer(row(START, "NG", "1", respondent="ERCO")), Trouble.UNKNOWN_ZONE, "'ERCO', expected 'CISO'"),
        (answer(row(START, "NG", "1", **{"value-units": "gigawatthours"})), Trouble.NONSENSE, "gigawatthours"),
        (answer(row(START, "NG", "many")), Trouble.NONSENSE, "'many'"),
        (answer(row(START, "NG", "1", period="noon")), Trouble.NONSENSE, "period 'noon'"),
        (answer(frequency="daily"), Trouble.NONSENSE, "'daily', expected 'hourly'"),
        (answer(total="lots"), Trouble.NONSENSE, "total of 'lots'"),
        ({"response": {}}, Trouble.NONSENSE, "documented JSON"),
        (
            Reply({"error": {"code": "API_KEY_INVALID", "message": "An invalid api_key was supplied"}}, 403),
            Trouble.REFUSED,
            "check the key",
        ),
        (Reply({"error": {"code": "OVER_RATE_LIMIT"}}, 429), Trouble.LIMITED, "too many"),
    ],
)
async def test_nonsense_is_named(ask, body, kind, says):
    with pytest.raises(ProviderError, match=says) as caught:
        await ask(body)
    assert caught.value.kind is kind
