"""Every kind of machine with a real agent on it: its total counts nothing twice, and status and doctor say what it is.

The load is steady, so the node's mean power over a window has one true value: what the machine's parts draw together.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evenwatt_twin.truth import Truth
from tests.support import free_port, need, process, wait_for

STEADY = {"kind": "steady", "load": 0.6}
MACHINES = {
    "xeon_psys": "psys",
    "epyc": "package-0",
    "laptop": "psys",
    "edge_ina": "ina3221/VDD_IN",
    "apu_box": "amdgpu/PPT",
    "arc_box": "package-0 + xe/card",
}
SETTINGS = """
zone = "z"
node = "m1"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[mqtt]
port = {port}
[sources]
sysfs = "{sysfs}"
"""


def status(folder, *arguments):
    (folder / "operator.toml").write_text(f'socket = "{folder}/run/agent.sock"\n')
    command = [sys.executable, "-m", "evenwatt_cli", "status", "--via", "local", "-c", str(folder / "operator.toml")]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=environment)


def measured(folder, expected=lambda mean_w: mean_w > 0, what="the agent has measured a window"):
    """Return the local status once the latest window's mean power is ``expected``."""

    def look():
        done = status(folder, "--json")
        local = json.loads(done.stdout)["local"] if done.returncode in {0, 3} else {"window": None}  # 3: no broker
        total = [row for row in local["window"] or [] if row["id"] == "node" and expected(row["mean_w"])]
        return local if total else None

    return wait_for(look, what)


def true_w(folder):
    """Return what the machine's parts draw together, the load being steady; nothing before it is on disk."""
    truth = Truth.load(folder / "twin" / "m1" / "truth.bin")
    if not truth.mono_ns:
        return math.nan
    start_ns, end_ns = truth.mono_ns[0], truth.mono_ns[-1]
    return truth.energy_j(start_ns, end_ns) / ((end_ns - start_ns) * 1e-9)


def run_agent(folder, sysfs, **environment):
    (folder / "agent.toml").write_text(SETTINGS.format(folder=folder, sysfs=sysfs, port=free_port()))
    command = [sys.executable, "-m", "evenwatt_agent", "--config", str(folder / "agent.toml")]
    return process(command, folder / "agent.log", **environment)


def run_twin(folder, name, **more):
    (folder / "twin.json").write_text(
        json.dumps({"machines": [{"id": "m1", "preset": name, "profile": STEADY, **more}]})
    )
    command = [sys.executable, "-m", "evenwatt_twin", str(folder / "twin.json"), "--dir", str(folder / "twin")]
    return process(command, folder / "twin.log")


def await_twin(folder):
    log = folder / "twin.log"
    wait_for(lambda: log.exists() and '"ready": true' in log.read_text(), "the twin is ready")


def doctor(folder, **environment):
    command = [sys.executable, "-m", "evenwatt_cli", "doctor", "-c", str(folder / "agent.toml"), "--json"]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return {row["check"]: row for row in json.loads(done.stdout)["findings"]}


@pytest.mark.parametrize(("name", "formula"), MACHINES.items())
def test_its_total_is_what_its_parts_draw_together(tmp_path, name, formula):
    with run_twin(tmp_path, name):
        await_twin(tmp_path)
        with run_agent(tmp_path, tmp_path / "twin" / "m1" / "sys"):
            # The twin is a process and stalls on a busy machine, so one window may be off; a sum that has a part
            # twice, or lacks one, is off in every window.
            agrees = lambda mean_w: mean_w == pytest.approx(true_w(tmp_path), rel=0.02)  # noqa: E731
            local = measured(tmp_path, agrees, "the node's power is what its parts draw")
            text = status(tmp_path).stdout
            report = doctor(tmp_path)
    assert local["birth"]["total_formula"] == formula
    assert report["node power"]["detail"].startswith(formula)
    assert report["agent"]["detail"].startswith("running as m1")  # without a broker, which the doctor says as well
    assert f"node power = {formula}" in text
    assert max(len(line) for line in text.splitlines()) <= 80
    for domain in local["birth"]["domains"]:
        assert (
            "(shown, not added)" in next(row for row in text.splitlines() if row.startswith(f"  {domain['id']} "))
        ) is (not domain["in_total"])


def test_a_machine_with_nothing_estimates_and_says_so(tmp_path):
    (tmp_path / "sys").mkdir()
    with run_agent(tmp_path, tmp_path / "sys"):
        local = measured(tmp_path)
        text = status(tmp_path).stdout
        report = doctor(tmp_path)
    assert local["birth"]["total_formula"] == "estimate"
    assert local["summary"]["quality"] == "estimated"
    assert "estimated" in text
    assert report["node power"]["fix"]


def boards(folder):
    """Return what an agent needs to see the twin's boards, and their state."""
    from evenwatt_twin.nvml_state import NvmlState

    lines = (folder / "twin.log").read_text().splitlines()
    places = json.loads(next(line for line in lines if '"ready": true' in line))["machines"]["m1"]
    environment = {"LD_LIBRARY_PATH": places["nvml_dir"], "EVENWATT_TWIN_NVML": places["nvml_state"]}
    return environment, NvmlState(Path(places["nvml_state"]))


def test_a_server_with_a_broken_board_counts_the_others_once(tmp_path):
    need(shutil.which("cc") or shutil.which("gcc"), "a C compiler", "gcc libc6-dev")
    with run_twin(tmp_path, "gpu_8"):
        await_twin(tmp_path)
        environment, state = boards(tmp_path)
        state.inject_error(5, 15)  # NVML_ERROR_GPU_IS_LOST
        with run_agent(tmp_path, tmp_path / "twin" / "m1" / "sys", **environment):
            local = measured(tmp_path)
            report = doctor(tmp_path, **environment)
    assert report["nvml"]["verdict"] == "broken"
    assert "GPU is lost" in report["nvml"]["detail"]
    assert "gpu-3" in report["nvml"]["detail"]
    assert local["birth"]["total_formula"] == "package-0 + gpu-0 + gpu-1 + gpu-2 + gpu-3 + gpu-4 + gpu-6 + gpu-7"
    assert "GPU is lost" in local["problems"][0]["found"]


def test_a_task_has_the_energy_of_the_board_it_works_on(tmp_path):
    need(shutil.which("cc") or shutil.which("gcc"), "a C compiler", "gcc libc6-dev")
    pid_file, stop = tmp_path / "pid", tmp_path / "stop"
    script = f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; while [ ! -e {stop} ]; do sleep 0.05; done"
    with run_twin(tmp_path, "gpu_server"):
        await_twin(tmp_path)
        environment, state = boards(tmp_path)
        with run_agent(tmp_path, tmp_path / "twin" / "m1" / "sys", **environment):
            measured(tmp_path)
            command = [sys.executable, "-m", "evenwatt_cli", "run", "--json", "--name", "train"]
            command += ["-c", str(tmp_path / "operator.toml"), "--", "sh", "-c", script]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
                wait_for(pid_file.exists, "the task runs")
                state.set_process(0, 0, int(pid_file.read_text()), 80)

                def worked():
                    tasks = json.loads(status(tmp_path, "--json").stdout)["local"]["account"]["tasks"]
                    return tasks and tasks[0]["gpu_energy_j"] > 100

                wait_for(worked, "the task has the board's energy")
                stop.touch()
                out, _ = run.communicate(timeout=60)
    task = json.loads(out.splitlines()[-1])["task"]
    assert task["energy_j"] >= task["gpu_energy_j"] > 100
