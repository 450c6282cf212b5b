import json
import subprocess
import sys
from pathlib import Path

import pytest
from virtual import MS, SECOND, steady

import evenwatt_twin
from evenwatt_twin.errors import CompilerMissingError
from evenwatt_twin.fleet import fleet_from
from evenwatt_twin.nvml import build_library
from evenwatt_twin.nvml_state import Field


@pytest.fixture
def server(run, nvml_library):
    return run(steady("gpu_server"), library=nvml_library)


def board(**patch):
    return {"component": "gpu-0", **patch}


def build(run, library, **patch):
    raw = {
        "id": "m",
        "preset": "gpu_server",
        "profile": {"kind": "steady", "load": 1},
        "nvml": {"boards": [board(**patch)]},
    }
    return run(fleet_from({"machines": [raw]}).machines[0], library=library)


def test_the_real_pynvml_reads_a_board(server, pynvml):
    server.step_to(2 * SECOND)
    server.step_to(3 * SECOND)
    script = """
import json
f = nvmlDeviceGetFieldValues(h, [83, (185, 0), (186, 0), (186, 1), 9999])
p = nvmlDeviceGetPciInfo(h)
u = nvmlDeviceGetUtilizationRates(h)
print(json.dumps({
 'count': nvmlDeviceGetCount(), 'name': nvmlDeviceGetName(h), 'uuid': nvmlDeviceGetUUID(h), 'bus': p.busId,
 'mj': nvmlDeviceGetTotalEnergyConsumption(h), 'mw': nvmlDeviceGetPowerUsage(h), 'util': [u.gpu, u.memory],
 'fields': [[x.nvmlReturn, x.value.ullVal if x.valueType == 3 else x.value.uiVal] for x in f],
 'limits': [nvmlDeviceGetPowerManagementLimit(h), nvmlDeviceGetPowerManagementDefaultLimit(h),
            nvmlDeviceGetEnforcedPowerLimit(h), nvmlDeviceGetPowerManagementLimitConstraints(h)],
 'same': nvmlDeviceGetUUID(nvmlDeviceGetHandleByUUID(nvmlDeviceGetUUID(h))) == nvmlDeviceGetUUID(h),
 'arch': nvmlDeviceGetArchitecture(h), 'cc': nvmlDeviceGetCudaComputeCapability(h),
 'persist': nvmlDeviceGetPersistenceMode(h), 'procs': nvmlDeviceGetComputeRunningProcesses(h),
 'driver': nvmlSystemGetDriverVersion(), 'nvml': nvmlSystemGetNVMLVersion(),
}))"""
    seen = json.loads(pynvml(server, script))
    gpu = server.plant.components["gpu-0"]
    assert seen["count"] == 2
    assert seen["name"].startswith("NVIDIA")
    assert seen["uuid"].startswith("GPU-")
    assert seen["bus"] == "00000000:17:00.0"
    assert seen["mj"] == int(gpu.energy_j * 1000)
    assert seen["mw"] == pytest.approx(400_000, abs=2)
    assert seen["fields"] == [[0, seen["mj"]], [0, seen["mw"]], [0, 400_000], [3, 0], [3, 0]]
    assert seen["limits"] == [400_000, 400_000, 400_000, [100_000, 400_000]]
    assert seen["util"] == [100, 60]
    assert (seen["same"], seen["arch"], seen["cc"], seen["persist"], seen["procs"]) == (True, 7, [8, 0], 1, [])
    assert (seen["driver"], seen["nvml"]) == ("570.86.15", "12.570.86.15")


def test_power_usage_is_a_one_second_mean(server, pynvml):
    server.step_to(500 * MS)
    gpu = server.plant.components["gpu-0"]
    assert int(pynvml(server, "print(nvmlDeviceGetPowerUsage(h))")) == pytest.approx(gpu.energy_j / 0.5 * 1000, abs=1)


