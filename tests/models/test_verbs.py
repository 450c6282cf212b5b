"""The verbs as processes, against a collector's own routes on a real socket, a real ledger and a real database."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

import httpx
import pytest

from evenwatt_cli.exits import Exit
from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.fleet import Fleet
from evenwatt_collector.grids import Grids
from evenwatt_collector.http.application import application
from evenwatt_collector.jobs.spec import JobSpec, Service, Slo
from evenwatt_collector.models.desk import Models, Sources
from evenwatt_collector.models.following import Following
from evenwatt_collector.models.now import ahead_of, places_now
from evenwatt_collector.models_api import models_routes
from evenwatt_collector.report.build import Made
from evenwatt_collector.storage import connect
from evenwatt_wire.messages import NodeState
from tests.collector.said import live, state
from tests.live.alerts import served
from tests.models import ledger
from tests.models.ledger import INFER_J, NOW
from tests.storage.made import HOUR, facts, reading


class Grid:
    """What a collector's emissions know: one grid, 360 g/kWh now, cleaner later."""

    def __init__(self, now_s, values=(360.0, *[300.0] * 12, *[100.0] * 12)):
        self.grids = Grids({"DE": ("file",)})
        begin = int(now_s // HOUR * HOUR)
        self.grids.take(
            [
                reading(begin + HOUR * i, begin + HOUR * (i + 1), g, standing=Standing.FORECAST, recorded_s=begin)
                for i, g in enumerate(values)
            ],
            now_s,
        )
        self.now_s = now_s

    def facts(self, _zone):
        return facts()

    def factor(self, _zone):
        return self.grids.factor(facts(), self.now_s, self.now_s)


@pytest.fixture
def fleet():
    """n1 and g1 speak, in zone hall."""
    fleet = Fleet()
    for name in ("n1", "g1"):
        fleet.on_state("hall", state(name), time.monotonic())
        fleet.on_live("hall", live(name, seq=1), time.monotonic())
    return fleet


@pytest.fixture
def files(tmp_path):
    ledger.build(tmp_path / "collector.db")
    (tmp_path / "models.toml").write_text(ledger.REGISTRY)
    return tmp_path


@pytest.fixture
def desk(files, fleet):
    grid, heard_s = Grid(NOW), time.monotonic()
    return Models(
        Sources(
            database=str(files / "collector.db"),
            file=str(files / "models.toml"),
            made=lambda: Made(now_s=NOW, version="1.2.3", fleet="lab"),
            places=lambda: places_now(fleet, grid.factor, heard_s),
        )
    )


@pytest.fixture
async def call(files, desk):
    """Return a function that runs a verb against the routes."""
    async with served(application(models_routes(desk))) as url:
        (files / "operator.toml").write_text(f'collector_url = "{url}"\n')

        async def run(*arguments):
            command = [sys.executable, "-m", "evenwatt_cli", *map(str, arguments), "--config", files / "operator.toml"]
            return await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, timeout=60, check=False,
                env={**os.environ, "COLUMNS": "200", "TZ": "UTC"},
            )  # fmt: skip

        yield run


async def test_choose(call):
    done = await call("choose", "--task", "classify", "--min-quality", 0.8)
    assert done.returncode == Exit.OK, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("net:large on hall:n1: 5 mg per image (90 %: ") or lines[0].startswith(
        "net:large on hall:n1: 5.00 mg per image (90 %: "
    )
    assert "40.0 J per image, measured (1 run, the last" in lines[1]
    assert "hall is at 360 g/kWh (forecast, file), PUE 1.25" in lines[2]
    assert any("rests on 2 pieces" in line for line in lines)
    assert "  net:small  top-1 0.75 is 0.05 below the bound of 0.8" in lines
    assert any("net:large  hall:g1: no task with model net:large" in line for line in lines)


async def test_choose_as_a_document(call):
    done = await call("choose", "--task", "classify", "--json")
    said = json.loads(done.stdout)
    assert said["chosen"]["label"] == "net:small"
    assert said["chosen"]["g_per_unit"] == pytest.approx(INFER_J["net:small"] / 1e4 / 3.6e6 * 1.25 * 360)
    assert said["runner_up"]["label"] == "net:large"
    assert said["clear"]


async def test_bounds_that_nothing_meets(call):
    done = await call("choose", "--task", "classify", "--min-quality", 0.8, "--max-latency", 0.3)
    assert done.returncode == Exit.DEGRADED
    assert "latency: net:large on hall:n1 is the fastest, of those with the quality asked for (0.8): " in done.stdout
    assert "it takes 0.36 s (estimated), 0.06 s more than the bound of 0.3 s" in done.stdout
    nowhere = await call("choose", "--task", "classify", "--where", "north")
    assert nowhere.returncode == Exit.DEGRADED
    assert "no node is heard in north; nodes are heard in hall" in nowhere.stdout


async def test_a_task_that_there_is_not(call):
    done = await call("choose", "--task", "clasify")
    assert done.returncode == Exit.USAGE
    assert "no task 'clasify'; did you mean 'classify'?" in done.stderr


