"""Long questions: two at a time, not too many waiting, and whoever waits gets a turn whatever became of the others."""

from __future__ import annotations

import asyncio

import httpx
from starlette.responses import PlainTextResponse

from evenwatt_collector.http.application import application
from evenwatt_collector.http.endpoint import Endpoint, Operation
from evenwatt_collector.http.turns import AT_ONCE, MOST
from tests.support import eventually


async def test_two_at_a_time_and_too_many_are_sent_away():
    begun, most, go = 0, 0, asyncio.Event()

    async def think(_request):
        nonlocal begun, most
        begun += 1
        most = max(most, begun)
        await go.wait()
        begun -= 1
        return PlainTextResponse("done")

    async def chat(_request):
        return PlainTextResponse("ok")

    app = application([
        Endpoint("GET", "/think", think, Operation(summary="", long=True)),
        Endpoint("GET", "/chat", chat, Operation(summary="")),
    ])  # fmt: skip
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        waiting = [asyncio.create_task(client.get("/think")) for _ in range(MOST)]
        await eventually(lambda: begun == AT_ONCE, "two think")
        await eventually(lambda: app.state.turns.asked == MOST, "all others wait")
        refused = await client.get("/think")
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "5"
        assert (await client.get("/chat")).text == "ok", "short ones go on"
        waiting.pop().cancel()  # one goes away
        await eventually(lambda: app.state.turns.asked == MOST - 1, "its place is free")
        go.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert most == AT_ONCE
    assert app.state.turns.asked == 0
