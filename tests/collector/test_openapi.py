"""The OpenAPI document: every route of the collector is in it and nothing else, and answers are what it says."""

from __future__ import annotations

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
from tests.collector.middle import Middle
from tests.support import Mosquitto, wait_for

TOKEN = "0123456789abcdef0123456789abcdef"
EXAMPLES = os.environ.get("EVENWATT_SCHEMATHESIS_EXAMPLES", "2")
"""More for a longer run."""
PHASES = "examples,coverage,fuzzing" if "EVENWATT_SCHEMATHESIS_EXAMPLES" in os.environ else "examples,fuzzing"
PAGE = {"/", "/page/{path:path}"}


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    """A real process with an empty fleet, whose tokens may do everything."""
    folder = tmp_path_factory.mktemp("openapi")
    broker = Mosquitto(folder).start()
    middle = Middle(folder, broker.port)
    (folder / "tokens").write_text(f"ada jobs,act {TOKEN}\n")
    zone = '[[zones]]\nname = "hall"\ngrid = "DE"\nbudget_w = 1000\n'
    middle.write(zone=zone, http=f'tokens = "{folder / "tokens"}"')
    with middle.run():
        wait_for(lambda: _ready(middle), "the collector is ready", 60)
        yield middle
    broker.kill()


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
        if "get" not in said or "{" in path or path == "/api/v1/stream":
            continue
        answer = httpx.get(f"http://127.0.0.1:{collector.port}{path}", headers=headers, timeout=20)
        known = said["get"]["responses"]
        assert str(answer.status_code) in known, (path, answer.status_code, answer.text[:300])
        media = answer.headers.get("content-type", "").partition(";")[0]
        content = known[str(answer.status_code)].get("content", {})
        assert (media in content) or not content, (path, media)
        if media.endswith("json"):
            schema = content[media]["schema"] | {"components": document["components"]}
            Draft202012Validator(schema).validate(answer.json())
        asked += 1
    assert asked > 15


def test_schemathesis_finds_nothing(collector):
    """What it makes up is the same each time; a longer run: EVENWATT_SCHEMATHESIS_EXAMPLES=200."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{collector.port}/api/v1/openapi.json",
        "--include-path-regex", "^/(api/v1/(?!stream)|livez|readyz|metrics)",  # the stream has no end
        "--exclude-checks", "positive_data_acceptance",  # what fits a schema may be nonsense yet
        "--header", f"Authorization: Bearer {TOKEN}",
        "--phases", PHASES,
        "--max-examples", EXAMPLES, "--generation-deterministic", "--seed", "1",
        "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=collector.folder, timeout=900)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "an answer failed" not in collector.log.read_text()
