"""cap, release, pause and resume against a real agent on a simulated machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.site import NODE, ZONE, Site
from tests.support import Mosquitto, wait_for


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steer")
    broker = Mosquitto(folder).start()
    made = Site(folder, broker.port)
    job = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (folder / "job.pid").write_text(str(job.pid))
    made.job = job.pid
    made.write_settings(f'[[control.pausable]]\nname = "batch"\npidfile = "{folder / "job.pid"}"')
    (folder / "operator.toml").write_text(
        f'fleet = "f"\nzone = "{ZONE}"\nprivate_key = "{folder / "operator.pem"}"\ntrust = "{folder / "trust.json"}"\n'
        f'root = "{folder / "root.pub"}"\nsocket = "{folder / "run" / "agent.sock"}"\n[mqtt]\nport = {broker.port}\n'
    )
    with made.twin():
        made.await_twin()
        with made.agent():
            wait_for(lambda: '"joined"' in (folder / "agent.log").read_text(), "the agent has joined")
            yield made
    job.kill()
    job.wait()
    broker.kill()


def evenwatt(site, *arguments, config="operator.toml"):
    return subprocess.run(
        [sys.executable, "-m", "evenwatt_cli", *arguments, "--config", str(site.folder / config)],
        capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1", "COLUMNS": "80"},
    )  # fmt: skip


def test_cap_and_release(site):
    capped = evenwatt(site, "cap", NODE, "300", "--for", "1m", "--reason", "test", "--json")
    assert capped.returncode == 0, capped.stderr
    ack = json.loads(capped.stdout)
    assert ack["code"] == "applied"
    assert ack["after_w"] == pytest.approx(300, abs=2)
    said = evenwatt(site, "cap", NODE, "350", "--for", "1m")
    assert re.search(r"(349|350|351) W \(read back\)", said.stdout), said.stdout  # what no knob reaches moves a little
    released = evenwatt(site, "release", NODE)
    assert released.returncode == 0
    assert "restored" in released.stdout


def test_a_cap_out_of_bounds_is_clamped_and_said(site):
    said = evenwatt(site, "cap", NODE, "10", "--for", "5s")
    assert said.returncode == 3
    assert "this node holds 225 to 495 W" in said.stdout
    evenwatt(site, "release", NODE)


def test_dry_run_does_nothing(site):
    before = site.limits()
    said = evenwatt(site, "cap", NODE, "300", "--dry-run")
    assert said.returncode == 0
    assert "dry_run" in said.stdout
    assert site.limits() == before


def test_pause_and_resume(site):
    assert evenwatt(site, "pause", NODE, "batch", "--for", "1m").returncode == 0
    assert _state(site.job) == "T"
    assert evenwatt(site, "resume", NODE, "batch").returncode == 0
    wait_for(lambda: _state(site.job) == "S", "the job runs again")


def test_only_what_the_node_allows_is_paused(site):
    said = evenwatt(site, "pause", NODE, "sshd")
    assert said.returncode == 4
    assert "not-allowed" in said.stdout


def test_a_pause_ends_by_itself(site):
    assert evenwatt(site, "pause", NODE, "batch", "--for", "0.5s").returncode == 0
    wait_for(lambda: _state(site.job) == "S", "the pause has ended")


def test_status_by_socket_and_by_topics(site):
    wait_for(
        lambda: json.loads(evenwatt(site, "status", "--json", "--via", "local").stdout)["nodes"][0]["power_w"], "power"
    )
    local = json.loads(evenwatt(site, "status", "--json", "--via", "local").stdout)["nodes"][0]
    topics = json.loads(evenwatt(site, "status", "--json", "--via", "mqtt").stdout)["nodes"][0]
    assert set(local) == set(topics)
    assert (topics["node"], topics["zone"], topics["state"]) == (NODE, ZONE, "ready")
    assert topics["power_w"] > 0
    text = evenwatt(site, "status").stdout
    assert NODE in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_an_unknown_node_is_said_with_what_is_known(site):
    said = evenwatt(site, "status", "nowhere", "--via", "mqtt")
    assert said.returncode == 2
    assert f"known are {NODE}" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cap", NODE, "300", "--for", "soon"], "not a duration"),
        (["cap", "Not_A_Node", "300"], "not an identifier"),
        (["cap", NODE, "-5"], "watts must be above 0"),
        (["cap", NODE, "nan"], "watts must be above 0"),
        (["status", "--via", "pigeon"], "expected auto"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_2(site, arguments, said):
    result = evenwatt(site, *arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_without_a_key_nothing_is_sent(site):
    (site.folder / "bare.toml").write_text("")
    said = evenwatt(site, "cap", NODE, "300", config="bare.toml")
    assert said.returncode == 2
    assert "no operator key" in said.stderr


def _state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
