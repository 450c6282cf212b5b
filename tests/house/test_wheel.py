"""The wheel brings our packages and nothing else, and a node installs only what a node needs."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COLLECTOR_ONLY = {"starlette", "uvicorn", "gmqtt", "prometheus-client", "typer", "rich", "httpx", "iotcore"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([ROOT / "packaging" / "build-wheel", folder], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_only_our_packages_are_in_it(wheel):
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {
        f"evenwatt_{part}" for part in ("wire", "daemon", "agent", "collector", "cli", "twin")
    }


def test_data_files_travel_along(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "evenwatt_collector/carbon/data/annual_intensity.csv" in names
    assert "evenwatt_twin/nvml.c" in names
    assert sum(name.endswith("py.typed") for name in names) == 6


def test_a_node_installs_no_collector(wheel, tmp_path):
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "--python", python, f"evenwatt[agent] @ file://{wheel}"], check=True)
    listed = subprocess.run([uv, "pip", "list", "--python", python], capture_output=True, text=True, check=True).stdout
    installed = set(re.findall(r"^(\S+)", listed, re.MULTILINE))
    assert not installed & COLLECTOR_ONLY
    assert {"aiomqtt", "msgspec", "psutil", "cryptography", "structlog", "nvidia-ml-py"} <= installed
    for program in ("evenwatt-agent", "evenwatt-restore"):
        assert subprocess.run([python.parent / program, "--help"], capture_output=True, check=True).stdout
    checked = subprocess.run(
        [python.parent / "evenwatt-agent", "--check", "--config", ROOT / "packaging" / "agent.toml"], check=False
    )
    assert checked.returncode == 0
