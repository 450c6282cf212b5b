import base64

import pytest

from evenwatt_collector.carbon.providers.contract import ProviderError, Trouble, iso, unix_s
from evenwatt_collector.carbon.series import Basis, Kind, Standing
from tests.carbon.providers.conftest import KEY
from tests.carbon.providers.server import Reply

NOW = unix_s("2026-03-10T12:20:00Z")
LB = 0.45359237


def answer(*values, **meta):
    said = {"data_point_period_seconds": 300, "region": "CAISO_NORTH", "signal_type": "co2_moer", "warnings": []}
    said |= {"units": "lbs_co2_per_mwh", "generated_at": iso(NOW - 120), "model": {"date": "2026-01-01"}} | meta
    points = [{"point_time": iso(NOW - 600 + 300 * i), "value": value} for i, value in enumerate(values)]
    return {"data": points, "meta": said}


async def test_pounds_become_grams_and_are_marginal(build, replay):
    replay.on("/login", {"token": "abcdef"})
    replay.on("/v3/historical", answer(870, None))
    found = await build("watttime", region="CAISO_NORTH").past(NOW - 3600, NOW, NOW)
    assert [(r.start_s, r.end_s, r.standing) for r in found] == [(NOW - 600, NOW - 300, Standing.MEASURED)]
    assert found[0].g_per_kwh == pytest.approx(870 * LB, rel=1e-12)
    assert (found[0].kind, found[0].basis) == (Kind.MARGINAL, Basis.DIRECT)
    login, asked = replay.requests
    assert login.headers["authorization"] == "Basic " + base64.b64encode(f"sre:{KEY}".encode()).decode()
    assert asked.headers["authorization"] == "Bearer abcdef"
    assert asked.query_params["signal_type"] == "co2_moer"


async def test_the_forecast(build, replay):
    replay.on("/login", {"token": "abcdef"})
    replay.on("/v3/forecast", answer(1, 2, 3, 4))
    found = await build("watttime", region="CAISO_NORTH").ahead(3600, NOW)
    assert [round(r.g_per_kwh / LB, 9) for r in found] == [3, 4], "what is over is no forecast"
    assert {(r.standing, r.issued_s) for r in found} == {(Standing.FORECAST, NOW - 120)}
    assert replay.requests[-1].query_params["horizon_hours"] == "1"


async def test_a_token_lasts_and_is_renewed_before_its_half_hour(build, replay):
    replay.on("/login", {"token": "first"}, {"token": "second"})
    replay.on("/v3/historical", answer(1))
    source = build("watttime", region="CAISO_NORTH")
    for later_s in (0, 400, 1400, 1700):
        await source.past(NOW - 3600, NOW, NOW + later_s)
    assert len(replay.asked("/login")) == 2
    bearers = [request.headers["authorization"] for request in replay.asked("/v3")]
    assert bearers == ["Bearer first"] * 3 + ["Bearer second"]


async def test_a_token_that_expires_in_mid_run_is_renewed_at_once(build, replay):
    replay.on("/login", {"token": "first"}, {"token": "second"})
    source = build("watttime", region="CAISO_NORTH")
    replay.on("/v3/historical", answer(1), Reply({"error": "expired"}, 401), answer(2))
    await source.past(NOW - 3600, NOW, NOW)
    found = await source.past(NOW - 3600, NOW, NOW + 300)
    assert found[0].g_per_kwh == pytest.approx(2 * LB)
    assert replay.requests[-1].headers["authorization"] == "Bearer second"


async def test_a_token_that_is_never_taken_does_not_loop(build, replay):
    replay.on("/login", {"token": "any one"})
    replay.on("/v3", Reply({"error": "no"}, 401))
    source = build("watttime", region="CAISO_NORTH")
    for later_s in (0, 300):
        with pytest.raises(ProviderError) as caught:
            await source.past(NOW - 3600, NOW, NOW + later_s)
        assert caught.value.kind is Trouble.REFUSED
    assert len(replay.requests) <= 6


async def test_a_wrong_password(build, replay):
    replay.on("/login", Reply("Unauthorized", 401))
    with pytest.raises(ProviderError, match="check the key") as caught:
        await build("watttime", region="CAISO_NORTH").past(NOW - 3600, NOW, NOW)
    assert caught.value.kind is Trouble.REFUSED
    assert not replay.asked("/v3")


@pytest.mark.parametrize(
    ("meta", "says", "kind"),
    [
        ({"units": "kg_co2_per_mwh"}, "units 'kg_co2_per_mwh', expected 'lbs_co2_per_mwh'", Trouble.NONSENSE),
        ({"units": "percentile"}, "expected 'lbs_co2_per_mwh'", Trouble.NONSENSE),
        ({"signal_type": "health_damage"}, "expected 'co2_moer'", Trouble.NONSENSE),
        ({"region": "PJM_DC"}, "region 'PJM_DC', expected 'CAISO_NORTH'", Trouble.UNKNOWN_ZONE),
        ({"data_point_period_seconds": 0}, "every 0 s", Trouble.NONSENSE),
    ],
)
async def test_another_unit_signal_or_region_is_refused(build, replay, meta, says, kind):
    replay.on("/login", {"token": "abcdef"})
    replay.on("/v3/historical", answer(1, **meta))
    with pytest.raises(ProviderError, match=says) as caught:
        await build("watttime", region="CAISO_NORTH").past(NOW - 3600, NOW, NOW)
    assert caught.value.kind is kind


async def test_an_unknown_region(build, replay):
    replay.on("/login", {"token": "abcdef"})
    replay.on("/v3", Reply({"error": "Invalid region", "message": "region NOWHERE"}, 400))
    with pytest.raises(ProviderError, match="my-access") as caught:
        await build("watttime", region="NOWHERE").past(NOW - 3600, NOW, NOW)
    assert caught.value.kind is Trouble.UNKNOWN_ZONE


async def test_the_token_is_never_on_disk(build, replay, tmp_path):
    replay.on("/login", {"token": "abcdef-bearer"})
    replay.on("/v3", answer(1, echo="abcdef-bearer"))
    await build("watttime", region="CAISO_NORTH").past(NOW - 3600, NOW, NOW)
    kept = [path.read_text() for path in (tmp_path / "cache").iterdir()]
    assert kept
    assert not any("abcdef-bearer" in text for text in kept)


@pytest.mark.parametrize("token", ["½", "a\nb", "\u0000"])
async def test_a_token_that_no_header_may_hold(build, replay, token):
    replay.on("/login", {"token": token})
    with pytest.raises(ProviderError, match="'authorization' is not printable ASCII"):
        await build("watttime", region="CAISO_NORTH").past(NOW - 3600, NOW, NOW)
