"""The collector's HTTP on a real process: overrides from the request to the node, who is let in, errors, pages."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import httpx
import pytest

from evenwatt_wire import Kind
from evenwatt_wire.command import Op
from tests.collector.middle import Middle, speaking, stop
from tests.collector.said import ZONE, state, summary
from tests.support import eventually

ACT, JOBS, READ = (f"{name}-{'0123456789abcdef' * 2}" for name in ("act", "jobs", "read"))
BUDGET = f'[[zones]]\nname = "{ZONE}"\ngrid = "DE"\nbudget_w = 1000\n[[zones]]\nname = "attic"\n'
CAP = {"kind": "cap", "zone": ZONE, "node": "n1", "watts": 120, "for_s": 600, "reason": "chiller service"}


@pytest.fixture
def middle(tmp_path, broker):
    made = Middle(tmp_path, broker.port)
    (tmp_path / "tokens").write_text(f"ada act {ACT}\njo jobs {JOBS}\nprometheus read {READ}\n")
    made.http = f'tokens = "{tmp_path / "tokens"}"'
    made.write(zone=BUDGET, http=made.http)
    return made


@asynccontextmanager
async def steering(middle):
    """The collector steers a node that draws 200 W and lets ``batch`` be paused."""
    with middle.run() as child:
        await middle.ready()
        async with speaking(middle) as node:
            await node.join(pausable=["batch"])
            node.start_speaking(200.0)
            await eventually(lambda: node.cap_w, "the first cap", 60)
            yield node, child


def ask(middle, method, path, body=None, token=ACT, **headers):
    if token:
        headers["Authorization"] = f"Bearer {token}"
    url = f"http://127.0.0.1:{middle.port}{path}"
    return httpx.request(method, url, json=body, headers=headers, timeout=60)


def entries(middle, kind):
    lines = (middle.folder / "state" / "audit" / "audit.jsonl").read_text().splitlines()
    return [entry for line in lines if (entry := json.loads(line))["kind"] == kind]


async def test_a_cap_holds_over_a_restart_and_ends_by_hand_and_its_author_is_in_the_audit_log(middle):
    async with steering(middle) as (node, child):
        first = ask(middle, "POST", "/api/v1/overrides?dry_run=1", CAP)
        assert (first.status_code, first.json()["override"]) == (200, None)
        effect = first.json()["effect"]
        assert (effect["nodes"], effect["then_w"], effect["floor_w"]) == (1, 120.0, 50.0)
        assert effect["lines"][0].startswith("Node n1 may draw 120 W at most until ")
        assert ask(middle, "GET", "/api/v1/overrides").json()["overrides"] == []
        made = ask(middle, "POST", "/api/v1/overrides", CAP, **{"Idempotency-Key": "a-key-of-mine"})
        again = ask(middle, "POST", "/api/v1/overrides", CAP, **{"Idempotency-Key": "a-key-of-mine"})
        assert (made.status_code, again.status_code) == (201, 200)
        assert again.json()["override"] == made.json()["override"]
        other = ask(middle, "POST", "/api/v1/overrides", CAP | {"watts": 99}, **{"Idempotency-Key": "a-key-of-mine"})
        assert other.status_code == 409
        await eventually(lambda: node.cap_w == pytest.approx(120.0, abs=1), "the node is capped", 60)
        told = lambda: " ".join(" ".join(ask(middle, "GET", "/api/v1/explain/n1").json()["lines"]).split())  # noqa: E731
        await eventually(lambda: "a cap of 120 W, set by ada" in told(), "it is explained")
        taken = lambda: ask(middle, "GET", "/api/v1/decisions?kind=action").json()["decisions"]  # noqa: E731
        await eventually(lambda: taken() and "set by ada" in taken()[0]["words"], "the decision is told")
        assert stop(child) == 0
        node.cap_w = None
        with middle.run():
            await middle.ready()
            await eventually(lambda: node.cap_w == pytest.approx(120.0, abs=1), "it is capped after a restart", 60)
            (held,) = ask(middle, "GET", "/api/v1/overrides").json()["overrides"]
            assert ask(middle, "DELETE", f"/api/v1/overrides/{held['id']}").json() == held
            assert ask(middle, "DELETE", f"/api/v1/overrides/{held['id']}").status_code == 404
            await eventually(lambda: node.cap_w and node.cap_w > 150, "its cap is what the zone gives again", 60)
            await eventually(lambda: entries(middle, "override-ended"), "the end is in the audit log")
    (made,), (ended,) = entries(middle, "override-set"), entries(middle, "override-ended")
    assert (made["by"], made["watts"], made["node"], made["reason"]) == ("ada", 120.0, "n1", "chiller service")
    assert (ended["by"], ended["how"], ended["id"]) == ("ada", "by hand", made["id"])


async def test_a_pause_is_a_lease_that_ends_and_a_limit_tightens_the_zone(middle):
    async with steering(middle) as (node, _):
        pause = {"kind": "pause", "zone": ZONE, "node": "n1", "for_s": 10, "reason": "a drill"}
        made = ask(middle, "POST", "/api/v1/overrides", pause)
        assert made.status_code == 201, made.text
        assert made.json()["effect"]["targets"] == ["batch"]

        def ordered(op):
            return [command for command in node.commands if (command.op, command.target) == (op, "batch")]

        await eventually(lambda: ordered(Op.PAUSE), "the pause is ordered", 60)
        assert 0 < ordered(Op.PAUSE)[0].ttl_s < 60
        assert "set by ada" in ordered(Op.PAUSE)[0].reason
        await node.say(summary(paused=["batch"]), Kind.SUMMARY)
        await eventually(lambda: ordered(Op.RESUME), "its work goes on by itself", 60)
        await node.say(summary(paused=[]), Kind.SUMMARY)
        limit = {"kind": "limit", "zone": ZONE, "watts": 130, "for_s": 600, "reason": "the grid asks"}
        assert ask(middle, "POST", "/api/v1/overrides", limit).json()["effect"]["then_w"] == 130
        await eventually(lambda: node.cap_w and node.cap_w <= 130, "the zone's nodes are brought below it", 60)
        held = lambda: next(zone for zone in middle.status()["zones"] if zone["zone"] == ZONE)  # noqa: E731
        await eventually(lambda: held()["budget_w"] == 130, "the zone's budget is told")
        zone = held()
        assert "set by ada" in zone["budget_why"]


async def test_what_cannot_be_ordered_is_said(middle):
    async with steering(middle):
        for change, status, words in [
            ({"node": "n9"}, 404, "there is no node 'n9'"),
            ({"zone": "cellar"}, 404, "there is no zone 'cellar'; there are attic, hall"),
            ({"zone": "attic"}, 404, "no node 'n1' in zone 'attic'"),
            ({"watts": None}, 422, "a cap needs watts"),
            ({"kind": "limit"}, 422, "node: a limit has none"),
            ({"reason": "   "}, 422, "say why"),
            ({"reason": "x"}, 400, "reason"),
            ({"reason": "a\u202eb\u0007c"}, 400, "reason"),
            ({"for_s": 90_000}, 400, "for_s"),
            ({"watts": -1}, 400, "watts"),
            ({"colour": 1}, 400, "colour"),
        ]:
            wish = {key: value for key, value in (CAP | change).items() if value is not None}
            answer = ask(middle, "POST", "/api/v1/overrides", wish)
            assert (answer.status_code, words in answer.json()["error"]) == (status, True), (change, answer.text)
        low = ask(middle, "POST", "/api/v1/overrides?dry_run=true", CAP | {"watts": 10}).json()["effect"]
        assert low["then_w"] == 50.0
        assert "Its owner lets no cap go below 50 W: it is held at that." in low["lines"]


async def test_who_may(middle):
    with middle.run():
        await middle.ready()
        for token, status in [(None, 401), (READ, 403), (JOBS, 403), ("wrong-" + ACT, 401)]:
            assert ask(middle, "POST", "/api/v1/overrides", CAP, token=token).status_code == status
        assert ask(middle, "POST", "/api/v1/jobs", {}, token=ACT).status_code == 403
        assert ask(middle, "GET", "/api/v1/status", token=None).status_code == 200
        for guess in range(9):
            ask(middle, "DELETE", "/api/v1/overrides/x", token=f"guess-{guess}-0123456789")
        answer = ask(middle, "DELETE", "/api/v1/overrides/x")
        assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)
        await eventually(lambda: len(entries(middle, "token-refused")) == 10, "refused tokens are in the audit log")
    middle.write(zone=BUDGET, http=f'{middle.http}\nread = "token"')
    with middle.run():
        await middle.ready()
        for path in ("/api/v1/status", "/metrics", "/api/v1/stream", "/locations"):
            assert ask(middle, "GET", path, token=None).status_code == 401
        assert ask(middle, "GET", "/metrics", token=READ).status_code == 200
        assert [ask(middle, "GET", path, token=None).status_code for path in ("/livez", "/readyz", "/")] == [200] * 3


async def test_without_a_token_for_it_there_are_no_actions(middle):
    (middle.folder / "tokens").write_text(f"prometheus read {READ}\n")
    with middle.run():
        await middle.ready()
        refused = ask(middle, "POST", "/api/v1/overrides", CAP, token=READ)
        assert (refused.status_code, "nobody may do this here" in refused.json()["error"]) == (403, True)
        assert ask(middle, "GET", "/api/v1/session").json()["actions"] is False


async def test_a_session_and_what_another_site_cannot_do_with_it(middle):
    with middle.run():
        await middle.ready()
        own = f"http://127.0.0.1:{middle.port}"
        with httpx.Client(base_url=own) as page:
            assert page.post("/api/v1/session", json={"token": "wrong-" + ACT}).status_code == 401
            assert (
                page.post("/api/v1/session", json={"token": ACT}, headers={"Origin": "http://evil"}).status_code == 403
            )
            assert page.post("/api/v1/session", data={"token": ACT}).status_code == 415
            begun = page.post("/api/v1/session", json={"token": ACT}, headers={"Origin": own})
            assert (begun.status_code, begun.json()["name"], begun.json()["scopes"]) == (201, "ada", ["act"])
            cookie = begun.headers["set-cookie"]
            assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
            proof = {"X-Evenwatt-CSRF": begun.json()["csrf"]}
            target = "/api/v1/overrides/none"
            for headers, status in [
                ({}, 403),
                ({"X-Evenwatt-CSRF": "guess"}, 403),
                (proof | {"Origin": "http://evil.example"}, 403),
                (proof | {"Origin": f"http://127.0.0.1:{middle.port + 1}"}, 403),
                (proof | {"Sec-Fetch-Site": "same-site"}, 403),
                (proof | {"Sec-Fetch-Site": "cross-site"}, 403),
                (proof | {"Origin": own, "Sec-Fetch-Site": "same-origin"}, 404),
            ]:
                assert page.delete(target, headers=headers).status_code == status, headers
            assert page.delete("/api/v1/session").status_code == 403
            assert page.delete("/api/v1/session", headers=proof).status_code == 204
            assert page.delete(target, headers=proof).status_code == 401
        remote = httpx.post(f"{own}/api/v1/session", json={"token": ACT}, headers={"Host": f"192.0.2.7:{middle.port}"})
        assert (remote.status_code, "unencrypted" in remote.json()["error"]) == (403, True)
    middle.write(zone=BUDGET, http=f'{middle.http}\ntls = true\nhosts = ["power.example.org"]')
    with middle.run():
        await middle.ready()
        url = f"http://127.0.0.1:{middle.port}/api/v1/session"
        begun = httpx.post(url, json={"token": ACT}, headers={"Host": "power.example.org"})
        assert begun.headers["set-cookie"].startswith("__Host-")
        assert "Secure" in begun.headers["set-cookie"]


async def test_errors_are_json_and_names_that_are_not_ours_get_no_answer(middle):
    with middle.run():
        await middle.ready()
        own = f"http://127.0.0.1:{middle.port}"
        for host in ("evil.example", "evil.example:9730", "localhost.evil.example", "2130706433", ""):
            for path in ("/api/v1/status", "/", "/metrics", "/livez"):
                assert httpx.get(own + path, headers={"Host": host}).status_code in {400, 421}
        assert httpx.get(f"{own}/livez", headers={"Host": "LOCALHOST:1"}).status_code == 200
        assert httpx.get(f"{own}/livez", headers={"Host": "[::1]:9730"}).status_code == 200
        for method, path, status, words in [
            ("GET", "/api/v1/nothing", 404, "there is nothing at"),
            ("GET", "/api/v1/status/", 404, "there is nothing at"),
            ("PATCH", "/api/v1/overrides", 405, "it takes GET, HEAD, POST"),
            ("GET", "/api/v1/status?colour=red", 400, "unknown parameter 'colour'"),
            ("GET", "/api/v1/nodes?limit=0", 400, "limit: found '0'"),
            ("GET", "/api/v1/nodes?limit=1&limit=2", 400, "stands twice"),
            ("GET", "/api/v1/nodes?cursor=%FF", 400, "cursor: found"),
            ("GET", "/api/v1/explain/nobody?at=inf", 400, "expected seconds"),
        ]:
            answer = ask(middle, method, path)
            assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text
        assert ask(middle, "PATCH", "/api/v1/overrides").headers["allow"] == "GET, HEAD, POST"


async def test_pages_neither_repeat_nor_hide_what_stays(middle):
    with middle.run():
        await middle.ready()
        async with speaking(middle) as node:
            for name in ("n1", "n2", "n4", "n5"):
                await node.say(state(name), Kind.STATE, node=name)
            await eventually(lambda: len(middle.status()["nodes"]) == 4, "four nodes are known")
            first = ask(middle, "GET", "/api/v1/nodes?limit=2")
            assert [row["node"] for row in first.json()["nodes"]] == ["n1", "n2"]
            for name in ("n0", "n3"):
                await node.say(state(name), Kind.STATE, node=name)
            await eventually(lambda: len(middle.status()["nodes"]) == 6, "six nodes are known")
            link = first.headers["link"].partition("<")[2].partition(">")[0]
            second = ask(middle, "GET", link)
            assert [row["node"] for row in second.json()["nodes"]] == ["n3", "n4"]
            third = ask(middle, "GET", f"/api/v1/nodes?limit=2&cursor={second.json()['next']}").json()
            assert ([row["node"] for row in third["nodes"]], third["next"]) == (["n5"], None)
            assert ask(middle, "GET", "/api/v1/nodes?zone=attic").json()["nodes"] == []
