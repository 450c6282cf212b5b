"""Units, examples and the one entry for people."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from evenwatt_agent import settings as agent_settings
from evenwatt_collector import settings as collector_settings
from evenwatt_daemon import load_settings
from tests.support import need

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "systemd").glob("*.service"))
# Exposure by `systemd-analyze security`, 0 to 10: what each unit may be at most.
EXPOSURE = {"evenwatt-agent": 2.7, "evenwatt-collector": 1.5, "evenwatt-restore": 2.7}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A root folder with our units and the programs that they start."""
    need(shutil.which("systemd-analyze"), "systemd-analyze", "systemd")
    root = tmp_path_factory.mktemp("root")
    (root / "opt/evenwatt/bin").mkdir(parents=True)
    for unit in UNITS:
        for program in re.findall(r"^Exec\w+=(\S+)", unit.read_text(), re.MULTILINE):
            stub = root / program.lstrip("/")
            stub.write_text("#!/bin/sh\n")
            stub.chmod(0o755)
    return root


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong(unit, tree):
    text = unit.read_text().replace("/opt/evenwatt/bin", str(tree / "opt/evenwatt/bin"))
    copy = tree / unit.name
    copy.write_text(text)
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )
    complaints = [line for line in result.stderr.splitlines() if unit.name in line or "evenwatt" in line]
    assert complaints == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_sandbox_is_as_tight_as_promised(unit, tree):
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", result.stdout)[1])
    assert exposure <= EXPOSURE[unit.stem]


def test_a_dead_agent_is_followed_by_the_restorer():
    text = (ROOT / "systemd" / "evenwatt-agent.service").read_text()
    assert re.search(r"^ExecStopPost=\S+evenwatt-restore", text, re.MULTILINE)
    assert re.search(r"^WatchdogSec=", text, re.MULTILINE)
    assert re.search(r"^RestartPreventExitStatus=2$", text, re.MULTILINE)


def test_the_examples_are_valid_settings():
    assert agent_settings.load(str(ROOT / "packaging" / "agent.toml")).control.enabled is False
    load_settings(collector_settings.CollectorSettings, ROOT / "packaging" / "collector.toml")


def test_an_unknown_verb_is_a_wrong_call():
    result = subprocess.run([ROOT / "dev", "fly"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "unknown verb 'fly'" in result.stderr
    assert "usage: ./dev" in result.stderr


def test_the_readme_names_the_commands_that_exist():
    text = (ROOT / "README.md").read_text()
    usage = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=True).stdout
    for verb in re.findall(r"\./dev (\w+)", text):
        assert re.search(rf"^  {verb} ", usage, re.MULTILINE)
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link
