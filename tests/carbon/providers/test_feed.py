"""The feed with real providers, a real server and the test's own clock: nothing raises, nothing is silently zero."""

import asyncio
import math

import msgspec
import pytest
import structlog

from evenwatt_collector.carbon.annual import IntensityTable
from evenwatt_collector.carbon.providers.build import last_resort, providers
from evenwatt_collector.carbon.providers.contract import iso
from evenwatt_collector.carbon.providers.feed import GridFeed
from evenwatt_collector.carbon.providers.http import Net
from evenwatt_collector.carbon.providers.settings import GridSettings
from evenwatt_collector.carbon.series import Kind, Standing, resolve
from tests.carbon.providers.server import Reply

HOUR = 3600
TABLE = IntensityTable.packaged()
ANNUAL_DE = TABLE.row("DE").intensity_g_per_kwh


class Desk:
    """A feed, what it handed on, and the time it believes in."""

    def __init__(self, net, now_s, **grid):
        self.now_s = now_s
        self.readings = []
        settings = msgspec.convert({"name": "DE", **grid}, GridSettings)
        self.feed = GridFeed(
            "DE",
            providers(settings, net),
            last_resort(settings, TABLE),
            self.readings.extend,
            clock=lambda: self.now_s,
        )

    async def step(self, later_s=0):
        self.now_s += later_s
        await self.feed.step()
        return self

    def at(self, wall_s, kind=Kind.AVERAGE):
        ours = [reading for reading in self.readings if reading.kind is kind]
        return resolve(ours, wall_s - HOUR, wall_s + HOUR, order=self.feed.order).at(wall_s)


@pytest.fixture
def desk(net, replay, key_file, now_s):
    structlog.reset_defaults()

    def make(*sources, net=net, later_s=0, **grid):
        described = [{"base_url": replay.url, **source} if source["type"] != "file" else source for source in sources]
        for source in described:
            if source["type"] in {"electricity-maps", "entsoe", "eia"}:
                source["token_file"] = str(key_file)
            if source["type"] == "watttime":
                source |= {"username": "sre", "password_file": str(key_file)}
        return Desk(net, now_s - now_s % HOUR + 1200 + later_s, sources=described, **grid)

    return make


MAPS = {"type": "electricity-maps", "zone": "DE"}


def maps_of(points):
    found = [{"carbonIntensity": value, "datetime": iso(at_s)} for at_s, value in points]
    return {"zone": "DE", "history": found, "data": found}


def around(now_s, value, hours=3):
    first = now_s - now_s % HOUR
    return maps_of([(first - i * HOUR, value) for i in range(hours)])


async def test_the_first_source_speaks_over_the_annual_average(desk, replay):
    it = desk(MAPS)
    replay.on("/carbon-intensity", around(it.now_s, 123))
    await it.step()
    assert (it.at(it.now_s).g_per_kwh, it.at(it.now_s).source) == (123, "electricity-maps")
    assert it.at(it.now_s - 20 * HOUR).standing is Standing.FALLBACK
    assert it.feed.speaking().how == "live"
    assert it.feed.alarm() is None


async def test_what_is_repeated_is_no_news_and_a_correction_is(desk, replay):
    it = desk(MAPS)
    replay.on("/carbon-intensity", around(it.now_s, 123))
    await it.step()
    before = len(it.readings)
    await it.step(900)
    assert len(it.readings) == before
    replay.on("/carbon-intensity", around(it.now_s, 150))
    await it.step(900)
    assert [r.g_per_kwh for r in it.readings[before:]] == [150, 150, 150]
    assert it.at(it.now_s - HOUR).g_per_kwh == 150


LIES = {
    "negative": -5,
    "a million": 1_000_000,
    "in other units": 40_000,
}


@pytest.mark.parametrize("value", LIES.values(), ids=LIES)
async def test_a_lie_is_dropped_named_and_answered_by_the_fallback(desk, replay, capsys, value):
    it = desk(MAPS)
    replay.on("/carbon-intensity", around(it.now_s, value))
    await it.step()
    assert it.at(it.now_s).standing is Standing.FALLBACK
    assert it.at(it.now_s).g_per_kwh == ANNUAL_DE
    assert it.feed.health[0].dropped > 0
    assert "expected 0 to 5000" in capsys.readouterr().out
    assert "faulty" in it.feed.alarm()


