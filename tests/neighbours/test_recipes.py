"""The recipes of docs/neighbours.md, run as they stand there with the real programs, where they are."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from evenwatt_collector.neighbours.settings import HomeAssistantSettings, OtlpSettings
from evenwatt_wire import Kind, Topic, WorkloadRate, ZoneSummary, encode
from evenwatt_wire.topics import DELIVERY
from tests.collector.said import live, state, summary
from tests.support import eventually, free_port, process

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "neighbours.md").read_text()
FOLDER = ROOT / "packaging" / "neighbours"
NOW = ZoneSummary(
    zone="hall", wall_ms=1, epoch=1, band="normal", power_w=321.0, budget_w=None, leased_w=950.0,
    emissions_g_per_h=35.0, emissions_g=10.0, intensity_g_per_kwh=388.9, intensity_source="x", pue=1.0, nodes=1,
    silent=0, capped=0, workloads=[WorkloadRate(workload="w", power_w=5.0, emissions_g_per_h=1.0)],
)  # fmt: skip


@asynccontextmanager
async def speaking_node(port):
    """A node and its zone on a real broker, as any listener meets them; the node tells a window all the time."""
    async with aiomqtt.Client("127.0.0.1", port) as client:

        async def say(node, kind, message):
            await client.publish(str(Topic("hall", node, kind)), encode(message), *DELIVERY[kind])

        async def windows():
            for seq in range(1, 10**6):
                await say("n1", Kind.LIVE, live(seq=seq, power_w=120.0))
                await asyncio.sleep(0.1)

        await say("n1", Kind.STATE, state())
        await say("n1", Kind.SUMMARY, summary(power_w=120.0, cap_w=125.0))
        await say("_zone", Kind.SUMMARY, NOW)
        task = asyncio.create_task(windows())
        yield say
        task.cancel()


def commands():
    """The lines of the page's shell blocks that begin with mosquitto_sub."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("mosquitto_sub")]


async def shell(command, port):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    child = await asyncio.create_subprocess_exec(
        "bash", "-o", "pipefail", "-c", command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"BROKER": "127.0.0.1", "PORT": str(port), "PATH": path},
    )  # fmt: skip
    async with asyncio.timeout(60):
        said, wrong = await child.communicate()
    return said.decode(), wrong.decode()


async def test_the_lines_for_mosquitto_sub_say_what_the_page_says(broker):
    if not shutil.which("mosquitto_sub"):
        pytest.skip("needs mosquitto_sub (apt-get install mosquitto-clients)")
    everything, window, number = commands()
    async with speaking_node(broker.port):
        said, wrong = await shell(everything, broker.port)
        rows = dict(line.split(" ", 1) for line in said.splitlines())
        assert json.loads(rows["evenwatt/v1/hall/n1/state"])["state"] == "ready", wrong
        assert json.loads(rows["evenwatt/v1/hall/n1/summary"])["power_w"] == 120.0
        assert json.loads(rows["evenwatt/v1/hall/_zone/summary"])["power_w"] == 321.0
        said, wrong = await shell(window, broker.port)
        assert '"n1"' in said, wrong
        assert json.loads(said)
        assert await shell(number, broker.port) == ("321.0\n", "")


async def test_the_flow_of_node_red_tells_who_reaches_its_cap(tmp_path, broker):
    program = shutil.which("node-red") or pytest.skip("needs node-red (npm install -g node-red)")
    shutil.copy(FOLDER / "node-red.json", tmp_path / "flows.json")
    command = [program, "-u", str(tmp_path), "-p", str(free_port()), "flows.json"]
    log = tmp_path / "log"
    async with speaking_node(broker.port) as say:
        with process(command, log, EVENWATT_BROKER="127.0.0.1", EVENWATT_PORT=str(broker.port)):
            await eventually(lambda: log.exists() and "atCap: true" in log.read_text(), "it is at its cap", 60)
            assert "_zone" not in log.read_text()
            await say("n1", Kind.SUMMARY, summary(power_w=80.0, cap_w=125.0))
            await eventually(lambda: "atCap: false" in log.read_text(), "it has room again")
            await say("n1", Kind.SUMMARY, summary(power_w=80.0))
            await say("n2", Kind.SUMMARY, summary("n2", power_w=80.0, cap_w=81.0))
            await eventually(lambda: "node: 'n2'" in log.read_text(), "another one is at its cap")


