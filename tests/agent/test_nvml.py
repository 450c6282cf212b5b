"""NVIDIA boards through the real pynvml and a compiled library that answers like the driver's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from evenwatt_agent import restore
from evenwatt_twin.machine import Machine
from evenwatt_twin.nvml import build_library
from evenwatt_twin.nvml_state import NvmlState
from evenwatt_twin.presets import preset
from tests.support import need

MS = 1_000_000

# Runs in a process of its own, since a process loads one libnvidia-ml only.
PROGRAM = """
import json, os, sys, time
from pathlib import Path
from evenwatt_agent import restore
from evenwatt_agent.actuators import LockedError
from evenwatt_agent.actuators import nvml as knobs
from evenwatt_agent.governor import Governor
from evenwatt_agent.sources import nvml
library = nvml.open_library()
found = nvml.discover(library)
answers = {"problems": [p.found for p in found.problems]}
answers["energy_uj"] = {p.domain.id: p.read() for p in found.probes}
boards = knobs.discover(library, {})
answers["limits"] = [(b.domain, b.floor_w, b.ceiling_w) for b in boards]
if boards:
    state = Path(sys.argv[1])
    governor = Governor(boards, {}, 0.0, state)
    outcome = governor.apply(500)
    answers["confirmed_w"] = outcome.confirmed_w
    answers["locked"] = outcome.locked
    answers["saved"] = restore.load(restore.originals_path(state))
    answers["held_w"] = [b.read() for b in boards]
    if len(sys.argv) > 2:
        print(json.dumps(answers), flush=True)
        os.kill(os.getpid(), 9)
    governor.restore()
    deadline = time.monotonic() + 20  # a board enforces a new limit with its own delay
    while (after_w := [b.read() for b in boards]) != [b.ceiling_w for b in boards] and time.monotonic() < deadline:
        time.sleep(0.01)
    answers["after_w"] = after_w
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    need(shutil.which("cc") or shutil.which("gcc"), "a C compiler", "gcc libc6-dev")
    return build_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def gpus(tmp_path, library):
    machine = Machine(preset("gpu_server", "g1"), tmp_path / "g1", start_ns=0, step_ns=5 * MS, library=library)
    machine.step_to(1_000 * MS)
    yield machine
    machine.close()


def environment(machine):
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(machine.places.nvml_dir),
        "EVENWATT_TWIN_NVML": str(machine.places.nvml_state),
    }


def ask(machine, state, *arguments):
    """Run the program while the machine lives on, and return what it printed."""
    command = [sys.executable, "-c", PROGRAM, str(state), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(machine)) as asked:
        while asked.poll() is None:
            machine.step_to(machine.mono_ns + 5 * MS)
        return json.loads(asked.stdout.read())


def test_boards_are_counted_limited_and_given_back(gpus, tmp_path):
    answers = ask(gpus, tmp_path)
    assert answers["limits"] == [["gpu-0", 100.0, 400.0], ["gpu-1", 100.0, 400.0]]
    assert all(value > 0 for value in answers["energy_uj"].values())
    assert answers["confirmed_w"] == pytest.approx(500, abs=1)
    assert sum(answers["held_w"]) == pytest.approx(500, abs=1)
    assert answers["after_w"] == [400.0, 400.0]


def test_one_broken_board_is_a_problem_and_the_other_is_read(gpus, tmp_path):
    NvmlState(gpus.places.nvml_state).inject_error(0, 15)  # NVML_ERROR_GPU_IS_LOST
    answers = ask(gpus, tmp_path)
    assert list(answers["energy_uj"]) == ["gpu-1"]
    assert "GPU is lost" in answers["problems"][0]
    assert [row[0] for row in answers["limits"]] == ["gpu-1"]


def test_the_restorer_gives_boards_their_limit_back_after_a_sigkill(gpus, tmp_path):
    answers = ask(gpus, tmp_path, "die")
    assert sum(answers["held_w"]) == pytest.approx(500, abs=1)
    subprocess.run(
        [sys.executable, "-I", restore.__file__, "--state-dir", str(tmp_path)], check=True, env=environment(gpus)
    )
    gpus.step_to(gpus.mono_ns + 100 * MS)
    assert ask(gpus, tmp_path)["limits"][0][2] == 400.0, "its ceiling is the limit it had before"
