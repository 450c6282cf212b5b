"""``evenwatt explain`` asks the collector's own HTTP."""

import asyncio
import json
import subprocess
import sys

import httpx
import pytest

from evenwatt_collector.api import Answers, listen, make_app, serve
from evenwatt_collector.explain import explain
from evenwatt_collector.live_stream import Hub
from evenwatt_collector.settings import HttpSettings
from tests.explain.story import WALL_S, Story


@pytest.fixture(scope="module")
def story():
    return Story({"demo:web-1": 420.0, "demo:gpu-1": 480.0, "demo:gpu-2": 485.0, "demo:gpu-3": 470.0}).run(40)


@pytest.fixture
async def ask(story, tmp_path):
    """The verb against an application that answers from the story."""

    def why(name, at_s):
        now_s = WALL_S + story.second
        return explain(story.steering.narrator, name, now_s if at_s is None else at_s, now_s)

    async def nothing(_query):
        raise NotImplementedError

    answers = Answers(
        status=dict, reasons=list, why=why, report=nothing, forecasts=list, node_forecast=nothing, intensities=None
    )
    sock = listen(HttpSettings(port=0))
    (tmp_path / "operator.toml").write_text(f'collector_url = "http://127.0.0.1:{sock.getsockname()[1]}"\n')

    async def run(*arguments):
        command = [sys.executable, "-m", "evenwatt_cli", "explain", *arguments]
        config = ["--config", str(tmp_path / "operator.toml")]
        return await asyncio.to_thread(subprocess.run, [*command, *config], capture_output=True, text=True, check=False)

    run.url = f"http://127.0.0.1:{sock.getsockname()[1]}/api/v1/explain/gpu-1"
    async with serve(sock, make_app(answers, Hub())):
        yield run
    sock.close()


async def test_now_and_then(ask, story):
    now = await ask("gpu-1")
    assert now.returncode == 0, now.stderr
    assert now.stdout.splitlines() == story.ask("gpu-1")["lines"]
    then = await ask("gpu-1", "--at", "2026-01-14T12:00:01Z", "--json")
    assert json.loads(then.stdout)["reason"]["cause"] == "brake"
    zone = await ask("demo")
    assert zone.stdout.startswith("zone demo may draw 1,660 W")


async def test_an_unknown_name_is_one_line(ask):
    said = await ask("gpu-9")
    assert said.returncode == 2
    assert (
        said.stderr
        == "evenwatt: nothing was decided about 'gpu-9'; known are demo, lab, site, gpu-1, gpu-2, gpu-3, web-1; nor is "
        "a job called so, by its name, its id or the beginning of its id: `evenwatt jobs --all` lists them\n"
    )


async def test_a_node_of_a_zone(ask):
    said = await ask("demo:gpu-1")
    assert said.returncode == 0, said.stderr


async def test_a_time_that_is_none(ask):
    said = await ask("gpu-1", "--at", "noonish")
    assert said.returncode == 2
    assert "--at 'noonish' is not a time" in said.stderr


@pytest.mark.parametrize("at", ["nan", "inf", "1e400", "-1", "x", "9" * 5_000, ""])
async def test_a_moment_beyond_all_calendars_is_a_bad_question(ask, at):
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(ask.url, params={"at": at})).status_code == 400


def test_nobody_to_ask(tmp_path):
    (tmp_path / "operator.toml").write_text('collector_url = "http://127.0.0.1:9"\n')
    command = [sys.executable, "-m", "evenwatt_cli", "explain", "x", "--config", str(tmp_path / "operator.toml")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "start the collector, or set collector_url" in said.stderr
