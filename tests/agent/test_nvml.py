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


LOOK = """
import json, sys
from pathlib import Path
from evenwatt_agent.gpu_use import GpuWatch
from evenwatt_agent.hierarchy import choose_total
from evenwatt_agent.sources import nvml
from evenwatt_twin.nvml_state import Field, NvmlState
state = NvmlState(Path(sys.argv[1]))
library = nvml.open_library()
exec(sys.argv[2])
"""


def run(machine, code):
    """Run code in a process of its own that has the boards' state and the library."""
    command = [sys.executable, "-c", LOOK, str(machine.places.nvml_state), code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(machine), check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_boards_that_move_up_after_another_fell_off_keep_their_names_and_limits(gpus):
    said = run(
        gpus,
        """
from evenwatt_agent.actuators import nvml as knobs
probes = nvml.discover(library).probes
boards = knobs.discover(library, {})
watch = GpuWatch(library, ["gpu-0", "gpu-1"])
watch.look()
state.set_process(1, 0, 4711, 60)
state.take_away(0)
probes[1].reopen()
try:
    boards[0].write(150.0); lost = "written"
except OSError as error:
    lost = str(error)
state.set(1, Field.ENFORCED_MW, 200_000)
again = nvml.discover(library)
uses = {name: board.use for name, board in watch.look(rest=False).items()}
print(json.dumps([
    [p.domain.id for p in again.probes], probes[1].read() == again.probes[0].read(), lost,
    boards[1].write(200.0), [state.get(i, Field.LIMIT_MW) for i in (0, 1)], uses,
]))
""",
    )
    assert said[0] == ["gpu-1"], "a board of a known UUID is no new board, whatever its index"
    assert said[1]
    assert "GPU is lost" in said[2]
    assert said[3:5] == [200.0, [400_000, 200_000]], "the limit reached the board it was meant for"
    assert said[5] == {"gpu-1": {"4711": 60}}


def test_a_library_that_has_ended_gives_no_knobs_and_does_not_stop_the_program(gpus):
    said = run(
        gpus,
        """
from evenwatt_agent.actuators import nvml as knobs
(first, _) = knobs.discover(library, {})
library.close()
none = knobs.discover(library, {})
print(json.dumps([len(none), first.read()]))
""",
    )
    assert said == [0, 400.0], "a knob starts the library again, as a probe does"


@pytest.mark.parametrize("code", [1, 3, 4, 9, 10, 15, 16, 999])
def test_no_class_of_error_stops_the_other_board_or_the_program(gpus, code):
    said = run(
        gpus,
        f"""
found = nvml.discover(library)
probe = found.probes[0]
state.inject_error(0, {code})
try:
    probe.read(); answer = "read"
except OSError as error:
    answer = str(error)
try:
    probe.reopen()
except OSError:
    pass
again = nvml.discover(library)
state.inject_error(0, 0)
probe.reopen()
both = [p.read() > 0 for p in found.probes]
print(json.dumps([answer, [p.domain.id for p in again.probes], len(again.problems), both]))
""",
    )
    assert said[0] != "read"
    assert said[1:] == [["gpu-1"], 1, [True, True]]


def test_after_the_driver_went_away_the_board_is_found_again_by_its_uuid(gpus):
    said = run(
        gpus,
        """
probe = nvml.discover(library).probes[1]
library.close()
try:
    probe.read(); answer = "read"
except OSError as error:
    answer = str(error)
probe.reopen()
print(json.dumps([answer, probe.read() > 0]))
""",
    )
    assert "Uninitialized" in said[0]
    assert said[1]


def test_a_module_is_shown_and_never_added(gpus):
    said = run(
        gpus,
        """
state.set(0, Field.MODULE_MW, 650_000)
found = nvml.discover(library)
domains, formula = choose_total(found.probes)
kinds = {p.domain.id: [p.domain.kind, p.domain.parent] for p in found.probes}
print(json.dumps([formula, kinds, found.probes[1].read()]))
""",
    )
    kinds = {"gpu-0": ["gpu", "gpu-0/module"], "gpu-0/module": ["module", None], "gpu-1": ["gpu", None]}
    assert said == ["gpu-0 + gpu-1", kinds, 650_000_000]


@pytest.mark.parametrize(
    ("flags", "field"), [("NO_ENERGY", 7), ("NO_ENERGY | Flag.NO_AVERAGE", 6), ("NO_ENERGY | Flag.OLD_FIELDS", 7)]
)
def test_a_board_without_a_counter_gives_its_best_power(gpus, flags, field):
    """Average field, else instant field, else what drivers without these fields have: an average again."""
    said = run(
        gpus,
        f"""
from evenwatt_twin.nvml_state import Flag
state.set(0, Field.FLAGS, Flag.{flags})
state.set(0, Field.POWER_MW, 111_000)
state.set(0, Field.AVERAGE_MW, 222_000)
probe = nvml.discover(library).probes[0]
print(json.dumps([probe.unit, probe.domain.quality, probe.read() == 1000 * state.get(0, Field({field}))]))
""",
    )
    assert said == ["power_uw", "integrated", True]


def test_eight_boards_are_eight_terms_also_when_one_is_cut_and_one_is_broken(tmp_path, library):
    machine = Machine(preset("gpu_8", "g8"), tmp_path / "g8", start_ns=0, step_ns=5 * MS, library=library)
    said = run(
        machine,
        """
state.inject_error(5, 15)
state.set_process(3, 0, 4711, 50)
found = nvml.discover(library)
watch = GpuWatch(library, {"gpu-3": 3})
one = watch.look()["gpu-3"].use
state.set_process(3, 1, 4712, 50)
two = watch.look()["gpu-3"].use
print(json.dumps([choose_total(found.probes)[1], [p.path for p in found.problems], one, two]))
""",
    )
    machine.close()
    assert said[0] == "gpu-0 + gpu-1 + gpu-2 + gpu-3 + gpu-4 + gpu-6 + gpu-7"
    assert said[1] == ["gpu-5"]
    assert said[2:] == [{"4711": 1}, {}], "a board cut by MIG does not tell: it is the one's who has it, or nobody's"
