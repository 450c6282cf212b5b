"""Webhooks against real receivers that are down, slow, broken or hostile: nothing is lost, nothing leaks."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import stat
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from evenwatt_collector.alerts import AlertState, Severity
from evenwatt_collector.webhook_formats import body
from evenwatt_collector.webhook_settings import WebhookSettings
from evenwatt_collector.webhooks import Patience, Queue, Webhooks
from evenwatt_daemon import Failure
from tests.live.alerts import alert, raw_server, read_request, served
from tests.support import eventually, free_port

QUICK = Patience(first_s=0.01, most_s=0.05, deadline_s=3600, queued=50)


class Receiver:
    """Answers as it is told, in order, then 200; keeps what it was sent."""

    def __init__(self, *answers):
        self.answers, self.got = list(answers), []
        self.app = Starlette(routes=[Route("/{path:path}", self._take, methods=["POST"])])

    async def _take(self, request):
        self.got.append((dict(request.headers), await request.body()))
        return self.answers.pop(0) if self.answers else PlainTextResponse("ok")

    @property
    def deliveries(self):
        return [headers["x-evenwatt-delivery"] for headers, _ in self.got]


@asynccontextmanager
async def running(hooks):
    stop = asyncio.Event()
    task = asyncio.create_task(hooks.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


def make(tmp_path, url, patience=QUICK, wall=lambda: 1_780_000_000.0, **more):
    return Webhooks(
        [WebhookSettings(name="ops", url=url, **more)], tmp_path / "undelivered.json", patience=patience, wall=wall
    )


async def test_an_alert_arrives_signed_and_can_be_checked(tmp_path):
    secret = b"0123456789abcdef0123456789abcdef"
    (tmp_path / "secret").write_bytes(secret + b"\n")
    receiver = Receiver()
    async with served(receiver.app) as url:
        hooks = make(tmp_path, f"{url}/hook", secret_file=str(tmp_path / "secret"))
        async with running(hooks):
            hooks.post(alert(7))
            await eventually(lambda: hooks.health()[0]["delivered"] == 1, "the alert is delivered")
    ((headers, payload),) = receiver.got
    fields = dict(part.split("=", 1) for part in headers["x-evenwatt-signature"].split(","))
    expected = hmac.new(secret, f"{fields['t']}.".encode() + payload, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(fields["v1"], expected)
    assert headers["x-evenwatt-delivery"] == "hall-day:burn:7.0"
    assert headers["x-evenwatt-event"] == "burn"
    assert json.loads(payload) == alert(7).document()


@pytest.mark.parametrize("status", [500, 502, 503, 429, 401, 404, 302, 307, 308])
async def test_what_may_pass_is_tried_again(tmp_path, status):
    answers = [Response(status_code=status, headers={"Retry-After": "0"})] * 2
    receiver = Receiver(*answers)
    async with served(receiver.app) as url:
        hooks = make(tmp_path, url)
        async with running(hooks):
            hooks.post(alert(1))
            await eventually(lambda: hooks.health()[0]["delivered"] == 1, "the alert is delivered")
    assert receiver.deliveries == ["hall-day:burn:1.0"] * 3, "the same id each time"
    assert hooks.health()[0]["failed"] == 2
    assert not hooks.health()[0]["trouble"]


@pytest.mark.parametrize("status", [400, 410, 413, 422])
async def test_what_will_never_be_taken_is_given_up(tmp_path, status):
    receiver = Receiver(Response(status_code=status))
    async with served(receiver.app) as url:
        hooks = make(tmp_path, url)
        async with running(hooks):
            hooks.post(alert(1))
            hooks.post(alert(2))
            await eventually(lambda: hooks.health()[0]["delivered"] == 1, "the second alert is delivered")
    assert receiver.deliveries == ["hall-day:burn:1.0", "hall-day:burn:2.0"]
    assert hooks.health()[0]["refused"] == 1


async def test_a_redirect_to_another_host_gets_nothing(tmp_path):
    thief = Receiver()
    async with served(thief.app) as elsewhere:
        receiver = Receiver(*[RedirectResponse(f"{elsewhere}/take", status_code=307)] * 2)
        async with served(receiver.app) as url:
            hooks = make(tmp_path, url)
            async with running(hooks):
                hooks.post(alert(1))
                await eventually(lambda: hooks.health()[0]["failed"] >= 1, "the redirect is met")
                await eventually(lambda: hooks.health()[0]["delivered"] == 1, "the alert is delivered")
    assert thief.got == []


async def test_a_receiver_that_is_down_gets_it_when_it_is_up(tmp_path):
    port = free_port()
    hooks = make(tmp_path, f"http://127.0.0.1:{port}/")
    receiver = Receiver()
    async with running(hooks):
        for number in range(3):
            hooks.post(alert(number))
        await eventually(lambda: hooks.health()[0]["failed"] >= 2, "attempts have failed")
        assert "ConnectError" in hooks.health()[0]["trouble"]
        async with served(receiver.app, port):
            await eventually(lambda: hooks.health()[0]["delivered"] == 3, "all are delivered")
    assert receiver.deliveries == [f"hall-day:burn:{number}.0" for number in range(3)], "in order"


async def test_a_receiver_that_never_answers_does_not_hold_up_another(tmp_path):
    connected = asyncio.Event()

    async def silent(reader, writer):
        await read_request(reader)
        connected.set()
        await reader.read()

    receiver = Receiver()
    async with raw_server(silent) as slow, served(receiver.app) as url:
        settings = [
            WebhookSettings(name="slow", url=slow, timeout_s=60),
            WebhookSettings(name="quick", url=url),
        ]
        hooks = Webhooks(settings, tmp_path / "undelivered.json", patience=QUICK, wall=lambda: 1_780_000_000.0)
        async with running(hooks):
            for number in range(5):
                hooks.post(alert(number))
            await connected.wait()
            await eventually(lambda: hooks.health()[1]["delivered"] == 5, "the quick one has all")
            assert hooks.health()[0]["delivered"] == 0
    kept = json.loads((tmp_path / "undelivered.json").read_text())
    assert {name: len(alerts) for name, alerts in kept.items()} == {"slow": 5}


async def test_an_answer_that_drips_is_cut_off_by_the_timeout(tmp_path):
    async def drip(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Drip: drop\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with raw_server(drip) as url:
        hooks = make(tmp_path, url, timeout_s=0.2)
        async with running(hooks):
            hooks.post(alert(1))
            await eventually(lambda: hooks.health()[0]["failed"] >= 1, "the attempt has failed")


async def test_a_huge_answer_is_not_read(tmp_path):
    sent = 0

    async def flood(reader, writer):
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    async with raw_server(flood) as url:
        hooks = make(tmp_path, url)
        async with running(hooks):
            for number in range(3):
                hooks.post(alert(number))
            await eventually(lambda: hooks.health()[0]["delivered"] == 3, "all are delivered")
    assert sent < 100_000_000


@pytest.mark.parametrize(
    "answer",
    [b"", b"no HTTP at all\r\n\r\n", b"HTTP/1.1 999999 what\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000],
)
async def test_an_answer_that_is_no_http_is_a_failed_attempt(tmp_path, answer):
    async def babble(reader, writer):
        await read_request(reader)
        writer.write(answer)
        await writer.drain()

    async with raw_server(babble) as url:
        hooks = make(tmp_path, url)
        async with running(hooks):
            hooks.post(alert(1))
            await eventually(lambda: hooks.health()[0]["failed"] >= 2, "attempts have failed")
    assert hooks.health()[0]["delivered"] == 0


async def test_what_is_too_old_is_given_up_after_an_attempt(tmp_path):
    now_s = 1_780_000_000.0
    hooks = make(tmp_path, f"http://127.0.0.1:{free_port()}/", wall=lambda: now_s)
    async with running(hooks):
        hooks.post(alert(1, at_s=now_s - 4000))
        await eventually(lambda: hooks.health()[0]["expired"] == 1, "it has expired")
        assert hooks.health()[0]["failed"] == 1
        assert hooks.health()[0]["queued"] == 0


async def test_what_is_undelivered_goes_out_after_a_restart(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    before = make(tmp_path, url)
    async with running(before):
        for number in range(3):
            before.post(alert(number, severity=Severity.PAGE))
        await eventually(lambda: before.health()[0]["failed"] >= 1, "an attempt has failed")
    file = tmp_path / "undelivered.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    receiver = Receiver()
    async with served(receiver.app, port):
        after = make(tmp_path, url)
        after.post(alert(3))
        async with running(after):
            await eventually(lambda: after.health()[0]["delivered"] == 4, "all are delivered")
    assert receiver.deliveries == [f"hall-day:burn:{number}.0" for number in range(4)]
    assert not file.exists()


async def test_what_is_undelivered_is_kept_before_anybody_says_stop(tmp_path):
    port = free_port()
    patience = replace(QUICK, keep_every_s=0.02)
    hooks = make(tmp_path, f"http://127.0.0.1:{port}/", patience)
    file = tmp_path / "undelivered.json"
    receiver = Receiver()
    async with running(hooks):
        hooks.post(alert(1))
        await eventually(file.exists, "it is written")
        assert json.loads(file.read_text())["ops"][0]["id"] == "hall-day:burn:1"
        async with served(receiver.app, port):
            await eventually(lambda: hooks.health()[0]["delivered"] == 1, "it is delivered")
            await eventually(lambda: not file.exists(), "nothing is kept any more")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"ops": [{"id": 1}]}', b"\xff\xfe", b'{"other": []}'])
def test_a_file_that_cannot_be_read_is_put_aside(tmp_path, content):
    file = tmp_path / "undelivered.json"
    file.write_bytes(content)
    hooks = make(tmp_path, "http://127.0.0.1:1/")
    assert hooks.health()[0]["queued"] == 0
    if b"other" not in content:
        assert (tmp_path / "undelivered.unreadable").read_bytes() == content


async def test_a_folder_that_cannot_be_written_to_is_said_and_survived(tmp_path):
    settings = [WebhookSettings(name="ops", url=f"http://127.0.0.1:{free_port()}/")]
    with capture_logs() as logs:
        hooks = Webhooks(settings, tmp_path / "no" / "such.json", patience=QUICK, wall=lambda: 1_780_000_000.0)
        async with running(hooks):
            hooks.post(alert(1))
            await eventually(lambda: hooks.health()[0]["failed"] >= 1, "an attempt has failed")
    assert any("cannot be kept" in line["event"] for line in logs)


async def test_neither_secret_nor_address_is_ever_shown(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    (tmp_path / "secret").write_text("correct-horse-battery-staple")
    receiver = Receiver(PlainTextResponse("no", status_code=500), PlainTextResponse("no", status_code=400))
    with capture_logs() as logs:
        async with served(receiver.app) as url:
            hooks = make(tmp_path, f"{url}/T00/B00/tokenXYZ", secret_file=str(tmp_path / "secret"))
            async with running(hooks):
                hooks.post(alert(1))
                await eventually(lambda: hooks.health()[0]["refused"] == 1, "it is refused")
        async with running(hooks):
            hooks.post(alert(2))
            await eventually(lambda: hooks.health()[0]["failed"] >= 2, "nobody is there any more")
    shown = f"{logs} {caplog.text} {hooks.health()} {hooks._hooks}"
    assert "correct-horse" not in shown
    assert "tokenXYZ" not in shown


async def test_only_what_is_asked_for_is_sent(tmp_path):
    receiver = Receiver()
    async with served(receiver.app) as url:
        settings = [
            WebhookSettings(name="pager", url=f"{url}/pager", events=["page", "blind"]),
            WebhookSettings(name="all", url=f"{url}/all"),
        ]
        hooks = Webhooks(settings, tmp_path / "undelivered.json", patience=QUICK, wall=lambda: 1_780_000_000.0)
        async with running(hooks):
            hooks.post(alert(1, severity=Severity.INFO))
            hooks.post(alert(2, severity=Severity.PAGE))
            hooks.post(alert(3, kind="blind"))
            hooks.post(alert(4, webhooks=("pager",), severity=Severity.PAGE))
            hooks.post(alert(5, webhooks=("gone",)))
            await eventually(lambda: [one["delivered"] for one in hooks.health()] == [3, 3], "all are delivered")
        assert len(receiver.got) == 6


def test_slack_text_cannot_mention_or_link():
    text = json.loads(body(alert(1, words="<!channel> team <http://x|y> & co"), "slack"))["text"]
    assert "&lt;!channel&gt;" in text
    assert "<" not in text


def test_alertmanager_sees_one_alert_from_open_to_resolved():
    opened = json.loads(body(alert(1), "alertmanager"))[0]
    over = json.loads(body(alert(1, state=AlertState.RESOLVED, severity=Severity.PAGE), "alertmanager"))[0]
    assert opened["labels"] == over["labels"]
    assert opened["endsAt"] > opened["startsAt"]
    assert over["endsAt"] == "2026-05-28T20:26:40Z"


@given(st.lists(st.sampled_from(list(Severity)), max_size=60), st.integers(1, 8), st.booleans())
def test_the_queue_keeps_pages_longest_and_never_drops_what_is_on_its_way(severities, most, sending):
    queue = Queue(most)
    first = alert(-1, severity=Severity.INFO)
    queue.add(first)
    queue.sending = sending
    dropped = [one for i, s in enumerate(severities) if (one := queue.add(alert(i, severity=s))) is not None]
    assert len(queue) <= most
    kept = queue.all()
    assert len(kept) + len(dropped) == len(severities) + 1
    if sending:
        assert queue.first is first
    rest = kept[1:] if sending else kept
    if any(one.severity is Severity.PAGE for one in dropped) and most > 1:
        assert all(one.severity is Severity.PAGE for one in rest), "a page goes only when there is nothing less"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"url": "ftp://host/x"}, "expected http://HOST/PATH"),
        ({"url": "hooks.example.org"}, "expected http://HOST/PATH"),
        ({"url": "http://"}, "expected http://HOST/PATH"),
        ({}, "exactly one of url and url_file"),
        ({"url": "http://a/", "url_file": "b"}, "exactly one of url and url_file"),
        ({"url_file": "/no/such"}, "no such file"),
        ({"url": "http://a/", "secret_file": "/no/such"}, "no such file"),
    ],
)
def test_settings_that_make_no_sense_are_named(tmp_path, fields, words):
    with pytest.raises(Failure) as caught:
        Webhooks([WebhookSettings(name="ops", **fields)], tmp_path / "undelivered.json")
    assert words in str(caught.value)


def test_a_secret_that_is_too_short_is_not_shown(tmp_path):
    (tmp_path / "secret").write_text("hunter2")
    with pytest.raises(Failure, match="7 characters") as caught:
        make(tmp_path, "http://127.0.0.1/", secret_file=str(tmp_path / "secret"))
    assert "hunter2" not in str(caught.value)


def test_two_webhooks_of_one_name_are_named(tmp_path):
    with pytest.raises(Failure, match="a name of its own"):
        Webhooks([WebhookSettings(name="ops", url="http://a/")] * 2, tmp_path / "undelivered.json")
