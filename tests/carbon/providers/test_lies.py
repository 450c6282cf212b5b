"""Documented answers with random parts made wrong: readings or one clear error, never anything else."""

import copy
import random
import re

import pytest

from evenwatt_collector.carbon.providers.contract import ProviderError, iso, unix_s
from evenwatt_collector.carbon.series import Reading
from tests.carbon.providers.server import Reply
from tests.carbon.providers.test_eia import answer as eia_answer
from tests.carbon.providers.test_eia import row
from tests.carbon.providers.test_entsoe import document, period, series

HOUR = 3600
SEED = 7
"""The same answers each time; `./dev fuzz --parser provider` explores others."""
NOW = unix_s("2026-03-10T12:20:00Z")
HOURS = [NOW - NOW % HOUR - i * HOUR for i in range(4)]

WRONG = [None, True, -1, 0, 1e308, -1e308, 10**30, "", "NaN", "inf", "1e999", [], {}, [[]], "9999-12-31T23:59:59-23:59"]
WRONG += [
    "0001-01-01T00:00:00+23:59",
    "2026-02-30T00:00:00Z",
    "2026-03-10",
    "x" * 3000,
    "\u0000",
    "½",
    "0:0:0",
    "99.99:99:99",
]


def maps_point(at_s):
    return {"carbonIntensity": 5, "datetime": iso(at_s), "updatedAt": iso(at_s), "isEstimated": True}


CASES = {
    "electricity-maps": (
        {"zone": "DE"},
        {
            "zone": "DE",
            "updatedAt": iso(NOW),
            "temporalGranularity": "hourly",
            **{name: [maps_point(at) for at in HOURS] for name in ("history", "data", "forecast")},
        },
    ),
    "watttime": (
        {"region": "CAISO_NORTH"},
        {
            "token": "abcdef",
            "data": [{"point_time": iso(at), "value": 900.5} for at in HOURS],
            "meta": {
                "units": "lbs_co2_per_mwh",
                "region": "CAISO_NORTH",
                "signal_type": "co2_moer",
                "data_point_period_seconds": 300,
                "generated_at": iso(NOW),
            },
        },
    ),
    "neso": (
        {"region": 12},
        {
            "data": {
                "regionid": 12,
                "data": [
                    {"from": iso(at), "to": iso(at + 1800), "intensity": {"forecast": 5, "actual": 6}} for at in HOURS
                ],
            }
        },
    ),
    "eia": ({"respondent": "CISO"}, eia_answer(*[row(at, fuel, "5") for at in HOURS for fuel in ("NG", "SUN")])),
    "carbon-aware-sdk": (
        {"location": "eastus", "kind": "average"},
        [
            {
                "location": "eastus",
                "time": iso(at),
                "rating": 5,
                "duration": "01:00:00",
                "generatedAt": iso(at),
                "forecastData": [{"timestamp": iso(at), "duration": 5, "value": 5}],
            }
            for at in HOURS
        ],
    ),
}


def spoil(body, dice):
    """Return a copy with one to three of its parts made wrong, left out or doubled."""
    body = copy.deepcopy(body)
    for _ in range(dice.randint(1, 3)):
        places = []

        def walk(node, places=places):
            for key in node if isinstance(node, dict) else range(len(node)):
                places.append((node, key))
                if isinstance(node[key], (dict, list)):
                    walk(node[key])

        walk(body)
        node, key = dice.choice(places)
        way = dice.random()
        if way < 0.15:
            del node[key]
        elif way < 0.25 and isinstance(node, list):
            node.insert(0, copy.deepcopy(node[key]))
        else:
            node[key] = copy.deepcopy(dice.choice(WRONG))
        if not body:
            break
    return body


async def outcome(asking):
    try:
        return await asking, None
    except ProviderError as error:
        return [], str(error)


async def hear(source, later_s):
    """Ask for past and future; what comes is readings or a short error."""
    heard = 0
    for asking in (source.past(NOW - 4 * HOUR, NOW, NOW + later_s), source.ahead(24 * HOUR, NOW + later_s)):
        readings, error = await outcome(asking)
        assert error is None or 10 < len(error) < 4000
        assert all(isinstance(reading, Reading) for reading in readings)
        for reading in readings:
            reading.fault()
        heard += len(readings)
    return heard


@pytest.mark.parametrize("kind", CASES)
async def test_answers_with_wrong_parts(build, replay, kind):
    settings, body = CASES[kind]
    dice = random.Random(SEED)
    replay.on("/", body)
    assert await hear(build(kind, **settings), 0) > 0, "as documented it is heard"
    for i in range(40):
        replay.on("/", Reply(spoil(body, dice)))
        await hear(build(kind, **settings), 1000 * (i + 1))


async def test_documents_with_wrong_parts(build, replay):
    dice = random.Random(SEED)
    good = document(*[series(psr, period(HOURS[-1], 4, [5, 6, 7, 8]), curve="A03") for psr in ("B04", "B16")])
    parts = [found.span() for found in re.finditer(r"(?<=>)[^<>]+(?=<)|<[^<>]+>", good)]
    for i in range(60):
        start, end = dice.choice(parts)
        put = dice.choice(
            ["", "-1", "1e999", "NaN", "0", "99999999999999999999", "B99", "P1D", "&#0;", "<x/>", "2026-03-10T00:00Z"]
        )
        replay.on("/", Reply(good[:start] + put + good[end:]))
        await hear(build("entsoe", zone="10Y1001A1001A82H"), 1000 * i)