def test_the_flow_of_node_red_is_whole():
    """Each wire leads to a node of the flow, and the broker is one of it."""
    flow = json.loads((FOLDER / "node-red.json").read_text())
    ids = {node["id"] for node in flow}
    assert len(ids) == len(flow)
    assert {one for node in flow for wires in node.get("wires", []) for one in wires} <= ids
    assert {node["broker"] for node in flow if node["type"] == "mqtt in"} <= ids


def test_telegraf_asks_for_fields_that_there_are():
    tables = tomllib.loads((FOLDER / "telegraf.conf").read_text())["inputs"]["mqtt_consumer"]
    sent = {
        "evenwatt/v1/+/+/summary": [summary(cap_w=1.0), summary(), NOW],
        "evenwatt/v1/+/_zone/summary": [NOW],
    }
    assert [table["topics"] for table in tables] == [[topic] for topic in sent]
    for table, messages in zip(tables, sent.values(), strict=True):
        (what,) = table["json_v2"]
        for message in map(json.loads, map(encode, messages)):
            assert isinstance(message[what["timestamp_path"]], int)
            needed = {field["path"] for field in what["field"] if not field.get("optional")}
            assert all(isinstance(message[path], float | int) for path in needed)
        every = {key for message in messages for key in json.loads(encode(message))}
        assert {field["path"] for field in what["field"]} <= every
        (parsing,) = table["topic_parsing"]
        assert len(parsing["tags"].split("/")) == len(parsing["topic"].split("/")) == 5


async def test_telegraf_makes_measurements_of_summaries(tmp_path, broker):
    program = shutil.which("telegraf") or pytest.skip("needs telegraf (https://docs.influxdata.com/telegraf)")
    recipe = (FOLDER / "telegraf.conf").read_text().replace("tcp://127.0.0.1:1883", f"tcp://127.0.0.1:{broker.port}")
    config, log = tmp_path / "telegraf.conf", tmp_path / "log"
    config.write_text(f'[agent]\nflush_interval = "1s"\n[[outputs.file]]\nfiles = ["stdout"]\n{recipe}')
    async with speaking_node(broker.port) as say:
        with process([program, "--config", str(config)], log):
            node, zone = (
                re.compile(r"^evenwatt_node,\S*node=n1\S* .*power_w=120"),
                re.compile(r"^evenwatt_zone,.*power_w=321"),
            )

            def told():
                lines = log.read_text().splitlines() if log.exists() else []
                return all(any(one.search(line) for line in lines) for one in (node, zone))

            for _ in range(60):
                if told():
                    break
                await say("n1", Kind.SUMMARY, summary(power_w=120.0, cap_w=125.0))
                await asyncio.sleep(0.5)
            assert told(), log.read_text()
            assert "node=_zone" not in log.read_text()


def test_prometheus_takes_the_recipe_for_remote_write():
    promtool = shutil.which("promtool") or pytest.skip("needs promtool (apt-get install prometheus)")
    said = subprocess.run(
        [promtool, "check", "config", FOLDER / "prometheus-remote-write.yml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("settings", [OtlpSettings, HomeAssistantSettings])
def test_every_setting_is_documented(settings):
    assert [name for name in settings.__struct_fields__ if f"| `{name}` |" not in PAGE] == []


def test_every_exported_metric_is_documented():
    from evenwatt_collector.neighbours.otlp import UNITS

    for name, unit in UNITS.items():
        row = next((line for line in PAGE.splitlines() if line.startswith("| `") and f"`{name}`" in line), "")
        assert f"| {unit} |" in row, name


def test_every_recipe_says_how_far_it_was_tried():
    rows = re.findall(r"^\| \[?[A-Z\w][^|]+\| [^|]+ \| ([^|]+) \|$", PAGE.split("## Prometheus")[0], re.MULTILINE)
    assert len(rows) >= 9
    assert all(re.search(r"tested|run once on 20\d\d-\d\d-\d\d|untested|tried|schedulers", row) for row in rows)
    assert {path.name for path in FOLDER.iterdir()} <= set(re.findall(r"packaging/neighbours/([\w.-]+)", PAGE))
