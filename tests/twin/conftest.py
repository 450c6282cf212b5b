import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evenwatt_twin import Machine, MachineSpec, preset
from evenwatt_twin.errors import CompilerMissingError
from evenwatt_twin.nvml import build_library


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """Build a machine under virtual time, starting at 0; everything is closed at the end."""
    machines: list[Machine] = []

    def build(spec: MachineSpec | str, **options) -> Machine:
        whole = preset(spec, spec.replace("_", "-")) if isinstance(spec, str) else spec
        machines.append(Machine(whole, tmp_path / whole.id, start_ns=0, **options))
        return machines[-1]

    yield build
    for machine in machines:
        machine.close()


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build_library(tmp_path_factory.mktemp("nvml"))
    except CompilerMissingError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs a C compiler: {error.fix}")


@pytest.fixture
def pynvml(nvml_library: Path) -> Callable[[Machine, str], str]:
    """Run a script with the real pynvml on a machine's boards; returns what it prints."""

    def call(machine: Machine, script: str) -> str:
        head = "from pynvml import *\nnvmlInit()\nh = nvmlDeviceGetHandleByIndex(0)\n"
        places = machine.places
        env = {"LD_LIBRARY_PATH": str(places.nvml_dir), "EVENWATT_TWIN_NVML": str(places.nvml_state)}
        done = subprocess.run(
            [sys.executable, "-c", head + script], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return call
