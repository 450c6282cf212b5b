"""The command and the bridges against a real collector, whose grid is dirty for three hours and then clean for four."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.bridges.kube_server import KubeServer, stamp
from tests.bridges.loading import BRIDGES, load
from tests.collector.middle import Middle
from tests.collector.said import ZONE
from tests.support import wait_for

TOKEN = "a-token-that-is-long-enough-0123456789"
HOUR = 3600
slurm = load("slurm/evenwatt_slurm.py")


class Advised(Middle):
    def __init__(self, folder, broker_port):
        super().__init__(folder, broker_port)
        now_s = int(time.time()) // 1800 * 1800
        self.clean_s, self.dirty_s = now_s + 3 * HOUR, now_s + 7 * HOUR
        rows = [
            (now_s - 2 * HOUR, self.clean_s, 500.0),
            (self.clean_s, self.dirty_s, 50.0),
            (self.dirty_s, now_s + 48 * HOUR, 500.0),
        ]
        (folder / "grid.csv").write_text("start,end,g_per_kwh\n" + "".join(f"{a},{b},{g}\n" for a, b, g in rows))
        (folder / "tokens").write_text(f"bridge jobs {TOKEN}\n")
        (folder / "tokens").chmod(0o600)
        source = f'[[grids.sources]]\ntype = "file"\nname = "made"\npath = "{folder / "grid.csv"}"\n'
        self.write(
            f'[[zones]]\nname = "{ZONE}"\ngrid = "DE"\n[[grids]]\nname = "DE"\n{source}',
            http=f'tokens = "{folder / "tokens"}"',
        )
        self.url = f"http://127.0.0.1:{self.port}"

    def forecast_is_there(self):
        try:
            path = f"{self.url}/emissions/forecasts/current?location={ZONE}"
            return httpx.get(path, timeout=60).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture
def collector(tmp_path, broker):
    made = Advised(tmp_path, broker.port)
    with made.run():
        wait_for(made.forecast_is_there, "the collector has a forecast", 60)
        yield made


def evenwatt(collector, *arguments):
    settings = collector.folder / "operator.toml"
    settings.write_text(f'zone = "{ZONE}"\ncollector_url = "{collector.url}"\n')
    return subprocess.run(
        [Path(sys.executable).with_name("evenwatt"), "advise", *arguments], capture_output=True, text=True,
        check=False, timeout=60, env={**os.environ, "EVENWATT_CONFIG": str(settings)},
    )  # fmt: skip


def test_the_command_waits_for_the_clean_hours(collector):
    done = evenwatt(collector, "--length", "2h", "--deadline", "+12h", "--power", "300", "--json")
    assert done.stderr.count("nobody advised") == 0, done.stderr
    said = json.loads(done.stdout)
    assert done.returncode == 10
    assert collector.clean_s - 60 <= said["start_s"] <= collector.dirty_s - 2 * HOUR + 60
    assert said["saved_pct"] == pytest.approx(90, abs=2)
    assert said["rests_on"]
    assert evenwatt(collector, "--length", "2h", "--deadline", "+2h10m", "--at-exit").returncode == 0


def test_kubernetes_waits_for_the_clean_hours(collector):
    with KubeServer().serving() as kube:
        notes = {"evenwatt.io/length": "2h"}
        kube.add("jobs", "train", labels={"evenwatt.io/deadline": "12h"}, annotations=notes, suspend=True)
        command = [
            sys.executable, str(BRIDGES / "kubernetes" / "controller.py"), "--url", collector.url, "--zone", ZONE,
            "--kube", kube.url, "--once",
        ]  # fmt: skip
        subprocess.run(command, check=True, timeout=60)
        assert kube.get("jobs", "train")["spec"]["suspend"]
        found = kube.notes("jobs", "train")
        assert stamp(collector.clean_s - 60) <= found["start"] <= stamp(collector.dirty_s - 2 * HOUR + 60)
        assert "90 % less expected" in found["why"]


def test_slurm_is_advised_and_what_it_reports_is_kept(collector):
    asked = slurm.Collector(collector.url, ZONE, TOKEN)
    now_s = time.time()
    slots = asked.forecast()
    assert [after[0] for after in slots[1:]] == [before[1] for before in slots[:-1]]
    assert {grams for *_, grams in slots} == {500.0, 50.0}
    row = {
        "job_id": 4711, "job_state": "PENDING", "state_reason": "None", "submit_time": now_s, "eligible_time": now_s,
        "time_limit": 120, "comment": "evenwatt:deadline=+12h,power=300", "name": "train", "user_name": "ada",
    }  # fmt: skip
    (job,) = slurm.read_queue({"jobs": [row]}, now_s)
    wish = slurm.wish_of(job, slurm.opted(job, {}, {}))
    advice = asked.advise(job, wish, now_s)
    assert collector.clean_s - 60 <= advice.start_s <= collector.dirty_s - 2 * HOUR + 60
    assert advice.saving == pytest.approx(0.9, abs=0.02)
    spec = asked.spec(job, wish, now_s)
    for _ in range(2):  # a second time changes nothing
        asked.report(job, spec, "waiting", {})
        asked.report(job, spec, "started", {"zone": ZONE})
    asked.report(job, spec, "ended", {"energy_j": 2.16e6, "duration_s": 7200.0})

    def record():
        jobs = httpx.get(f"{collector.url}/api/v1/jobs", timeout=60).json()["jobs"]
        found = [one for one in jobs if one["spec"]["external"] == "slurm:4711"]
        assert len(found) == 1
        return found[0] if found[0]["state"] == "done" else None

    kept = wait_for(record, "the job is done")
    assert sum(run["energy_j"] for run in kept["runs"]) == pytest.approx(2.16e6)


def test_a_zone_that_is_not_there_is_named_and_the_work_starts(collector):
    done = evenwatt(collector, "--length", "2h", "--deadline", "+12h", "--zones", "nowhere")
    assert done.returncode == 0
    assert "nowhere" in done.stderr
    assert "work comes first" in done.stderr
