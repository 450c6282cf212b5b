"""Decisions are kept and told, and never flood whoever reads them."""

from __future__ import annotations

import httpx
import pytest

from evenwatt_collector.decided import BURST, KEPT, Decided, DecisionKind, Decisions
from evenwatt_collector.decided_api import decided_routes
from evenwatt_collector.event_news import of_events
from evenwatt_collector.http.application import application
from evenwatt_collector.live_stream import Hub
from evenwatt_wire import Event
from tests.collector.said import BOOT
from tests.live.alerts import served

WALL_S = 1_780_000_000.0


def line(number=0, kind=DecisionKind.CAP, zone="hall"):
    return Decided(kind=kind, wall_s=WALL_S + number, zone=zone, words=f"line {number}")


def event(node, name="lease-expired", **facts):
    return ("hall", Event(node, BOOT, 1, 0, name, "node", list(facts.items())))


def test_what_comes_faster_than_anybody_reads_is_counted_in_one_line():
    decisions = Decisions(Hub())
    decisions.say([line(number) for number in range(1_000)], 0.0, WALL_S)
    assert len(decisions.page(limit=200)) == BURST
    decisions.say([], 0.1, WALL_S)
    assert len(decisions.page(limit=200)) == BURST
    decisions.say([line(2_000)], 1.0, WALL_S)
    newest, more, *_ = decisions.page()
    assert newest["words"] == "line 2000"
    assert more["kind"] == "more"
    assert more["count"] == 1_000 - BURST
    assert more["words"] == "960 more decisions came faster than they could be read: 960 of kind cap"


def test_only_the_latest_are_kept():
    decisions = Decisions(Hub())
    for number in range(KEPT + 50):
        decisions.say([line(number)], float(number), WALL_S)
    found, cursor = [], ""
    while page := decisions.page(before=cursor):
        found += page
        cursor = page[-1]["id"]
    assert [one["words"] for one in found] == [f"line {number}" for number in reversed(range(50, KEPT + 50))]


@pytest.fixture
async def client():
    decisions = Decisions(Hub())
    said = [line(1), line(2, DecisionKind.START), line(3, zone="lab"), line(4, DecisionKind.POLICY, zone="")]
    decisions.say(said, 0.0, WALL_S)
    async with (
        served(application(decided_routes(decisions))) as url,
        httpx.AsyncClient(base_url=f"{url}/api/v1") as found,
    ):
        yield found


async def test_they_can_be_asked_for_by_kind_and_zone_page_by_page(client):
    async def words(**parameters):
        return [one["words"] for one in (await client.get("/decisions", params=parameters)).json()["decisions"]]

    assert await words() == ["line 4", "line 3", "line 2", "line 1"]
    assert await words(zone="hall") == ["line 4", "line 2", "line 1"]
    assert await words(kind=["start", "policy"]) == ["line 4", "line 2"]
    first = (await client.get("/decisions", params={"limit": 3})).json()
    assert await words(cursor=first["next"]) == ["line 1"]


@pytest.mark.parametrize("wrong", [{"kind": "caps"}, {"limit": "0"}, {"limit": "-1"}, {"limit": "1e9"}, {"since": "1"}])
async def test_what_cannot_be_read_is_refused_in_words(client, wrong):
    answer = await client.get("/decisions", params=wrong)
    assert answer.status_code == 400
    assert next(iter(wrong)) in answer.json()["error"]


def test_what_many_nodes_decide_by_themselves_is_one_line():
    (one,) = of_events([event(f"n{number:04}") for number in range(5_000)], WALL_S)
    assert one.count == 5_000
    assert one.words.startswith("n0000, n0001, n0002 and 4997 more let go of their leases, which nobody renewed")
    (alone,) = of_events([event("n1", "cap-locked", why="firmware holds it"), event("n1", "paused")], WALL_S)
    assert alone.words == "n1 cannot set its cap, since something else holds it: firmware holds it"
