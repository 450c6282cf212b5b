"""Work that lives with a container engine or systemd: what they are told. Both are stand-ins; their work is real."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from evenwatt_agent.jobs.plan import Why
from evenwatt_wire import RunState
from evenwatt_wire.command import Code
from tests.agent.jobs.made import Made
from tests.agent.jobs.test_commands import refused
from tests.agent.jobs.test_running import at_work, begin
from tests.agent.jobs.yard import UID, need_root, processes_with
from tests.support import eventually, need, wait_for

# Like an engine: `run` stays until the container ends and passes no signal on; the container is found by its name.
ENGINE = """
import json, os, signal, subprocess, sys, time
here = os.path.dirname(os.path.abspath(__file__))
verb, rest = sys.argv[1], sys.argv[2:]
with open(f"{here}/calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
def pid(name):
    try:
        return int(open(f"{here}/{name}.pid").read())
    except OSError:
        return 0
if verb == "run":
    name = next(a.partition("=")[2] for a in rest if a.startswith("--name="))
    state = next(a.partition("=")[2].partition(":")[0] for a in rest if a.startswith("--volume="))
    at = rest.index("image")
    child = subprocess.Popen(["/bin/sh", "-c", rest[at + 1], state], start_new_session=True)
    open(f"{here}/{name}.pid", "w").write(str(child.pid))
    sys.exit(child.wait() % 256)
name = rest[-1]
if verb == "inspect":
    print(pid(name))
elif verb == "kill":
    os.kill(pid(name), signal.Signals[rest[0].partition("=")[2]])
elif verb == "stop":
    os.kill(pid(name), signal.SIGTERM)
elif verb == "rm" and pid(name):
    try:
        os.killpg(pid(name), signal.SIGKILL)
    except ProcessLookupError:
        pass
"""
SAVES = 'trap "echo 7 > $0/n; echo saved; exit 0" USR1; echo up; while :; do sleep 0.1; done'


def container(yard, script, **fields):
    need(Path("/usr/bin/python3").exists(), "/usr/bin/python3", "python3")
    engine = yard.program("engine", ENGINE, "/usr/bin/python3 -I")
    template = {
        "name": "box", "container": "image", "options": ["--network=none"], "arguments": [script, "{x}"],
        "values": {"x": "[a-z]+"},
    }  # fmt: skip
    yard.write_jobs(template | fields, engine=engine)
    return yard.programs / "calls"


async def test_a_container_gets_fixed_options_and_the_values_behind_its_image(yard, ear):
    calls = container(yard, "echo in; i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done; exit 5")
    async with at_work(yard, ear) as (heard, _):
        run = await begin(heard, yard, "box", [("x", "word")], job="d" * 12)
        end = await heard.report(run, RunState.FAILED)
        assert (await refused(heard, yard.start("box", [("x", "--privileged")]))).startswith("value: ")
    assert end.exit_code == 5
    assert heard.log(run) == "in\n"
    made, *_ = (json.loads(line) for line in calls.read_text().splitlines() if json.loads(line)[0] == "run")
    assert made[:3] == ["run", "--rm", f"--name=evenwatt-{run}"]
    before, after = made[: made.index("image")], made[made.index("image") + 1 :]
    assert after[1:] == ["word"]
    assert {
        "--pull=never", "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--user={UID}:{UID}", "--network=none",
        f"--env=EVENWATT_RUN={run}", "--env=EVENWATT_STATE_DIR=/evenwatt/state",
        f"--volume={yard.folder}/state/jobs/state/{'d' * 12}:/evenwatt/state",
    } <= set(before)  # fmt: skip


async def test_a_container_saves_stops_and_is_counted(yard, ear):
    container(yard, SAVES, interruptible=True, checkpoint={"signal": "SIGUSR1", "wait_s": 20.0})
    async with at_work(yard, ear) as (heard, _):
        run = await begin(heard, yard, "box", [("x", "a")])
        await eventually(lambda: "up" in heard.log(run), "it is up")
        await eventually(lambda: yard.standing(run).get("main_pid"), "its first process is known")
        assert (await heard.ask(yard.stop(run, keep=True))).code is Code.ACCEPTED
        end = await heard.report(run, RunState.STOPPED)
        assert (end.exit_code, end.kept) == (0, True)


async def test_a_container_whose_supervisor_is_killed_is_removed(yard, ear):
    container(yard, "echo up; sleep 4720.1")
    async with at_work(yard, ear) as (heard, _):
        run = await begin(heard, yard, "box", [("x", "a")])
        await eventually(lambda: "up" in heard.log(run), "it is up")
        os.kill(yard.standing(run)["pid"], signal.SIGKILL)
        end = await heard.report(run, RunState.LOST)
        assert "without a word" in end.detail
        await eventually(lambda: not processes_with("sleep\x004720.1"), "nothing is left of it")


SYSTEMCTL = """
here=$(dirname "$0")
echo "$@" >> "$here/calls"
case "$1" in
  is-active) [ -e "$here/active" ] ;;
  start) touch "$here/active"; while [ -e "$here/active" ]; do sleep 0.1; done ;;
  stop) rm -f "$here/active" ;;
  kill) rm -f "$here/active" ;;
  show) echo 0 ;;
esac
"""


@pytest.fixture
def unit(open_folder):
    need_root()
    systemctl = open_folder / "systemctl"
    systemctl.write_text(f"#!/bin/sh\n{SYSTEMCTL}")
    systemctl.chmod(0o755)
    words = {
        "save": ["kill", "--kill-who=main", "--signal=SIGUSR1", "a.service"], "terminate": ["stop", "a.service"],
        "kill": ["stop", "a.service"], "main_pid": ["show", "a.service"], "busy": ["is-active", "a.service"],
    }  # fmt: skip
    commands = {key: [str(systemctl), *rest] for key, rest in words.items()}
    argv = [str(systemctl), "start", "--wait", "a.service"]
    made = Made(open_folder, argv, as_user=False, directory="/", cgroup="", signal=10, wait_s=20.0, **commands)
    yield made
    made.close()


def test_a_unit_is_started_and_asked_to_save(unit, open_folder):
    unit.start().await_phase()
    wait_for((open_folder / "active").exists, "the unit runs")
    unit.ask("keep")
    end = unit.ended()
    assert (end.exit_code, end.kept) == (0, True)
    assert "kill --kill-who=main --signal=SIGUSR1 a.service" in (open_folder / "calls").read_text()


def test_a_unit_that_runs_for_somebody_else_is_not_touched(unit, open_folder):
    (open_folder / "active").touch()
    end = unit.start().ended()
    assert (end.why, end.detail) == (
        Why.START,
        "cannot be started: it runs already, and was not started for a job",
    )
    assert (open_folder / "active").exists()
