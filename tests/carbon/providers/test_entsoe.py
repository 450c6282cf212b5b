import pytest

from evenwatt_collector.carbon.providers.contract import ProviderError, Trouble, iso, unix_s
from evenwatt_collector.carbon.series import Basis, Standing
from tests.carbon.providers.server import Reply

HOUR = 3600
ZONE = "10Y1001A1001A82H"
NS = "urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0"
FORM = "%Y-%m-%dT%H:%MZ"
START = unix_s("2026-03-10T00:00:00Z")
NOW = START + 12 * HOUR


def period(start_s, hours, points, resolution="PT60M"):
    given = points.items() if isinstance(points, dict) else enumerate(points, start=1)
    inside = "".join(f"<Point><position>{i}</position><quantity>{mw}</quantity></Point>" for i, mw in given)
    return (
        f"<Period><timeInterval><start>{iso(start_s, FORM)}</start><end>{iso(start_s + hours * HOUR, FORM)}</end>"
        f"</timeInterval><resolution>{resolution}</resolution>{inside}</Period>"
    )


def series(psr, *periods, curve="A01", domain="inBiddingZone_Domain", zone=ZONE, unit="MAW"):
    return (
        f"<TimeSeries><mRID>1</mRID><businessType>A01</businessType>"
        f'<{domain}.mRID codingScheme="A01">{zone}</{domain}.mRID>'
        f"<quantity_Measure_Unit.name>{unit}</quantity_Measure_Unit.name><curveType>{curve}</curveType>"
        f"<MktPSRType><psrType>{psr}</psrType></MktPSRType>{''.join(periods)}</TimeSeries>"
    )


def document(*parts):
    created = iso(NOW - 600)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><GL_MarketDocument xmlns="{NS}"><mRID>x</mRID><type>A75</type>'
        f"<createdDateTime>{created}</createdDateTime>{''.join(parts)}</GL_MarketDocument>"
    )


def declined(text):
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Acknowledgement_MarketDocument '
        'xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0"><mRID>y</mRID>'
        f"<Reason><code>999</code><text>{text}</text></Reason></Acknowledgement_MarketDocument>"
    )


@pytest.fixture
def ask(build, replay):
    async def asking(body, *, start_s=START, end_s=NOW, status=200, **settings):
        replay.on("/", Reply(body, status))
        return await build("entsoe", zone=ZONE, **settings).past(start_s, end_s, NOW)

    return asking


async def test_a_mix_is_weighed_by_its_energy(ask, replay):
    found = await ask(
        document(series("B05", period(START, 2, [100, 300])), series("B19", period(START, 2, [300, 100])))
    )
    assert [r.g_per_kwh for r in found] == pytest.approx([(820 + 3 * 11) / 4, (3 * 820 + 11) / 4], rel=1e-12)
    assert {(r.standing, r.basis, r.issued_s, r.recorded_s) for r in found} == {
        (Standing.MEASURED, Basis.LIFECYCLE, NOW - 600, NOW)
    }
    asked = dict(replay.requests[0].query_params)
    assert asked["securityToken"] == "s3cr3t/key+With=Signs"
    assert (asked["documentType"], asked["processType"], asked["in_Domain"]) == ("A75", "A16", ZONE)
    assert (asked["periodStart"], asked["periodEnd"]) == ("202603100000", "202603101200")


async def test_direct_factors(ask):
    found = await ask(
        document(series("B05", period(START, 1, [50])), series("B14", period(START, 1, [50]))), basis="direct"
    )
    assert [(r.g_per_kwh, r.basis) for r in found] == [(380, Basis.DIRECT)]


