"""What every provider owes to its one shell: bounded errors with a fix, pace, cache, and no secret anywhere."""

import json
import logging
import socket
import threading

import pytest
import structlog

from evenwatt_collector.carbon.providers.contract import ProviderError, Trouble, iso
from evenwatt_collector.carbon.providers.feed import GridFeed
from evenwatt_collector.carbon.providers.http import Get, Net
from evenwatt_collector.carbon.providers.pace import Limit
from tests.carbon.providers.conftest import KEY
from tests.carbon.providers.server import Reply
from tests.support import free_port

PLENTY = Limit(burst=1000, per_s=1000)
GOOD = {"zone": "DE", "history": []}


async def failure(http, now_s, **question):
    with pytest.raises(ProviderError) as caught:
        await http.get(Get(path="/x", **question), now_s)
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "fix"),
    [
        (400, Trouble.NONSENSE, "check the zone and base_url"),
        (401, Trouble.REFUSED, "check the key"),
        (403, Trouble.REFUSED, "what its plan includes"),
        (404, Trouble.UNKNOWN_ZONE, "check the zone"),
        (408, Trouble.UNREACHABLE, "asked again"),
        (429, Trouble.LIMITED, "too many requests"),
        (500, Trouble.UNREACHABLE, "asked again"),
        (503, Trouble.UNREACHABLE, "asked again"),
    ],
)
async def test_every_status_is_one_clear_sentence(net, replay, now_s, status, kind, fix):
    replay.on("/x", Reply({"message": "no"}, status))
    error = await failure(net.http("test", replay.url, PLENTY), now_s)
    assert (error.kind, error.status) == (kind, status)
    assert fix in str(error)
    assert f"HTTP {status}" in str(error)
    assert "\n" not in str(error)


async def test_a_redirect_is_not_followed_with_the_key(net, replay, now_s):
    replay.on("/x", Reply(b"", 302, {"location": "https://login.example/?next=1"}))
    error = await failure(net.http("test", replay.url, PLENTY), now_s)
    assert "sends /x on to login.example; set base_url" in str(error)
    assert len(replay.requests) == 1


async def test_nobody_listens(net, now_s):
    error = await failure(net.http("test", f"http://127.0.0.1:{free_port()}", PLENTY), now_s)
    assert error.kind is Trouble.UNREACHABLE
    assert "cannot be reached" in str(error)
    assert error.retry_s <= 30


async def test_no_such_host(net, now_s):
    error = await failure(net.http("test", "http://no-such-host.invalid", PLENTY), now_s)
    assert error.kind is Trouble.UNREACHABLE


async def test_too_slow(net, replay, now_s):
    replay.on("/x", Reply({}, delay_s=3.0))
    error = await failure(net.http("test", replay.url, PLENTY), now_s)
    assert (error.kind, "in time" in str(error)) == (Trouble.UNREACHABLE, True)


async def test_a_peer_that_hangs_up(net, now_s):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(60)

        def hang_up():
            listener.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        error = await failure(net.http("test", f"http://127.0.0.1:{listener.getsockname()[1]}", PLENTY), now_s)
    assert error.kind is Trouble.UNREACHABLE


async def test_an_endless_answer_is_cut(net, replay, now_s, monkeypatch):
    monkeypatch.setattr("evenwatt_collector.carbon.providers.http.LARGEST_ANSWER_BYTES", 1000)
    replay.on("/x", Reply(b"x" * 5000))
    error = await failure(net.http("test", replay.url, PLENTY), now_s)
    assert error.kind is Trouble.NONSENSE


async def test_after_500_it_waits_then_asks_and_all_is_well(net, replay, now_s):
    replay.on("/x", Reply("oops", 500), GOOD)
    http = net.http("test", replay.url, PLENTY)
    error = await failure(http, now_s)
    assert 15 <= error.retry_s <= 30
    again = await failure(http, now_s + 1)
    assert "asked again in" in str(again)
    assert len(replay.requests) == 1, "nothing went out while it waited"
    assert json.loads(await http.get(Get(path="/x"), now_s + 31)) == GOOD


