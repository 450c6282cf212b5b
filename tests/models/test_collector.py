"""A real collector on a real broker: runs are measured, a variant is chosen, a service is told which one to run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime

import httpx
import pytest
from msgspec.structs import replace

from evenwatt_cli.exits import Exit
from evenwatt_wire import Kind
from evenwatt_wire.messages import PartEnergy, TaskEnergy
from tests.collector.middle import Middle, speaking, stop
from tests.collector.said import ZONE, ledger
from tests.models.ledger import REGISTRY
from tests.support import eventually

NOW_S = int(time.time())
TOKEN = "t" * 32
JOULES = {"net:large": 3.6e6, "net:small": 0.9e6}
"""A minute, for 1,000 images."""


def series(path):
    """50 hours around now: 400 g/kWh up to the end of the next hour, then 100."""
    first = (NOW_S // 3600 - 24) * 3600
    rows = [f"{datetime.fromtimestamp(first + 3600 * i, UTC):%Y-%m-%dT%H:%M:%SZ},{400 if i <= 25 else 100}"
            for i in range(50)]  # fmt: skip
    path.write_text("time,g_per_kwh\n" + "\n".join(rows) + "\n")


@pytest.fixture
def middle(tmp_path, broker):
    made = Middle(tmp_path, broker.port)
    series(tmp_path / "ci.csv")
    (tmp_path / "models.toml").write_text(REGISTRY)
    (tmp_path / "tokens").write_text(f"olga jobs {TOKEN}\n")
    (tmp_path / "tokens").chmod(0o600)
    (tmp_path / "operator.toml").write_text(f'collector_url = "http://127.0.0.1:{made.port}"\n')
    made.write(models=str(tmp_path / "models.toml"), zone=f"""
[[zones]]
name = "{ZONE}"
grid = "DE"
pue = 1.5
[[grids]]
name = "DE"
[[grids.sources]]
type = "file"
path = "{tmp_path / "ci.csv"}"
""", http=f'tokens = "{tmp_path / "tokens"}"')  # fmt: skip
    return made


def minute(seq):
    ids = {label: f"{i:012x}" for i, label in enumerate(JOULES, start=1)}
    parts = [PartEnergy("task", ids[label], joules, 0.0, 0.0, 1.0) for label, joules in JOULES.items()]
    tasks = [
        TaskEnergy(ids[label], label, "vision", label, "infer", "", "running", (NOW_S - 3600) * 1000, 60.0 * seq, 0.0,
                   0.0, 0.0, 0.0, [("image", 1000.0 * seq)], "")
        for label in JOULES
    ]  # fmt: skip
    end_ms = (NOW_S - 3_000 + 60 * seq) * 1000
    whole = ledger(seq=seq, energy_j=sum(JOULES.values()))
    return replace(whole, start_wall_ms=end_ms - 60_000, end_wall_ms=end_ms, parts=parts, tasks=tasks)


async def verb(middle, *arguments):
    command = [sys.executable, "-m", "evenwatt_cli", *map(str, arguments), "--config", middle.folder / "operator.toml"]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


async def test_from_runs_to_a_choice_and_a_deployment(middle):
    with middle.run() as collector:
        await middle.ready()
        async with speaking(middle) as node:
            await node.client.subscribe(f"evenwatt/v1/{ZONE}/_ctl/deployments", qos=1)
            await node.join()
            node.start_speaking(100.0)
            for seq in range(1, 11):
                await node.say(minute(seq), Kind.LEDGER)
            await eventually(lambda: node.stored and node.stored[-1].seq == 10, "the records are stored")
            await eventually(lambda: middle.status()["grids"][0]["standing"] != "fallback", "the file is read")

            def listed():
                found = middle.get("/api/v1/models").json()["models"]
                return found if all(one["measured"] for one in found) else None

            views = await eventually(listed, "what tasks cost is read", timeout_s=90)
            means = {view["label"]: view["measured"][0]["joules_per_unit"]["mean"] for view in views}
            assert means == pytest.approx({label: joules / 1000 for label, joules in JOULES.items()})
            chosen = await verb(middle, "choose", "--task", "classify", "--min-quality", 0.8, "--json")
            assert chosen.returncode == Exit.OK, chosen.stderr
            said = json.loads(chosen.stdout)["chosen"]
            assert (said["label"], said["zone"], said["node"]) == ("net:large", ZONE, "n1")
            assert said["g_per_unit"] == pytest.approx(3.6e3 / 3.6e6 * 1.5 * 400)
            card = await verb(middle, "card", "net:small")
            assert card.returncode == Exit.OK, card.stderr
            assert "| infer | 2.50 kWh |" in card.stdout
            job = {"name": "labels", "service": {"task": "classify", "unit": "image"}, "slo": {"min_quality": 0.7}}
            answer = await asyncio.to_thread(
                httpx.post, f"http://127.0.0.1:{middle.port}/api/v1/jobs", json=job, timeout=60,
                headers={"Authorization": f"Bearer {TOKEN}"},
            )  # fmt: skip
            assert answer.status_code < 300, answer.text
            told = await eventually(lambda: node.last(Kind.DEPLOYMENTS, "_ctl"), "the service is told", timeout_s=90)
            (deployment,) = told.services
            assert (deployment.service, deployment.variant, deployment.node) == ("labels", "net:small", "n1")
            assert "dirtiest quarter of the next 24 h" in deployment.why
        assert stop(collector) == 0