@pytest.mark.parametrize(("curve", "hours"), [("A03", [0, 1, 2, 3]), ("A01", [0, 2])])
async def test_a_point_that_is_omitted_repeats_or_is_a_gap(ask, curve, hours):
    found = await ask(document(series("B04", period(START, 4, {1: 100, 3: 300}), curve=curve)))
    assert [(r.start_s - START) // HOUR for r in found] == hours


async def test_a03_repeats_across_the_mix(ask):
    coal = series("B05", period(START, 4, {1: 100, 3: 300}), curve="A03")
    wind = series("B19", period(START, 4, [100, 300, 300, 100]))
    found = await ask(document(coal, wind))
    assert [r.g_per_kwh for r in found] == pytest.approx(
        [(100 * 820 + 100 * 11) / 200, (100 * 820 + 300 * 11) / 400, (820 + 11) / 2, (300 * 820 + 100 * 11) / 400]
    )


async def test_quarter_hours_and_hours_go_together(ask):
    quarter = period(START, 1, [100, 100, 300, 300], "PT15M")
    found = await ask(document(series("B05", quarter), series("B19", period(START, 1, [100]))))
    assert [(r.end_s - r.start_s, round(r.g_per_kwh, 6)) for r in found] == [
        (900, round((820 + 11) / 2, 6)),
        (900, round((820 + 11) / 2, 6)),
        (900, round((3 * 820 + 11) / 4, 6)),
        (900, round((3 * 820 + 11) / 4, 6)),
    ]


async def test_pumps_and_what_comes_out_of_stores_are_not_generation(ask):
    found = await ask(
        document(
            series("B05", period(START, 1, [100])),
            series("B10", period(START, 1, [500])),
            series("B10", period(START, 1, [700]), domain="outBiddingZone_Domain"),
            series("B25", period(START, 1, [50])),
        )
    )
    assert [r.g_per_kwh for r in found] == [820]


async def test_a_type_that_is_not_in_the_list_weighs_like_other(ask):
    found = await ask(document(series("B99", period(START, 1, [100]))))
    assert [r.g_per_kwh for r in found] == [490]


async def test_nothing_generated_is_no_zero(ask):
    assert await ask(document(series("B05", period(START, 2, [0, -5])))) == []


async def test_one_series_given_twice_does_not_count_twice(ask):
    coal, wind = series("B05", period(START, 1, [100])), series("B19", period(START, 1, [100]))
    once = await ask(document(coal, wind))
    assert await ask(document(coal, coal, wind)) == once


async def test_an_hour_that_is_not_complete_yet_waits(ask):
    coal, wind = series("B05", period(START, 2, [300, 300])), series("B19", period(START, 3, [100, 100, 100]))
    assert len(await ask(document(coal, wind))) == 2, "without coal the third hour would look clean"


async def test_a_small_part_that_is_missing_makes_it_estimated(ask):
    coal, oil = series("B05", period(START, 3, [300, 300, 300])), series("B06", period(START, 2, [10, 10]))
    assert [r.standing for r in await ask(document(coal, oil))] == [
        Standing.MEASURED,
        Standing.MEASURED,
        Standing.ESTIMATED,
    ]


async def test_a_night_without_a_word_about_the_sun(ask):
    gas = series("B04", period(START, 4, [300, 300, 300, 300]))
    sun = series("B16", period(START, 3, [400, 100, 2]))
    assert [r.standing for r in await ask(document(gas, sun))][-1] is Standing.ESTIMATED


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-28T23:00:00Z", 23), ("2026-10-24T22:00:00Z", 25), ("2028-02-28T23:00:00Z", 24)]
)
async def test_days_of_23_and_25_hours_and_a_leap_day(build, replay, day, hours):
    first = unix_s(day)
    replay.on("/", Reply(document(series("B04", period(first, hours, list(range(1, hours + 1)))))))
    end_s = first + hours * HOUR
    found = await build("entsoe", zone=ZONE).past(first, end_s, end_s)
    assert len(found) == hours
    assert found[-1].end_s == end_s


@pytest.mark.parametrize("status", [200, 400])
async def test_no_data_is_no_error_and_no_reading(ask, status):
    assert await ask(declined(f"No matching data found for Data item X ({ZONE})"), status=status) == []


@pytest.mark.parametrize(
    ("body", "status", "kind", "says"),
    [
        (declined("Invalid value of parameter in_Domain"), 400, Trouble.UNKNOWN_ZONE, "EIC of a bidding zone"),
        (declined("Unauthorized. Missing or invalid security token"), 400, Trouble.REFUSED, "token_file"),
        (declined("Delivered time interval is not valid"), 400, Trouble.NONSENSE, "time interval is not valid"),
        ("<html><body>maintenance</body></html>", 200, Trouble.NONSENSE, "document 'html'"),
        ("<GL_MarketDocument", 200, Trouble.NONSENSE, "expected the documented XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 200, Trouble.NONSENSE, "expected the documented XML"),
        (document(series("B04", period(START, 1, [1]), zone="10YFR-RTE------C")), 200, Trouble.UNKNOWN_ZONE, "10YFR"),
        (document(series("B04", period(START, 1, [1]), unit="KWH")), 200, Trouble.NONSENSE, "expected MAW"),
        (document(series("B04", period(START, 1, ["x"]))), 200, Trouble.NONSENSE, "cannot be read"),
        (document(series("B04", period(START, 1, [1], "PT7M"))), 200, Trouble.NONSENSE, "PT7M"),
        (document(series("B04", period(START, 99999, [1]))), 200, Trouble.NONSENSE, "expected 3000"),
        (document(series("B04", "<Period/>")), 200, Trouble.NONSENSE, "cannot be read"),
    ],
)
async def test_what_it_declines_and_nonsense(ask, body, status, kind, says):
    with pytest.raises(ProviderError, match=says) as caught:
        await ask(body, status=status)
    assert caught.value.kind is kind


async def test_a_bomb_of_entities_is_not_opened(ask):
    levels = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    with pytest.raises(ProviderError, match="expected the documented XML"):
        await ask(f'<!DOCTYPE a [<!ENTITY e0 "lol">{levels}]><a>&e11;</a>')


async def test_figures_that_are_no_numbers_are_holes(ask):
    assert await ask(document(series("B04", period(START, 2, ["NaN", "INF"])))) == []