async def test_retry_after_is_honoured(net, replay, now_s):
    replay.on("/x", Reply("slow down", 429, {"retry-after": "1200"}))
    assert (await failure(net.http("test", replay.url, PLENTY), now_s)).retry_s == 1200


async def test_waits_grow_to_an_hour(net, replay, now_s):
    replay.on("/x", Reply("no", 503))
    http = net.http("test", replay.url, PLENTY)
    waits = []
    at_s = float(now_s)
    for _ in range(12):
        waits.append((await failure(http, at_s)).retry_s)
        at_s += waits[-1] + 1
    assert waits[0] <= 30
    assert 1800 <= waits[-1] <= 3600
    assert max(waits) <= 3600


async def test_the_documented_limit_is_kept_before_the_provider_says_so(net, replay, now_s):
    replay.on("/x", GOOD)
    http = net.http("test", replay.url, Limit(burst=2, per_s=0.1))
    for _ in range(2):
        await http.get(Get(path="/x"), now_s)
    error = await failure(http, now_s)
    assert (error.kind, error.retry_s) == (Trouble.LIMITED, 10)
    assert len(replay.requests) == 2
    await http.get(Get(path="/x"), now_s + 11)


async def test_grids_of_one_account_share_its_limit(net, replay, now_s):
    replay.on("/x", GOOD)
    limit = Limit(burst=1, per_s=0.1)
    await net.http("one", replay.url, limit, "key").get(Get(path="/x"), now_s)
    assert (await failure(net.http("two", replay.url, limit, "key"), now_s)).kind is Trouble.LIMITED
    await net.http("three", replay.url, limit, "other key").get(Get(path="/x"), now_s)


async def test_a_restart_burns_no_quota(tmp_path, replay, now_s):
    replay.on("/x", GOOD)
    for _ in range(3):
        net = Net(tmp_path / "cache")
        question = Get(path="/x", params={"zone": "DE"}, max_age_s=60)
        assert json.loads(await net.http("test", replay.url, PLENTY).get(question, now_s)) == GOOD
        await net.close()
    assert len(replay.requests) == 1
    net = Net(tmp_path / "cache")
    await net.http("test", replay.url, PLENTY).get(question, now_s + 61)
    await net.http("test", replay.url, PLENTY).get(question, now_s - 9999)
    await net.close()
    assert len(replay.requests) == 3, "too old, or from the future after a clock went back: asked again"


async def test_a_broken_cache_costs_quota_and_nothing_else(tmp_path, replay, now_s):
    (tmp_path / "cache").write_text("a file where a folder should be")
    replay.on("/x", GOOD)
    net = Net(tmp_path / "cache")
    http = net.http("test", replay.url, PLENTY)
    for _ in range(2):
        assert json.loads(await http.get(Get(path="/x", max_age_s=60), now_s)) == GOOD
    await net.close()


async def test_a_torn_cache_file_is_asked_again(tmp_path, net, replay, now_s):
    replay.on("/x", GOOD)
    http = net.http("test", replay.url, PLENTY)
    await http.get(Get(path="/x", max_age_s=60), now_s)
    for path in (tmp_path / "cache").iterdir():
        path.write_text(path.read_text()[:10])
    assert json.loads(await http.get(Get(path="/x", max_age_s=60), now_s)) == GOOD
    assert len(replay.requests) == 2


async def test_the_clock_is_compared_with_the_servers(net, replay, now_s):
    replay.on("/x", GOOD)
    http = net.http("test", replay.url, PLENTY)
    await http.get(Get(path="/x"), now_s + 1000)
    assert 990 <= http.clock_off_s <= 1010


async def test_a_clock_that_is_off_is_said(build, replay, now_s, capsys):
    structlog.reset_defaults()
    replay.on("/carbon-intensity", GOOD)
    from evenwatt_collector.carbon.annual import IntensityTable
    from evenwatt_collector.carbon.providers.annual import Annual

    fallback = Annual(IntensityTable.packaged().row("DE"), grid="DE")
    source = build("electricity-maps", zone="DE")
    feed = GridFeed("DE", [source], fallback, lambda _: None, clock=lambda: now_s - 1000)
    await feed.step()
    assert "behind the server's" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["electricity-maps", "entsoe", "eia", "watttime"])