def test_a_limit_is_obeyed_and_reads_back(server, pynvml):
    server.step_to(SECOND)
    pynvml(server, "nvmlDeviceSetPowerManagementLimit(h, 250_000)")
    server.step_to(1045 * MS)
    assert server.plant.components["gpu-0"].power_w == pytest.approx(400, abs=0.1)
    server.step_to(2 * SECOND)
    assert server.plant.components["gpu-0"].power_w == pytest.approx(250.0)
    assert server.plant.components["gpu-1"].power_w == pytest.approx(400.0)
    assert pynvml(server, "print(nvmlDeviceGetEnforcedPowerLimit(h))") == "250000"


REFUSED = "try:\n    {}\nexcept NVMLError as e:\n    print(e.value, e)"


@pytest.mark.parametrize("limit", [99_999, 400_001])
def test_limits_outside_the_constraints_are_refused(server, pynvml, limit):
    out = pynvml(server, REFUSED.format(f"nvmlDeviceSetPowerManagementLimit(h, {limit})"))
    assert out == "2 Invalid Argument"
    assert server.nvml.state.get(0, Field.LIMIT_MW) == 400_000


def test_a_board_may_need_root(run, nvml_library, pynvml):
    machine = build(run, nvml_library, needs_root=True)
    out = pynvml(machine, REFUSED.format("nvmlDeviceSetPowerManagementLimit(h, 200_000)"))
    assert out == "4 Insufficient Permissions"


def test_an_old_board_has_no_energy_counter_and_no_serial(run, nvml_library, pynvml):
    machine = build(run, nvml_library, has_energy=False)
    for call in ("nvmlDeviceGetTotalEnergyConsumption(h)", "nvmlDeviceGetSerial(h)", "nvmlDeviceGetMigMode(h)"):
        assert pynvml(machine, REFUSED.format(call)) == "3 Not Supported"


def test_mig_mode(run, nvml_library, pynvml):
    assert pynvml(build(run, nvml_library, mig=True), "print(nvmlDeviceGetMigMode(h))") == "[1, 1]"


def test_a_disobedient_board_tells_by_its_enforced_limit(run, nvml_library, pynvml):
    machine = build(run, nvml_library, obey=False)
    pynvml(machine, "nvmlDeviceSetPowerManagementLimit(h, 200_000)")
    machine.step_to(2 * SECOND)
    assert machine.plant.components["gpu-0"].power_w == pytest.approx(400.0)
    out = pynvml(machine, "print(nvmlDeviceGetPowerManagementLimit(h), nvmlDeviceGetEnforcedPowerLimit(h))")
    assert out == "200000 400000"


def test_an_injected_error_hits_one_board_until_it_is_mended(server, pynvml):
    script = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(evenwatt_twin.__file__).parents[1])!r})
from evenwatt_twin.nvml_state import NvmlState
state = NvmlState(Path(os.environ["EVENWATT_TWIN_NVML"]))
g = nvmlDeviceGetHandleByIndex(1)
state.inject_error(1, NVML_ERROR_GPU_IS_LOST)
for call in (lambda: nvmlDeviceGetTotalEnergyConsumption(g), lambda: nvmlDeviceGetHandleByIndex(1)):
    try:
        call()
    except NVMLError_GpuIsLost:
        print("lost", nvmlDeviceGetPowerUsage(h) > 0, end=" ")
state.inject_error(1, 0)
print(nvmlDeviceGetPowerUsage(g) > 0)
"""
    assert pynvml(server, script) == "lost True lost True True"


WITH_STATE = f"""
import json, os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(evenwatt_twin.__file__).parents[1])!r})
from evenwatt_twin.nvml_state import Field, NvmlState
state = NvmlState(Path(os.environ["EVENWATT_TWIN_NVML"]))
"""


def test_processes_on_a_board(server, pynvml):
    script = """
def rows(since):
    return [[s.pid, s.smUtil, s.timeStamp > since] for s in nvmlDeviceGetProcessUtilization(h, since)]