async def test_one_lie_among_truths_costs_one_figure(desk, replay):
    it = desk(MAPS)
    hour = it.now_s - it.now_s % HOUR
    replay.on("/carbon-intensity", maps_of([(hour, -1), (hour - HOUR, 100), (hour - 2 * HOUR, 101)]))
    await it.step()
    assert it.at(hour - 60).g_per_kwh == 100
    assert it.at(hour + 60).standing is Standing.FALLBACK
    assert it.feed.speaking().how == "live"


async def test_measured_values_of_the_future_and_forecasts_for_next_year_are_dropped(desk, replay):
    it = desk(MAPS)
    hour = it.now_s - it.now_s % HOUR
    replay.on("/carbon-intensity/history", maps_of([(hour + 5 * HOUR, 50)]))
    replay.on("/carbon-intensity/past-range", maps_of([(hour + 5 * HOUR, 50)]))
    replay.on("/carbon-intensity/forecast", {"zone": "DE", "forecast": maps_of([(hour + 400 * 86_400, 5)])["data"]})
    await it.step()
    assert {reading.standing for reading in it.readings} == {Standing.FALLBACK}


async def test_duplicates_leave_one_and_the_last_counts(desk, replay):
    it = desk(MAPS)
    hour = it.now_s - it.now_s % HOUR
    replay.on("/carbon-intensity", maps_of([(hour, 100), (hour, 100), (hour, 110)]))
    await it.step()
    assert [r.g_per_kwh for r in it.readings if r.source == "electricity-maps"] == [110]


@pytest.mark.parametrize(
    "reply",
    [
        Reply("no", 401),
        Reply("no", 403),
        Reply("no", 404),
        Reply("no", 429),
        Reply("no", 429, {"retry-after": "77"}),
        Reply("no", 500),
        Reply("<html></html>"),
        Reply('{"zone": "DE", "hist'),
        Reply({}, delay_s=3.0),
        Reply({"zone": "FR", "history": [], "data": []}),
    ],
    ids=lambda reply: f"{reply.status} {str(reply.body)[:12]} {reply.delay_s:g}",
)
async def test_whatever_goes_wrong_the_grid_has_a_tagged_figure_and_an_alarm(desk, replay, reply):
    it = desk(MAPS)
    replay.on("/carbon-intensity", reply)
    for _ in range(3):
        await it.step(60)
    standing = it.at(it.now_s)
    assert (standing.standing, standing.g_per_kwh, standing.source) == (Standing.FALLBACK, ANNUAL_DE, "annual-average")
    health = it.feed.health[0]
    assert health.trouble
    assert health.trouble_kind is not None
    assert health.readings == 0
    alarm = it.feed.alarm()
    assert alarm.startswith("grid DE: no source has spoken for")
    assert f"counting with the annual average of {TABLE.row('DE').year}, tagged fallback" in alarm


async def test_no_data_at_all_is_said_and_is_not_zero(desk, replay):
    it = desk(MAPS)
    replay.on("/carbon-intensity", maps_of([]))
    await it.step()
    assert it.at(it.now_s).standing is Standing.FALLBACK
    assert "without figures" in it.feed.health[0].trouble


async def test_500_then_good(desk, replay):
    it = desk(MAPS)
    replay.on("/carbon-intensity", Reply("oops", 500), around(it.now_s, 99))
    await it.step()
    assert it.feed.alarm()
    await it.step(31)
    assert it.at(it.now_s).g_per_kwh == 99
    assert it.feed.alarm() is None
    assert it.feed.health[0].trouble == ""


async def test_the_second_source_takes_over_and_the_tags_say_who(desk, replay, tmp_path):
    path = tmp_path / "own.csv"
    it = desk(MAPS, {"type": "file", "path": str(path)})
    path.write_text("".join(f"{it.now_s - it.now_s % HOUR - i * HOUR},77\n" for i in range(5, -1, -1)))
    replay.on("/carbon-intensity", Reply("no", 401))
    await it.step()
    await it.step(1)
    assert (it.at(it.now_s).g_per_kwh, it.at(it.now_s).source) == (77, "file")
    assert it.feed.speaking().source == "file"
    assert it.feed.alarm() is None