async def test_imported_figures_are_marked_and_stand_behind(call, files):
    table = files / "board.csv"
    table.write_text("task,model,variant,unit,joules_per_unit,quality,metric\nclassify,tiny,,image,1,0.8,top-1\n")
    command = [sys.executable, "-m", "evenwatt_cli", "models", "import", table, "--source", "a board",
               "--database", files / "collector.db"]  # fmt: skip
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.stdout == "a board: 1 rows, 1 variants, marked as published\n", done.stderr
    listed = await call("models")
    assert "classify: tiny, top-1 0.8, from an imported table only" in listed.stdout
    assert "  published  a board: 1.00 J per image" in listed.stdout
    assert "  not measured here: run it with --model tiny --phase infer, counting image" in listed.stdout
    assert "  measured   hall:n1: 40.0 (90 %: 40.0 to 40.0) J per image, 25% of it idle" in listed.stdout
    chosen = await call("choose", "--task", "classify", "--min-quality", 0.8)
    assert chosen.stdout.startswith("net:large on hall:n1")
    assert "by a published figure, which does not stand before what was measured here" in chosen.stdout
    bad = table.with_name("bad.csv")
    bad.write_text("task,model\na,b\n")
    command[5] = bad
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == Exit.USAGE
    assert "row 1" in done.stderr


async def test_a_card_from_the_collector_and_from_its_database(call, files):
    asked = await call("card", "net")
    assert asked.returncode == Exit.OK, asked.stderr
    read = await call("card", "net", "--database", files / "collector.db", "--registry", files / "models.toml")
    phases = "| train | 10.0 kWh | 25.0 % | 2.25 kg |"
    assert phases in asked.stdout
    assert phases in read.stdout
    out = files / "card.json"
    assert (await call("card", "net", "--out", out, "--expected-uses", 5e6)).returncode == Exit.OK
    document = json.loads(out.read_text())
    assert document["schema"] == "evenwatt-card/1"
    assert document["lifecycle"]["per_use"]["expected_uses"] == 5e6
    unknown = await call("card", "nyet")
    assert unknown.returncode == Exit.USAGE
    assert "models in the ledger are net, net:large" in unknown.stderr


async def test_a_collector_that_is_not_there(files):
    config = files / "operator.toml"
    config.write_text('collector_url = "http://127.0.0.1:9"\n')
    for verb in (["models"], ["choose", "--task", "classify"], ["card", "net"]):
        command = [sys.executable, "-m", "evenwatt_cli", *verb, "--config", config]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert done.returncode == Exit.FAILURE
        assert "start the collector" in done.stderr


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("choose", 400, "task: missing"),
        ("choose?task=classify&min_quality=high", 400, "min_quality: found 'high', expected a number"),
        ("choose?task=classify&max_latency_s=-1", 400, "max_latency_s: found '-1', expected a number, 0 or more"),
        ("choose?task=classify&colour=red", 400, "unknown parameter 'colour'"),
        ("choose?task=classify&metric=bleu", 404, "stated are top-1"),
        ("models?task=sing", 404, "no task 'sing'"),
        ("card?model=net&from=nan", 400, "from: found 'nan'"),
        ("card?model=net&from=9e9&to=1", 400, "from: found 9000000000, expected less than to, which is 1"),
        ("card?model=net&from=9e9", 404, "from: found 9000000000, expected less than 17937"),
    ],
)
async def test_what_is_asked_wrongly(desk, path, status, words):
    transport = httpx.ASGITransport(app=application(models_routes(desk)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get(f"/api/v1/{path}")
    assert answer.status_code == status
    assert words in answer.json()["error"]


async def test_a_database_that_is_gone_and_a_registry_that_is_spoilt(desk, files):
    transport = httpx.ASGITransport(app=application(models_routes(desk)))
    (files / "models.toml").write_text("models = 3")
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/api/v1/models")
    assert answer.status_code == 404
    assert "models.toml" in answer.json()["error"]


# --- services -----------------------------------------------------------------------------------------------------

SERVICE = JobSpec(name="Labels", service=Service(task="classify"), slo=Slo(min_quality=0.7))


async def test_services_follow_a_forecast_and_go_on_after_a_restart(desk, fleet, files):
    dirty = Grid(time.time())
    following = Following(desk, dirty, fleet)
    (said,) = await following.step([SERVICE, JobSpec(name="batch")])
    assert (said.service, said.variant, said.zone, said.node) == ("labels", "net:small", "hall", "n1")
    assert "dirtiest quarter" in said.why
    connection = connect(str(files / "collector.db"), exclusive=False)
    following.keep(connection)
    again = Following(desk, dirty, fleet)
    again.restore(connection)
    connection.close()
    (same,) = await again.step([SERVICE])
    assert same.since_wall_ms == said.since_wall_ms
    assert again.troubles == []


async def test_a_service_that_nothing_can_run(desk, fleet):
    following = Following(desk, Grid(time.time()), fleet)
    spec = JobSpec(name="x", service=Service(task="classify"), slo=Slo(min_quality=0.99))
    assert await following.step([spec]) == []
    assert following.troubles[0].startswith("service x: net:large: top-1 0.9 is 0.09 below")
    assert await following.step([]) == []


def test_the_next_24_hours_out_of_a_forecast():
    grid = Grid(NOW, values=tuple(float(i) for i in range(40)))
    ahead = ahead_of(grid.grids.forecast("DE", NOW), NOW)
    assert (len(ahead.g_per_kwh), ahead.step_s) == (48, 1800.0)
    assert (ahead.g_per_kwh[0], ahead.g_per_kwh[-1]) == (0.0, 23.0)
    assert ahead.enough
    assert ahead_of([], NOW) is None


def test_silent_nodes_are_no_places(fleet):
    factor, now_s = Grid(NOW).factor, time.monotonic()
    assert [place.alive for place in places_now(fleet, factor, now_s + 30)] == [True, True]
    assert [place.alive for place in places_now(fleet, factor, now_s + 100)] == [False, False]
    fleet.on_state("hall", state("n1", NodeState.LOST), now_s)
    assert [place.alive for place in places_now(fleet, factor, now_s + 30)] == [True, False]
