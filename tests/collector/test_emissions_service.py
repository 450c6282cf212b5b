"""The carbon side as a process: files of intensity, reports, corrections, the stream, alerts; on both databases."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import fsum
from threading import Thread

import httpx
import pytest

from evenwatt_wire import Kind, WorkPower
from evenwatt_wire.messages import PartEnergy, TaskEnergy
from tests.collector.middle import Middle, speaking, stop
from tests.collector.said import ZONE, ledger, live
from tests.storage.databases import Cluster
from tests.support import eventually

NOW_S = int(time.time())
NOON = f"Etc/GMT{NOW_S // 3600 % 24 - 12:+d}"
"""Where it is about noon now: some minutes ago was today."""
KWH = 3.6e6


@pytest.fixture(scope="module")
def cluster():
    running = Cluster().start()
    yield running
    running.remove()


class Receiver:
    """A real webhook receiver."""

    def __init__(self):
        self.heard = heard = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"


@pytest.fixture
def receiver():
    running = Receiver()
    yield running
    running.server.shutdown()


@pytest.fixture(params=["sqlite", "postgres"])
def middle(request, tmp_path, broker, receiver):
    made = Middle(tmp_path, broker.port)
    series(tmp_path / "ci.csv", 300.0)
    made.database = str(tmp_path / "state" / "collector.db")
    top = {}
    if request.param == "postgres":
        made.database = top["database"] = request.getfixturevalue("cluster").database()
    made.write(zone=f"""
