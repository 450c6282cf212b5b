"""What the doctor says of two processes: to root, to the agent's user, and when the actuator is not there."""

from __future__ import annotations

import json
import subprocess
import sys

from evenwatt_agent.doctor import Verdict, examine
from evenwatt_agent.settings import load
from tests.agent.split.yard import AS_NOBODY


def looked(site):
    return {finding.check: finding for finding in examine(load(str(site.folder / "agent.toml")))}


def test_the_doctor_shows_the_actuator_what_it_lends_and_what_it_holds(site):
    away = looked(site)["actuator"]
    assert away.verdict is Verdict.BROKEN
    assert "systemctl start evenwatt-actuator" in away.fix
    with site.actuator() as actuator:
        site.await_actuator()
        seen = looked(site)
        assert seen["actuator"].verdict is Verdict.FOUND
        assert "no agent is connected, lends 8 energy counters" in seen["actuator"].detail
        assert seen["caps"].verdict is Verdict.FOUND
        assert "held by the actuator, now 250 W (fallback)" in seen["caps"].detail
        command = [sys.executable, "-m", "evenwatt_cli", "doctor", "-c", str(site.folder / "agent.toml"), "--json"]
        said = subprocess.run([*AS_NOBODY, *command], capture_output=True, text=True, check=False)
        rows = {row["check"]: row for row in json.loads(said.stdout)["findings"]}
        assert rows["powercap"]["verdict"] == "found", said.stderr
        assert rows["actuator"]["verdict"] == "found"
        other = ["setpriv", "--reuid=1", "--regid=1", "--clear-groups", "--", *command]
        said = subprocess.run(other, capture_output=True, text=True, check=False)
        rows = {row["check"]: row for row in json.loads(said.stdout)["findings"]}
        assert rows["actuator"]["verdict"] == "denied", rows["actuator"]
        assert "user 1 is not heard here" in rows["actuator"]["detail"]
        assert actuator.poll() is None


def test_check_says_why_an_actuator_is_not_to_run_here(site):
    file = site.folder / "agent.toml"
    good = file.read_text()
    for text, mode, why in [
        (good, 0o644, ""),
        (good, 0o664, "may be written by others than root"),
        (good.replace('process = "actuator"', 'process = "agent"'), 0o644, "the agent holds limits itself here"),
        (good.replace('user = "nobody"', 'user = "no-such-user"'), 0o644, "no user 'no-such-user'"),
        (good.replace("node.pem", "none.pem"), 0o644, "none.pem"),
        (good + "\n[jobs]\nenabled = true\n", 0o644, "jobs"),
    ]:
        file.write_text(text)
        file.chmod(mode)
        command = [sys.executable, "-m", "evenwatt_agent.actuator", "--config", str(file), "--check"]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert said.returncode == (2 if why else 0), said.stderr
        assert why in said.stderr
        assert said.stderr.count("\n") == bool(why)
