"""Connections within bounds: thousands of them, silent ones, slow readers and people who leave, on a real socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from starlette.responses import Response

from evenwatt_collector.api import listen, serve
from evenwatt_collector.http import connections
from evenwatt_collector.http.application import application
from evenwatt_collector.http.connections import TOLD, BoundedProtocol
from evenwatt_collector.http.endpoint import Endpoint, Operation
from evenwatt_collector.http.errors import RequestError
from evenwatt_collector.http.settings import HttpSettings
from evenwatt_collector.jobs_requests import body
from evenwatt_collector.live_stream import Hub, stream_route
from tests.support import eventually, free_port

LARGE = bytes(8 * 1024 * 1024)


class Door:
    """A served application: a large answer, a body that is read, a long question and the stream."""

    def __init__(self):
        self.port, self.hub, self.go, self.begun = free_port(), Hub(), asyncio.Event(), 0
        self.refused = []
        self.app = application([
            Endpoint("GET", "/large", self._large, Operation(summary="")),
            Endpoint("POST", "/read", self._read, Operation(summary="")),
            Endpoint("GET", "/think", self._think, Operation(summary="", long=True, query=None)),
            Endpoint("GET", "/chat", self._chat, Operation(summary="")),
            stream_route(self.hub),
        ])  # fmt: skip

    async def _large(self, _request):
        return Response(LARGE)

    async def _chat(self, _request):
        return Response(b"ok")

    async def _read(self, request):
        try:
            return Response(await body(request))
        except RequestError as error:
            self.refused.append(error.status)
            raise

    async def _think(self, _request):
        self.begun += 1
        await self.go.wait()
        return Response(b"done")

    @asynccontextmanager
    async def open(self):
        sock = listen(HttpSettings(port=self.port))
        before = asyncio.all_tasks()
        async with serve(sock, self.app):
            yield self
            self.hub.close()
        sock.close()
        await eventually(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()}, "no task is left behind")

    async def connect(self, text=""):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(text.encode())
        return reader, writer

    def ask(self, path):
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"

    async def get(self, path):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=60) as client:
            return await client.get(path)


async def ended(reader):
    """Read until the other side has closed; return how much came."""
    size = 0
    with suppress(ConnectionError):
        async with asyncio.timeout(40):
            while piece := await reader.read(65536):
                size += len(piece)
    return size


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(BoundedProtocol, "most", 20)
    monkeypatch.setattr(BoundedProtocol, "look_s", 0.1)


async def test_too_many_connections_are_told_so_and_more_are_closed(few):
    async with Door().open() as door:
        held = [await door.connect() for _ in range(20)]
        first, _ = held[0]
        held[0][1].write(door.ask("/chat").encode())
        assert b"200" in await first.readline(), "who was there goes on"
        refused = await door.get("/chat")
        assert refused.status_code == 503
        assert (refused.headers["connection"], refused.headers["retry-after"]) == ("close", "5")
        told = [await door.connect() for _ in range(TOLD)]
        beyond, _ = await door.connect(door.ask("/chat"))
        with suppress(ConnectionError):
            assert await beyond.read() == b""
        for _, writer in [*held, *told]:
            writer.close()

        async def again():
            while True:
                with suppress(httpx.HTTPError):
                    if (await door.get("/chat")).status_code == 200:
                        return
                await asyncio.sleep(0.05)

        await asyncio.wait_for(again(), 40)


async def test_who_says_nothing_or_takes_nothing_is_let_go(few, monkeypatch):
    monkeypatch.setattr(BoundedProtocol, "silent_s", 0.5)
    monkeypatch.setattr(BoundedProtocol, "stuck_s", 0.5)
    gone, lost = [], BoundedProtocol.connection_lost
    monkeypatch.setattr(BoundedProtocol, "connection_lost", lambda self, exc: (gone.append(self), lost(self, exc)))
    async with Door().open() as door:
        silent, _ = await door.connect()
        slow, _ = await door.connect("GET /chat HTTP/1.1\r\nHost: loc")
        greedy, _ = await door.connect(door.ask("/large"))
        await asyncio.gather(ended(silent), ended(slow))
        await eventually(lambda: len(gone) == 3, "who takes nothing is let go as well", 40)  # the client reads no more
        assert await ended(greedy) < len(LARGE)
        assert (await door.get("/large")).content == LARGE


async def test_a_body_has_to_come_in_time(monkeypatch):
    monkeypatch.setattr("evenwatt_collector.http.bodies.BODY_S", 0.3)
    async with Door().open() as door:
        head = "POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        reader, writer = await door.connect(head)
        async with asyncio.timeout(40):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"the body has not come within" in answer
        monkeypatch.setattr("evenwatt_collector.http.bodies.BODY_S", 60.0)
        _, writer = await door.connect(head)
        writer.close()
        await eventually(lambda: door.refused == [408, 400], "who left is a refusal and no fault of ours", 40)


async def test_who_leaves_gives_its_place_back():
    async with Door().open() as door:
        asked = [await door.connect(door.ask(f"/think?{number}")) for number in range(10)]
        await eventually(lambda: door.app.state.turns.asked == 10, "ten questions, of which two are begun", 40)
        for _, writer in asked:
            writer.close()
        await eventually(lambda: door.app.state.turns.asked == 2, "only what was begun is finished", 40)
        assert door.begun == 2
        door.go.set()
        await eventually(lambda: door.app.state.turns.asked == 0, "nothing is left", 40)


async def test_hundreds_of_streams_are_refused_at_the_bound():
    async with Door().open() as door:
        readers = [await door.connect(door.ask("/api/v1/stream")) for _ in range(300)]
        lines = [await asyncio.wait_for(reader.readline(), 40) for reader, _ in readers]
        assert [line.split()[1] for line in lines].count(b"200") == door.hub.most
        assert {line.split()[1] for line in lines} == {b"200", b"503"}
        for _, writer in readers:
            writer.close()
        await eventually(lambda: len(door.hub) == 0, "their places are free", 40)
    assert door.hub.most < connections.MOST
