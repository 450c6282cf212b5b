"""Our reader beside pyRAPL, unmodified, on the same tree: the same microjoules.

pyRAPL reads ``/sys/class/powercap`` and nowhere else, so the machine's tree is mounted there in a private namespace.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evenwatt_twin.machine import Machine
from evenwatt_twin.presets import preset

MS = 1_000_000

PROGRAM = """
import json, sys
from pathlib import Path
import pyRAPL
from evenwatt_agent.sources import powercap

probes = {p.domain.id: p for p in powercap.discover(Path("/sys")).probes}
pyRAPL.setup()
measurement = pyRAPL.Measurement("agreement")
before = {name: probe.read() for name, probe in probes.items()}
measurement.begin()
print("begun", flush=True)
sys.stdin.readline()
measurement.end()
ours = {name: probe.read() - before[name] for name, probe in probes.items()}
print(json.dumps({"ours": ours, "pkg": measurement.result.pkg, "dram": measurement.result.dram}))
"""
INSIDE = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from sensing import namespace
namespace.show(Path(sys.argv[2]))
os.execv(sys.executable, [sys.executable, "-c", sys.argv[3]])
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
needs_pyrapl = pytest.mark.skipif(
    importlib.util.find_spec("pyRAPL") is None, reason="pyRAPL is not installed: ./dev test installs it"
)


@needs_root
@needs_pyrapl
def test_both_count_the_same_microjoules(tmp_path):
    machine = Machine(preset("xeon_2s", "m1"), tmp_path / "m1", start_ns=0, step_ns=5 * MS)
    bench = Path(__file__).parents[2] / "bench"
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", INSIDE]
    command += [str(bench), str(machine.places.sysfs), PROGRAM]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout.readline() == "begun\n"
            machine.step_to(5_000 * MS)
            out, _ = reader.communicate("go\n", timeout=60)
    finally:
        machine.close()
    said = json.loads(out)
    for socket, energy_uj in enumerate(said["pkg"]):  # pyRAPL follows this machine's real sockets
        assert energy_uj == said["ours"][f"package-{socket}"] > 0
    for socket, energy_uj in enumerate(said["dram"]):
        assert energy_uj == said["ours"][f"package-{socket}/dram"] > 0
