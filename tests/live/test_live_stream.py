"""The live stream over real sockets: newest states, no event lost unsaid, slow readers, readers that come back."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from contextlib import asynccontextmanager

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.http.application import application
from evenwatt_collector.live_stream import TOPICS, Hub, stream_route
from tests.live.alerts import served
from tests.support import eventually


@asynccontextmanager
async def streaming(hub):
    async with served(application([stream_route(hub)])) as url:
        yield f"{url}/api/v1/stream"
        hub.close()


class Reader:
    """Reads server-sent events as a browser does."""

    def __init__(self, response):
        self._lines = response.aiter_lines()
        self.response = response
        self.last_id = None

    async def next(self):
        """Return the next event as (name, data); a comment is ``("", text)``."""
        name, data = "message", None
        async for line in self._lines:
            if not line:
                if data is not None:
                    return name, data
                name = "message"
            elif line.startswith(":"):
                return "", line[1:].strip()
            else:
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    data = json.loads(value)
                elif field == "id":
                    self.last_id = value
        return None


@asynccontextmanager
async def reading(url, **more):
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("GET", url, **more) as response,
    ):
        yield Reader(response)


async def test_a_new_reader_gets_what_is_so_and_then_what_changes():
    hub = Hub()
    hub.publish("zones", "hall-1", {"name": "hall-1", "power_w": 100.0})
    hub.publish("zones", "hall-1", {"name": "hall-1", "power_w": 120.0})
    async with streaming(hub) as url, reading(url) as reader:
        assert reader.response.headers["content-type"].startswith("text/event-stream")
        assert reader.response.headers["cache-control"] == "no-store"
        assert reader.response.headers["x-accel-buffering"] == "no"
        assert "content-length" not in reader.response.headers
        assert await reader.next() == ("zones", {"name": "hall-1", "power_w": 120.0})
        hub.publish("nodes", "n1", {"node": "n1", "power_w": float("nan")})
        assert await reader.next() == ("nodes", {"node": "n1", "power_w": None})
        hub.say("alerts", {"words": "line\nbreak\r\nand \u2028 \u0085 more"})
        assert await reader.next() == ("alerts", {"words": "line\nbreak\r\nand \u2028 \u0085 more"})
        assert reader.last_id.endswith("-1")
        hub.forget("nodes", "n1")
        assert await reader.next() == ("nodes", {"key": "n1", "gone": True})
        hub.close()
        assert await reader.next() is None


async def test_a_reader_gets_only_its_topics():
    hub = Hub()
    async with streaming(hub) as url, reading(url, params={"topics": "workloads,alerts"}) as reader:
        hub.publish("zones", "hall-1", {"name": "hall-1"})
        hub.say("events", {"name": "node.joined"})
        hub.publish("workloads", "resnet", {"name": "resnet", "g_per_h": 12.0})
        assert await reader.next() == ("workloads", {"name": "resnet", "g_per_h": 12.0})
        hub.say("alerts", {"id": 1})
        assert await reader.next() == ("alerts", {"id": 1})


async def test_an_unknown_topic_is_named():
    async with streaming(Hub()) as url, httpx.AsyncClient() as client:
        answer = await client.get(url, params={"topics": "zones,volts"})
        assert answer.status_code == 400
        assert answer.json()["error"] == f"no topic 'volts'; there is: {', '.join(TOPICS)}"


async def test_head_is_answered_and_ends():
    hub = Hub()
    async with streaming(hub) as url, httpx.AsyncClient() as client:
        answer = await client.head(url)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert len(hub) == 0


async def test_readers_beyond_the_limit_are_told_so_and_room_comes_back():
    hub = Hub(subscribers=2)
    hub.publish("zones", "hall-1", {})
    async with streaming(hub) as url, httpx.AsyncClient() as client:
        async with reading(url) as one, reading(url) as two:
            await one.next()
            await two.next()
            answer = await client.get(url)
            assert answer.status_code == 503
            assert answer.json()["error"] == "there are 2 readers already; try again later"
            assert answer.headers["retry-after"] == "10"
        await eventually(lambda: len(hub) == 0, "readers that left are let go")
        async with reading(url) as three:
            assert await three.next() == ("zones", {})


async def test_a_silent_stream_has_a_heartbeat():
    hub = Hub(heartbeat_s=0.02)
    async with streaming(hub) as url, reading(url) as reader:
        assert await reader.next() == ("", "still here")
        hub.say("events", {"n": 1})
        while (got := await reader.next())[0] == "":
            pass
        assert got == ("events", {"n": 1})


async def test_a_reader_that_comes_back_gets_what_it_missed():
    hub = Hub()
    async with streaming(hub) as url:
        async with reading(url) as reader:
            for n in range(5):
                hub.say("events", {"n": n})
            for _ in range(3):
                await reader.next()
        hub.say("alerts", {"n": 5})
        async with reading(url, headers={"Last-Event-ID": reader.last_id}) as again:
            assert [(await again.next())[1]["n"] for _ in range(3)] == [3, 4, 5]


async def test_what_is_no_longer_kept_is_counted():
    hub = Hub()
    hub.say("events", {"n": 0})
    async with streaming(hub) as url:
        async with reading(url, headers={"Last-Event-ID": "0-0"}) as reader:
            assert (await reader.next())[1]["lost"] is None
            await reader.next()
        for n in range(1, 1_201):
            hub.say("events", {"n": n})
        async with reading(url, headers={"Last-Event-ID": reader.last_id}) as again:
            assert await again.next() == ("gap", {"lost": 200, "why": "no longer kept"})
            assert [(await again.next())[1]["n"] for _ in range(1_000)] == list(range(201, 1_201))


@pytest.mark.parametrize("last_id", ["", "-", "x", "00000000-7", "9" * 5_000, "0-\u00b2".encode()])
async def test_an_id_that_is_none_of_ours_gets_all_that_is_kept(last_id):
    hub = Hub()
    hub.say("events", {"n": 0})
    async with streaming(hub) as url, reading(url, headers={"Last-Event-ID": last_id}) as reader:
        assert await reader.next() == ("gap", {"lost": None, "why": "this id is of another run of the collector"})
        assert await reader.next() == ("events", {"n": 0})


async def raw_reader(url):
    """Open a stream and read nothing of it; small buffers, so that the server feels it soon."""
    host, port = url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=8192)
    writer.write(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return reader, writer


async def test_a_slow_reader_loses_states_in_between_but_never_the_newest():
    hub = Hub()
    padding = "x" * 1_000
    async with streaming(hub) as url:
        reader, writer = await raw_reader(url)
        await eventually(lambda: len(hub) == 1, "the reader is taken in")
        rounds = 400
        for n in range(rounds):
            for key in range(50):
                hub.publish("nodes", f"n{key}", {"node": f"n{key}", "n": n, "padding": padding})
            hub.say("events", {"n": n})
            await asyncio.sleep(0)
        (subscriber,) = hub._subscribers
        assert len(subscriber.states) <= 50
        assert len(subscriber.happenings) <= 256
        newest, events, lost, received = {}, [], 0, 0
        while (
            len(newest) < 50 or any(n != rounds - 1 for n in newest.values()) or not events or events[-1] != rounds - 1
        ):
            line = await reader.readline()
            received += len(line)
            if line.startswith(b"data: "):
                data = json.loads(line[6:])
                if "node" in data:
                    assert data["n"] >= newest.get(data["node"], -1), "never backwards"
                    newest[data["node"]] = data["n"]
                elif "lost" in data:
                    lost += data["lost"]
                else:
                    events.append(data["n"])
        assert received < rounds * 50 * 1_000 / 2, "most states were skipped"
        assert events == sorted(set(events))
        assert len(events) + lost == rounds, "what was lost was said"
        writer.close()


async def test_a_thousand_changes_for_a_stuck_reader_take_no_memory():
    hub = Hub()
    padding = "x" * 2_000

    def publish(rounds):
        for n in range(rounds):
            for key in range(20):
                hub.publish("nodes", f"n{key}", {"n": n, "padding": padding})
            hub.say("events", {"n": n, "padding": padding})

    async with streaming(hub) as url:
        _, writer = await raw_reader(url)
        await eventually(lambda: len(hub) == 1, "the reader is taken in")
        publish(1_500)  # the ring is full
        gc.collect()
        tracemalloc.start()
        publish(3_000)
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert grown < 4_000_000, "ring, pending and newest states are replaced, not added to"
        writer.close()


async def test_a_reader_that_takes_nothing_is_let_go():
    hub = Hub(stuck_s=0.2)
    async with streaming(hub) as url:
        _, writer = await raw_reader(url)
        await eventually(lambda: len(hub) == 1, "the reader is taken in")
        n = 0
        while len(hub):
            n += 1
            hub.publish("nodes", f"n{n % 50}", {"n": n, "padding": "x" * 50_000})
            await asyncio.sleep(0.001)
        writer.close()


async def test_a_reader_that_takes_nothing_does_not_hold_up_the_end():
    hub = Hub()
    async with streaming(hub) as url:
        _, writer = await raw_reader(url)
        await eventually(lambda: len(hub) == 1, "the reader is taken in")
        for n in range(100):
            hub.publish("nodes", f"n{n}", {"n": n, "padding": "x" * 50_000})
        await asyncio.sleep(0.05)
        hub.close()
        await eventually(lambda: len(hub) == 0, "it is let go")
        writer.close()


async def test_nobody_waits_for_a_reader_that_is_gone():
    hub = Hub()
    async with streaming(hub) as url:
        _, writer = await raw_reader(url)
        await eventually(lambda: len(hub) == 1, "the reader is taken in")
        writer.transport.abort()
        await eventually(lambda: len(hub) == 0, "it is let go")


def test_a_message_is_encoded_once():
    hub = Hub()
    many = [hub.subscribe(["nodes"]) for _ in range(10)]
    hub.publish("nodes", "n1", {"node": "n1"})
    messages = [subscriber.states["nodes", "n1"] for subscriber in many]
    assert all(message is messages[0] for message in messages)


@pytest.mark.parametrize(("call", "topic"), [("publish", "alerts"), ("say", "zones"), ("publish", "x")])
def test_a_topic_of_the_wrong_sort_is_a_mistake(call, topic):
    with pytest.raises(ValueError, match="expected one of"):
        getattr(Hub(), call)(topic, *(("k", {}) if call == "publish" else ({},)))


@given(st.lists(st.one_of(st.integers(0, 5), st.just("take"), st.just("say")), max_size=900))
def test_whatever_the_pace_the_newest_state_and_every_event_are_accounted_for(steps):
    hub = Hub()
    subscriber = hub.subscribe(["nodes", "events"])
    truth, seen, events, lost, said = {}, {}, [], 0, 0

    def take():
        nonlocal lost
        for message in subscriber.take().decode().split("\n\n"):
            data = [json.loads(line[6:]) for line in message.splitlines() if line.startswith("data: ")]
            for one in data:
                if "lost" in one:
                    lost += one["lost"]
                elif "node" in one:
                    seen[one["node"]] = one["n"]
                else:
                    events.append(one["e"])

    for i, step in enumerate(steps):
        if step == "take":
            take()
        elif step == "say":
            hub.say("events", {"e": said})
            said += 1
        else:
            truth[step] = i
            hub.publish("nodes", str(step), {"node": step, "n": i})
    while subscriber.woken.is_set():
        take()
    assert seen == truth
    assert events == sorted(set(events))
    assert len(events) + lost == said
