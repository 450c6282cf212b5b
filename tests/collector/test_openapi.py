"""The OpenAPI document: every route of the collector is in it and nothing else, and answers are what it says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from types import SimpleNamespace

import httpx
import pytest
from jsonschema_rs import Draft202012Validator
from starlette.routing import Route

from evenwatt_collector.api import Answers, make_app
from evenwatt_collector.http.endpoint import Endpoint
from evenwatt_collector.live_stream import Hub
from evenwatt_wire import Kind
from tests.collector.middle import Middle, speaking
from tests.collector.said import event, ledger, live, summary
from tests.support import Mosquitto, eventually, wait_for

TOKEN = "0123456789abcdef0123456789abcdef"
EXAMPLES = os.environ.get("EVENWATT_SCHEMATHESIS_EXAMPLES", "2")
"""More for a longer run."""
PAGE = {"/", "/page/{path:path}"}
AT = {"zone": "hall", "node": "n1", "name": "hall", "job": "none"}
ASKED = {
    "/api/v1/nodes/{zone}/{node}": "",
    "/api/v1/history": "?zone=hall",
    "/api/v1/explain/{name}": "",
    "/api/v1/report": "?from=0&by=node",
    "/api/v1/score": "?from=0",
    "/api/v1/plan": "",
    "/api/v1/status": "",
}
"""What is asked of a path, so that there is an answer."""
CLOSED = {path for path in ASKED if path.split("/")[3] in {"nodes", "history", "status"}} | {"/api/v1/nodes"}
"""Made of plain dicts: what is in the answers has to be described, and not only the other way round."""
OPEN = {"/api/v1/openapi.json", "/api/v1/forecasts", "/api/v1/explain/{name}", "/api/v1/jobs/schema"}
"""Described in words only."""


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    """A real process with a node of whom a minute was recorded, whose tokens may do everything."""
    folder = tmp_path_factory.mktemp("openapi")
    broker = Mosquitto(folder).start()
    middle = Middle(folder, broker.port)
    (folder / "tokens").write_text(f"ada jobs,act {TOKEN}\n")
    zone = '[[zones]]\nname = "hall"\ngrid = "DE"\nbudget_w = 1000\n'
    zone += '[[budgets]]\nname = "day"\nscope = "fleet"\ngrams_per_day = 24000\n'
    zone += '[[webhooks]]\nname = "ops"\nurl = "http://127.0.0.1:9/"\n'
    middle.write(zone=zone, http=f'tokens = "{folder / "tokens"}"')
    with middle.run():
        wait_for(lambda: _ready(middle), "the collector is ready", 60)
        asyncio.run(_a_minute(middle))
        yield middle
    broker.kill()


async def _a_minute(middle):
    """Let a node say all that a node says."""

    def known():
        node = middle.node() or {}
        return node.get("records") and node["power_w"] is not None and node["spooled"] is not None

    async with speaking(middle) as node:
        await node.join()
        for message, kind in (
            (live(), Kind.LIVE), (summary(spooled=0), Kind.SUMMARY), (event(), Kind.EVENT), (ledger(), Kind.LEDGER),
        ):  # fmt: skip
            await node.say(message, kind)
        await eventually(known, "the node is known", 60)
        await eventually(lambda: middle.get("/api/v1/history?zone=hall").status_code == 200, "samples are kept", 60)


def _ready(middle):
    try:
        return middle.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


async def test_every_route_is_described_and_nothing_else():
    some = SimpleNamespace()
    answers = Answers(
        status=dict, reasons=list, why=some, report=some, forecasts=list, node_forecast=some, intensities=some,
        jobs=some, models=some, score=some, overrides=some, decisions=some,
    )  # fmt: skip
    app = make_app(answers, Hub())
    routes = [route for route in app.routes if isinstance(route, Route)]
    undescribed = {route.path for route in routes if not isinstance(route, Endpoint)}
    assert undescribed == PAGE, "declare it as an Endpoint"
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        paths = (await client.get("/api/v1/openapi.json")).json()["paths"]
    told = {(method, path) for path, said in paths.items() for method in said}
    assert told == {(route.method.lower(), route.path) for route in routes if isinstance(route, Endpoint)}


def test_answers_are_as_they_are_described(collector):
    document = collector.get("/api/v1/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    asked = 0
    for path, said in document["paths"].items():
        if "get" not in said or path == "/api/v1/stream" or ("{" in path and path not in ASKED):
            continue
        where = path.format(**AT) + ASKED.get(path, "")
        answer = httpx.get(f"http://127.0.0.1:{collector.port}{where}", headers=headers, timeout=60)
        assert answer.status_code == 200 or path not in ASKED, (where, answer.text)
        known = said["get"]["responses"]
        assert str(answer.status_code) in known, (path, answer.status_code, answer.text[:300])
        media = answer.headers.get("content-type", "").partition(";")[0]
        content = known[str(answer.status_code)].get("content", {})
        assert (media in content) or not content, (path, media)
        if media.endswith("json"):
            schema = content[media]["schema"] | {"components": document["components"]}
            Draft202012Validator(_strict(schema) if path in CLOSED else schema).validate(answer.json())
            assert schema | {"components": 0} != {"type": "object", "components": 0} or path in OPEN, path
        asked += 1
    assert asked > 15


def _strict(schema):
    """Return a schema by which nothing may be there that is not described."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _strict(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema and "title" in schema:
        closed["additionalProperties"] = False
    return closed


def test_schemathesis_finds_nothing(collector):
    """What it makes up is the same each time; a longer run: EVENWATT_SCHEMATHESIS_EXAMPLES=200."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{collector.port}/api/v1/openapi.json",
        "--include-path-regex", "^/(api/v1/(?!stream)|livez|readyz|metrics)",  # the stream has no end
        "--exclude-checks", "positive_data_acceptance",  # what fits a schema may be nonsense yet
        "--header", f"Authorization: Bearer {TOKEN}",
        "--phases", "examples,coverage,fuzzing",
        "--max-examples", EXAMPLES, "--generation-deterministic", "--seed", "1",
        "--request-timeout", "60", "--suppress-health-check", "too_slow",  # a busy machine is no fault of an answer
        "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=collector.folder, timeout=900)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "an answer failed" not in collector.log.read_text()