async def test_marginal_runs_beside_average_and_never_mixes(desk, replay):
    it = desk(MAPS, {"type": "watttime", "region": "CAISO_NORTH"})
    replay.on("/carbon-intensity", around(it.now_s, 123))
    replay.on("/login", {"token": "abcdef"})
    first = it.now_s - it.now_s % 300
    points = [{"point_time": iso(first - i * 300), "value": 1000} for i in range(5)]
    meta = {"units": "lbs_co2_per_mwh", "region": "CAISO_NORTH", "signal_type": "co2_moer"}
    replay.on("/v3", {"data": points, "meta": meta | {"data_point_period_seconds": 300}})
    await it.step()
    assert it.at(it.now_s).g_per_kwh == 123
    assert it.at(it.now_s, Kind.MARGINAL).g_per_kwh == pytest.approx(453.59237)
    assert it.feed.speaking(Kind.MARGINAL).source == "watttime"


@pytest.mark.parametrize(
    "source",
    [
        MAPS,
        {"type": "watttime", "region": "CAISO_NORTH"},
        {"type": "neso"},
        {"type": "entsoe", "zone": "10Y1001A1001A82H"},
        {"type": "eia", "respondent": "CISO"},
        {"type": "carbon-aware-sdk", "location": "x", "kind": "average", "basis": "direct"},
    ],
    ids=lambda source: source["type"],
)
async def test_a_restart_asks_nobody_again(tmp_path, desk, replay, source):
    nothing = "<Acknowledgement_MarketDocument><Reason><text>No matching data found</text></Reason>"
    meta = {"units": "lbs_co2_per_mwh", "region": "CAISO_NORTH", "signal_type": "co2_moer"}
    replay.on("/", Reply(f"{nothing}</Acknowledgement_MarketDocument>"))
    replay.on("/carbon-intensity", maps_of([]) | {"forecast": []})
    replay.on("/login", {"token": "abcdef"})
    replay.on("/v3", {"data": [], "meta": meta})
    replay.on("/v2", {"response": {"data": [], "total": 0}})
    replay.on("/intensity", {"data": []})
    replay.on("/emissions", [])
    asked = []
    for later_s in (0, 40):
        net = Net(tmp_path / "kept")
        await desk(source, net=net, later_s=later_s).step()
        await net.close()
        asked.append(len(replay.requests))
    assert asked[0] > 0
    assert asked[1] == asked[0]


async def test_a_source_that_breaks_in_a_way_nobody_thought_of(desk, capsys):
    it = desk(MAPS)

    async def broken(*_):
        raise ZeroDivisionError("s3cr3t/key+With=Signs")

    it.feed._providers[0].past = broken
    await it.step()
    said = capsys.readouterr().out
    assert "ZeroDivisionError at test_feed.py:" in it.feed.health[0].trouble
    assert "s3cr3t" not in said + it.feed.health[0].trouble
    assert it.at(it.now_s).standing is Standing.FALLBACK


async def test_a_sink_that_fails_is_given_the_same_again(desk, replay):
    it = desk(MAPS)
    replay.on("/carbon-intensity", around(it.now_s, 5))

    def full(_readings):
        raise OSError("disk full")

    it.feed._sink = full
    await it.step()
    it.feed._sink = it.readings.extend
    await it.step(900)
    assert it.at(it.now_s).g_per_kwh == 5
    assert {r.standing for r in it.readings} == {Standing.MEASURED, Standing.FALLBACK}


async def test_a_log_that_is_not_flooded(desk, replay, capsys):
    it = desk(MAPS)
    replay.on("/carbon-intensity", around(it.now_s, -1))
    for _ in range(20):
        await it.feed._ask(it.feed._chain.due(it.now_s)[0] if it.feed._chain.due(it.now_s) else _past(it))
    assert capsys.readouterr().out.count("figures dropped") == 1


def _past(it):
    from evenwatt_collector.carbon.providers.chain import Ask

    return Ask(0, "past", it.now_s - 3 * HOUR, it.now_s)


async def test_run_stops_when_told_and_survives_everything(desk, replay):
    it = desk(MAPS)
    replay.on("/carbon-intensity", Reply("no", 503))
    stop = asyncio.Event()
    task = asyncio.create_task(it.feed.run(stop))
    while not it.feed.health[0].trouble:
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(task, 60)


async def test_every_grid_has_a_figure_for_every_year_it_touches(desk):
    it = desk()
    it.now_s = 1_767_225_600 - HOUR  # an hour before 2026
    await it.step()
    ours = [r for r in it.readings if r.standing is Standing.FALLBACK]
    assert [iso(r.start_s)[:4] for r in ours] == ["2025", "2026"]
    series = resolve(it.readings, it.now_s - HOUR, it.now_s + 3 * HOUR)
    assert not any(math.isnan(value) for value in series.g_per_kwh)
    assert it.feed.alarm() is None, "a grid without sources is meant so"