seen = []
try:
    rows(0)
except NVMLError_NotFound:
    seen.append("nobody")
state.set_process(0, 0, 11, 60); state.set_process(0, 7, 12, 0)
seen.append(rows(0))
seen.append([[p.pid, p.gpuInstanceId] for p in nvmlDeviceGetComputeRunningProcesses(h)])
state.set_process(0, 0, 0, 0)
seen.append([p.pid for p in nvmlDeviceGetComputeRunningProcesses(h)])
print(json.dumps(seen))
"""
    seen = json.loads(pynvml(server, WITH_STATE + script))
    assert seen == ["nobody", [[11, 60, True]], [[11, 0xFFFFFFFF], [12, 0xFFFFFFFF]], [12]]


def test_a_board_cut_by_mig_does_not_tell_by_process(run, nvml_library, pynvml):
    assert pynvml(build(run, nvml_library, mig=True), REFUSED.format("nvmlDeviceGetProcessUtilization(h, 0)")) == (
        "3 Not Supported"
    )


def test_module_power_is_a_scope_of_its_own(server, pynvml):
    server.nvml.state.set(0, Field.MODULE_MW, 650_000)
    script = "print([f.value.uiVal for f in nvmlDeviceGetFieldValues(h, [(185, 1), (186, 1)])])"
    assert pynvml(server, script) == "[650000, 650000]"


def test_boards_move_up_when_one_falls_off(server, pynvml):
    script = """
g = nvmlDeviceGetHandleByIndex(1)
uuid = nvmlDeviceGetUUID(g)
state.take_away(0)
try:
    nvmlDeviceGetPowerUsage(h)
except NVMLError_GpuIsLost:
    print("lost", nvmlDeviceGetCount(), nvmlDeviceGetIndex(g), end=" ")
for again in nvmlDeviceGetHandleByIndex(0), nvmlDeviceGetHandleByUUID(uuid):
    print(nvmlDeviceGetUUID(again) == uuid, end=" ")
"""
    assert pynvml(server, WITH_STATE + script) == "lost 1 0 True True"


def test_driver_reload_resets_counter_and_limit(server, pynvml):
    pynvml(server, "nvmlDeviceSetPowerManagementLimit(h, 200_000)")
    server.step_to(2 * SECOND)
    before = int(pynvml(server, "print(nvmlDeviceGetTotalEnergyConsumption(h))"))
    server.nvml.state.reload_driver(0)
    server.step_to(2100 * MS)
    after, limit = json.loads(
        pynvml(server, "print([nvmlDeviceGetTotalEnergyConsumption(h), nvmlDeviceGetEnforcedPowerLimit(h)])")
    )
    assert 0 < after < before / 5
    assert limit == 400_000


def test_shutdown_without_init_and_calls_after_it(server, pynvml):
    script = "nvmlShutdown()\n" + REFUSED.format("nvmlDeviceGetPowerUsage(h)")
    assert pynvml(server, script) == "1 Uninitialized"


def test_missing_or_foreign_state_file_is_no_driver(server, pynvml, tmp_path):
    script = "import os\nfrom pynvml import *\nnvmlShutdown()\n"
    assert pynvml(server, script + "print('ok')") == "ok"
    state = server.places.nvml_state
    raw = state.read_bytes()
    state.write_bytes(b"x" * len(raw))
    head = "try:\n    nvmlInit()\nexcept NVMLError as e:\n    print(e.value)"
    for path, code in ((str(state), "18"), (str(tmp_path / "none"), "9")):
        env = {"LD_LIBRARY_PATH": str(server.places.nvml_dir), "EVENWATT_TWIN_NVML": path}
        done = subprocess.run(
            [sys.executable, "-c", "from pynvml import *\n" + head], env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == code
    state.write_bytes(raw)


def test_no_compiler_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompilerMissingError, match="apt-get install gcc libc6-dev"):
        build_library(tmp_path)