@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500])
async def test_no_secret_in_logs_errors_cache_or_representations(
    build, replay, tmp_path, now_s, kind, status, caplog, capfd
):
    structlog.reset_defaults()
    caplog.set_level(logging.DEBUG)
    settings = {
        "electricity-maps": {"zone": "DE"},
        "entsoe": {"zone": "10Y1001A1001A82H"},
        "eia": {"respondent": "CISO"},
        "watttime": {"region": "CAISO_NORTH"},
    }[kind]

    def echo(request):
        """A server that repeats everything it was told, key and all."""
        if request.url.path == "/login":
            return {"token": KEY + "token"} if status == 200 else Reply(str(request.url), status)
        told = {"request": {"params": dict(request.query_params)}, "headers": dict(request.headers)}
        told |= {"zone": "DE", "history": [], "response": {"data": [], "total": "0"}, "data": [], "meta": {}}
        return Reply({"url": str(request.url), "raw": request.url.query, **told}, status)

    replay.on("/", echo)
    source = build(kind, **settings)
    from evenwatt_collector.carbon.annual import IntensityTable
    from evenwatt_collector.carbon.providers.annual import Annual

    fallback = Annual(IntensityTable.packaged().row("DE"), grid="DE")
    feed = GridFeed("DE", [source], fallback, lambda _: None, clock=lambda: now_s)
    await feed.step()
    assert replay.requests, "it was asked"
    shown = capfd.readouterr()
    told = [shown.out, shown.err, caplog.text, repr(source), repr(vars(source)), repr(feed.health)]
    told += [path.read_text() for path in (tmp_path / "cache").glob("**/*") if path.is_file()]
    told += [str(path) for path in (tmp_path / "cache").glob("**/*")]
    for text in told:
        for form in (KEY, "s3cr3t%2Fkey%2BWith%3DSigns", "s3cr3t"):
            assert form not in text


async def test_secrets_come_from_files_and_a_new_key_counts_at_once(build, replay, key_file, now_s):
    replay.on("/carbon-intensity", GOOD)
    source = build("electricity-maps", zone="DE")
    await source.past(now_s - 3600, now_s, now_s)
    key_file.write_text("another key\n")
    await source.past(now_s - 3600, now_s, now_s + 241)
    assert [request.headers["auth-token"] for request in replay.requests] == [KEY, "another key"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "no key in it"),
        (b"ab", "no key"),
        (b"one\ntwo", "more than one line"),
        (b"\xff\xfe\xfa\xfb", "not text"),
    ],
)
async def test_a_key_that_cannot_be_sent(build, replay, key_file, now_s, content, says):
    key_file.unlink()
    if content is not None:
        key_file.write_bytes(content)
    with pytest.raises(ProviderError, match=says) as caught:
        await build("electricity-maps", zone="DE").past(now_s - 3600, now_s, now_s)
    assert caught.value.kind is Trouble.REFUSED
    assert f"token_file {key_file}" in str(caught.value)
    assert not replay.requests


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><html><body>Sign in</body></html>",
        b'{"zone": "DE", "history": [{"zone": "DE", "carbonInt',
        b'{"zone": "DE", "history": [{"datetime": "2026-01-01T00:00:00Z", "carbonIntensity": NaN}]}',
        b"",
        b"null",
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
async def test_what_is_no_answer_is_nonsense(build, replay, now_s, body):
    replay.on("/", Reply(body))
    for kind, settings in {
        "electricity-maps": {"zone": "DE"},
        "neso": {},
        "entsoe": {"zone": "10Y1001A1001A82H"},
        "eia": {"respondent": "CISO"},
    }.items():
        with pytest.raises(ProviderError) as caught:
            await build(kind, **settings).past(now_s - 3600, now_s, now_s)
        assert caught.value.kind is Trouble.NONSENSE
        assert "expected" in str(caught.value)
        assert len(str(caught.value)) < 400


def test_times_are_written_in_utc():
    assert iso(0) == "1970-01-01T00:00:00Z"
