"""Long questions: two at a time, not too many waiting, equal ones together, whatever became of the others."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx
from starlette.responses import PlainTextResponse, Response

from evenwatt_collector.http.application import application
from evenwatt_collector.http.endpoint import Endpoint, Operation
from evenwatt_collector.http.errors import RequestError
from evenwatt_collector.http.gate import Gate
from evenwatt_collector.http.settings import HttpSettings
from evenwatt_collector.http.shared import KEPT_S, Kept
from evenwatt_collector.http.tokens import Caller, Scope, Tokens
from evenwatt_collector.http.turns import AT_ONCE, MOST
from tests.support import eventually

ADA, JO, READ = "ada-0123456789abcdef", "jo-0123456789abcdef", "read-0123456789abcdef"


class Thinking:
    """An application that thinks until it is told to go on."""

    def __init__(self, gate=None):
        self.begun = self.most = self.made = 0
        self.go, self.fails = asyncio.Event(), False
        long = Operation(summary="", long=True, query=None)
        self.app = application([
            Endpoint("GET", "/think", self._think, long),
            Endpoint("GET", "/glance", self._think, Operation(summary="", shared=True, query=None)),
            Endpoint("GET", "/chat", self._chat, Operation(summary="")),
        ], gate)  # fmt: skip
        self.turns, self.shared = self.app.state.turns, self.app.state.shared

    async def _think(self, request):
        self.begun += 1
        self.made += 1
        self.most = max(self.most, self.begun)
        number = self.made
        try:
            await self.go.wait()
        finally:
            self.begun -= 1
        if self.fails:
            raise RequestError(404, "there is no answer")
        return PlainTextResponse(f"{number}: {request.url.query}")

    async def _chat(self, _request):
        return PlainTextResponse("ok")

    @asynccontextmanager
    async def client(self):
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client
        await eventually(lambda: not len(self.shared), "nothing is left to be made")
        assert self.turns.asked == 0


def asked(client, path, times=1, **more):
    return [asyncio.create_task(client.get(path, **more)) for _ in range(times)]


async def test_two_at_a_time_and_too_many_are_sent_away():
    thinking = Thinking()
    async with thinking.client() as client:
        waiting = [task for number in range(MOST) for task in asked(client, f"/think?about={number}")]
        await eventually(lambda: thinking.begun == AT_ONCE, "two think")
        await eventually(lambda: thinking.turns.asked == MOST, "all others wait")
        refused = await client.get("/think?about=more")
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "5"
        assert (await client.get("/chat")).text == "ok", "short ones go on"
        again = asked(client, "/think?about=0")
        waiting.pop().cancel()  # one goes away
        await eventually(lambda: thinking.turns.asked == MOST - 1, "its place is free")
        thinking.go.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting, *again)} == {200}
    assert thinking.most == AT_ONCE
    assert thinking.made == MOST - 1


async def test_equal_questions_have_one_answer_and_who_leaves_takes_it_from_nobody():
    thinking = Thinking()
    async with thinking.client() as client:
        first, *others = asked(client, "/think?a=1&b=2", 20) + asked(client, "/think?b=2&a=1")
        head = asyncio.create_task(client.head("/think?a=1&b=2"))
        await eventually(lambda: thinking.begun == 1, "one thinks for all")
        first.cancel()
        thinking.go.set()
        assert {answer.text for answer in await asyncio.gather(*others)} == {"1: a=1&b=2"}
        assert (await head).headers["content-length"] == "10"
    assert thinking.made == 1


async def test_what_nobody_waits_for_is_not_begun_and_can_be_asked_anew():
    thinking = Thinking()
    async with thinking.client() as client:
        busy = asked(client, "/think?about=1") + asked(client, "/think?about=2")
        await eventually(lambda: thinking.begun == AT_ONCE, "two think")
        waiting = asked(client, "/think?about=3", 3)
        await eventually(lambda: len(thinking.shared) == 3, "another waits")
        for task in waiting:
            task.cancel()
        await eventually(lambda: len(thinking.shared) == 2, "it is not waited for")
        again = asked(client, "/think?about=3")
        await eventually(lambda: len(thinking.shared) == 3, "it is asked anew")
        thinking.go.set()
        assert {answer.status_code for answer in await asyncio.gather(*busy, *again)} == {200}
    assert thinking.made == 3


async def test_what_was_begun_is_kept_for_who_comes_back():
    thinking = Thinking()
    async with thinking.client() as client:
        (reader,) = asked(client, "/think")
        await eventually(lambda: thinking.begun == 1, "it thinks")
        await asyncio.sleep(KEPT_S / 50)  # what took this long is kept
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        thinking.go.set()
        await eventually(lambda: len(thinking.shared.kept) == 1, "its answer is kept")
        kept = thinking.shared.kept.find(("/think", (), frozenset()), 0.0)
        assert kept.body == b"1: "


async def test_an_error_goes_to_all_who_wait_and_is_not_kept():
    thinking = Thinking()
    thinking.fails = True
    async with thinking.client() as client:
        waiting = asked(client, "/think", 3)
        await eventually(lambda: thinking.begun == 1, "one thinks")
        thinking.go.set()
        for answer in await asyncio.gather(*waiting):
            assert (answer.status_code, answer.json()) == (404, {"error": "there is no answer"})
        thinking.fails = False
        assert (await client.get("/think")).status_code == 200
    assert thinking.made == 2


async def test_no_answer_crosses_rights():
    tokens = Tokens([
        (ADA, Caller("ada", frozenset({Scope.ACT}))),
        (JO, Caller("jo", frozenset({Scope.ACT}))),
        (READ, Caller("prometheus", frozenset({Scope.READ}))),
    ])  # fmt: skip
    thinking = Thinking(Gate(HttpSettings(read="token"), tokens))
    async with thinking.client() as client:
        waiting = [
            task
            for token in (ADA, JO, READ)
            for task in asked(client, "/think", headers={"Authorization": f"Bearer {token}"})
        ]
        await eventually(lambda: thinking.begun == 2, "one thinks for each set of rights")
        assert (await client.get("/think")).status_code == 401
        assert (await client.get("/think", headers={"Authorization": f"Bearer {READ}x"})).status_code == 401
        thinking.go.set()
        ada, jo, reader = [answer.text for answer in await asyncio.gather(*waiting)]
        assert ada == jo != reader
        assert (await client.get("/think")).status_code == 401, "nor does what is kept"


async def test_a_short_question_is_shared_while_it_is_answered_and_not_kept():
    thinking = Thinking()
    async with thinking.client() as client:
        waiting = asked(client, "/glance", 5)
        await eventually(lambda: thinking.begun == 1, "one is made")
        thinking.go.set()
        assert {answer.text for answer in await asyncio.gather(*waiting)} == {"1: "}
        assert (await client.get("/glance")).text == "2: "


def test_answers_are_kept_for_a_time_that_follows_what_they_cost_and_within_bounds():
    kept = Kept(most_bytes=100)
    kept.put("cheap", Response(b"a" * 10), took_s=0.01, now_s=0.0)
    kept.put("dear", Response(b"b" * 10), took_s=60.0, now_s=0.0)
    assert kept.find("cheap", 0.09)
    assert not kept.find("cheap", 0.11)
    assert kept.find("dear", KEPT_S - 0.1)
    assert not kept.find("dear", KEPT_S)
    assert (len(kept), kept.bytes) == (0, 0)
    kept.put("too large", Response(b"c" * 101), took_s=60.0, now_s=10.0)
    for number in range(5):
        kept.put(number, Response(b"d" * 30), took_s=60.0, now_s=10.0)
    assert [key for key in ("too large", *range(5)) if kept.find(key, 11.0)] == [2, 3, 4]
    assert kept.bytes == 90