[[zones]]
name = "{ZONE}"
grid = "DE"
pue = 1.5
[[grids]]
name = "DE"
[[grids.sources]]
type = "file"
path = "{tmp_path / "ci.csv"}"
period_s = 3600
[[labels]]
owner = "unit/nginx.service"
workload = "web"
team = "shop"
[[budgets]]
name = "tiny"
grams_per_day = 1.0
timezone = "{NOON}"
[[webhooks]]
name = "pager"
url = "{receiver.url}"
""", **top)  # fmt: skip
    return made


def series(path, value):
    first = (NOW_S // 3600 - 48) * 3600
    rows = [f"{datetime.fromtimestamp(first + 3600 * i, UTC):%Y-%m-%dT%H:%M:%SZ},{value}" for i in range(50)]
    path.write_text("time,g_per_kwh\n" + "\n".join(rows) + "\n")


def minute(seq, energy_j=KWH):
    """A record that ended some minutes ago: 20 % of it a web server, half of it a task, the rest idle."""
    from msgspec.structs import replace

    parts = [PartEnergy("unit", "nginx.service", energy_j * 0.2, 0.0, 0.0, 1.0),
             PartEnergy("task", "0" * 11 + "1", energy_j * 0.5, 0.0, 0.0, 1.0),
             PartEnergy("idle", "", 0.0, 0.0, energy_j * 0.3, 0.0)]  # fmt: skip
    tasks = [TaskEnergy("0" * 11 + "1", "run", "resnet", "resnet50", "train", "", "running", NOW_S * 1000, 60.0 * seq,
                        0.0, 0.0, 0.0, 0.0, [("images", 100.0 * seq)], "vision")]  # fmt: skip
    end_ms = (NOW_S - 3_000 + 60 * seq) * 1000
    return replace(
        ledger(seq=seq, energy_j=energy_j), start_wall_ms=end_ms - 60_000, end_wall_ms=end_ms, parts=parts, tasks=tasks
    )


def report(middle, by, **more):
    parameters = {"by": by, "from": NOW_S - 86_400, "to": NOW_S + 60} | more
    answer = httpx.get(f"http://127.0.0.1:{middle.port}/api/v1/report", params=parameters, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows(document):
    return {row["name"]: row["figures"]["location_g"] for row in document["rows"]}


def verb(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "evenwatt_cli", *arguments], capture_output=True, text=True, check=False
    )


async def test_grams_from_a_nodes_words_to_reports_alerts_and_corrections(middle, receiver):
    with middle.run() as child:
        await middle.ready()
        async with speaking(middle) as node:
            await node.join()
            await eventually(lambda: middle.status()["grids"][0]["standing"] == "measured", "the file is read")
            for seq in range(1, 11):
                await node.say(minute(seq), Kind.LEDGER)
            await eventually(lambda: node.stored and node.stored[-1].seq == 10, "the records are stored")

            wanted_g = 10 * 1.5 * 300.0
            await eventually(
                lambda: report(middle, "zone")["total"]["energy_j"] == pytest.approx(10 * KWH), "all is in"
            )
            for by, expected in (
                ("zone", {ZONE: 1.0}),
                ("node", {"n1": 1.0}),
                ("workload", {"web": 0.2, "resnet": 0.5, "(idle)": 0.3}),
                ("model", {"resnet50": 0.5, "(no model)": 0.2, "(idle)": 0.3}),
                ("team", {"shop": 0.2, "vision": 0.5, "(idle)": 0.3}),
            ):
                found = rows(report(middle, by))
                assert found == pytest.approx({name: share * wanted_g for name, share in expected.items()}, rel=1e-9)

            def done():
                return {row["name"]: row["figures"]["units"] for row in report(middle, "workload")["rows"]}["resnet"]

            await eventually(lambda: done() == {"images": 1000.0}, "units of work are booked")

            before_s = time.time()
            await asyncio.sleep(1.1)
            series(middle.folder / "ci.csv", 200.0)
            named = ("--database", middle.database, "--grid", "DE")
            said = await asyncio.to_thread(verb, "ledger", "intensity", str(middle.folder / "ci.csv"), *named, "--json")
            assert json.loads(said.stdout)["new"] >= 47, said.stderr
            assert report(middle, "zone")["total"]["location_g"] == pytest.approx(10 * 1.5 * 200.0, rel=1e-9)
            then = report(middle, "zone", known_at=before_s)
            assert then["total"]["location_g"] == pytest.approx(wanted_g, rel=1e-9)
            printed = await asyncio.to_thread(
                verb, "report", "--by", "team", "--database", middle.database, "--from", "2d ago", "--json"
            )
            total = json.loads(printed.stdout)["total"]
            assert total["location_g"] == pytest.approx(10 * 1.5 * 200.0, rel=1e-9)

            await eventually(
                lambda: any(a["kind"] == "spent" for a in receiver.heard), "the budget's alert arrives", 100
            )
            assert any("tiny" in alarm for alarm in middle.status()["zones"][0]["alarms"])
        assert stop(child) == 0


async def test_rates_by_workload_reach_status_stream_and_metrics(middle):
    with middle.run() as child:
        await middle.ready()
        async with speaking(middle) as node, httpx.AsyncClient(timeout=60) as client:
            await node.join()
            await eventually(lambda: middle.status()["grids"][0]["standing"] == "measured", "the file is read")
            url = f"http://127.0.0.1:{middle.port}/api/v1/stream?topics=workloads,nodes"
            async with client.stream("GET", url) as stream:
                work = [WorkPower("workload", "resnet", 80.0), WorkPower("unit", "nginx.service", 20.0)]
                from msgspec.structs import replace

                async def speak():
                    for seq in range(1, 10**6):
                        await node.say(replace(live(seq=seq, power_w=200.0), work=work), Kind.LIVE)
                        await asyncio.sleep(0.2)

                node.tasks.append(asyncio.create_task(speak()))
                heard = {}
                async for line in stream.aiter_lines():
                    if line.startswith("data:"):
                        said = json.loads(line[5:])
                        heard[said.get("workload") or said.get("node")] = said
                    if {"resnet", "web", "n1"} <= set(heard):
                        break
            assert heard["resnet"]["emissions_g_per_h"] == pytest.approx(80 / 1000 * 1.5 * 300.0)
            assert heard["web"]["power_w"] == 20.0
            wanted = 'evenwatt_workload_carbon_grams_per_hour{workload="resnet"} 36.0'
            await eventually(lambda: wanted in middle.get("/metrics").text, "the workload is in the metrics")
            text = middle.get("/metrics").text
            assert 'evenwatt_grid_speaking{grid="DE",source="file",standing="measured"} 1.0' in text
            worked_w = lambda: fsum(w["power_w"] for w in middle.status()["workloads"])  # noqa: E731
            await eventually(lambda: worked_w() == 100.0, "the status has both workloads")
        assert stop(child) == 0


async def test_clients_of_the_carbon_aware_sdk_are_answered(middle):
    with middle.run() as child:
        await middle.ready()
        await eventually(lambda: middle.status()["grids"][0]["standing"] == "measured", "the file is read")
        start = datetime.fromtimestamp(NOW_S // 3600 * 3600 - 7200, UTC).isoformat().replace("+00:00", "Z")
        end = datetime.fromtimestamp(NOW_S // 3600 * 3600, UTC).isoformat().replace("+00:00", "Z")
        query = f"/emissions/bylocation?location={ZONE}&time={start}&toTime={end}"

        def answered():
            said = middle.get(query)
            return said.status_code == 200 and [point["rating"] for point in said.json()] == [300.0, 300.0]

        await eventually(answered, "observed intensities are told")
        assert ZONE in middle.get("/locations").json()
        assert middle.get("/emissions/bylocation?location=nowhere").status_code == 400
        assert stop(child) == 0
