"""The units keep what they promise, and the check that says so finds what is loosened."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import need

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"


def check(folder):
    need(shutil.which("systemd-analyze"), "systemd-analyze", "systemd")
    return subprocess.run(
        [sys.executable, ROOT / ".ci" / "check_units.py", folder], capture_output=True, text=True, check=False
    )


def text_of(name):
    return (UNITS / f"{name}.service").read_text()


def settings_of(name):
    return dict(re.findall(r"^(\w+)=(.*)$", text_of(name), re.MULTILINE))


def test_the_units_are_right_and_as_tight_as_promised():
    done = check(UNITS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_loosened_unit_and_a_wrong_word_are_found(tmp_path):
    folder = shutil.copytree(UNITS, tmp_path / "systemd")
    collector = folder / "evenwatt-collector.service"
    collector.write_text(collector.read_text().replace("DynamicUser=yes\n", "").replace("PrivateDevices=yes\n", ""))
    agent = folder / "evenwatt-agent.service"
    agent.write_text(agent.read_text().replace("ProtectHome=yes", "ProtectHomes=yes"))
    done = check(folder)
    assert done.returncode == 1
    assert "FAIL evenwatt-collector: exposure" in done.stdout
    assert re.search(r"FAIL evenwatt-agent: .*ProtectHomes", done.stdout)


@pytest.mark.parametrize("name", ["evenwatt-agent", "evenwatt-actuator", "evenwatt-collector"])
def test_a_daemon_is_watched_and_started_again_unless_its_settings_are_wrong(name):
    settings = settings_of(name)
    assert settings["Type"] == "notify"
    assert int(settings["WatchdogSec"]) > 0
    assert settings["Restart"] == "on-failure"
    assert settings["RestartPreventExitStatus"] == "2"


def test_only_root_without_a_network_changes_limits_and_the_restorer_follows_it():
    actuator, agent = settings_of("evenwatt-actuator"), settings_of("evenwatt-agent")
    assert actuator["ExecStopPost"] == "/usr/bin/evenwatt-restore --state-dir /var/lib/evenwatt-actuator"
    assert "--check" in actuator["ExecCondition"]
    assert (actuator["PrivateNetwork"], actuator["RestrictAddressFamilies"]) == ("yes", "AF_UNIX")
    assert agent["User"] == "evenwatt"
    assert agent["CapabilityBoundingSet"] == actuator["CapabilityBoundingSet"] == ""
    assert "ReadWritePaths" not in agent


def test_root_never_follows_a_list_that_the_agents_user_could_have_written():
    assert "/var/lib/evenwatt/" not in text_of("evenwatt-restore")
    assert "--state-dir /var/lib/evenwatt\n" not in text_of("evenwatt-restore") + text_of("evenwatt-actuator")


def test_credentials_are_named_as_the_units_hand_them_over():
    named = 0
    for file in (*(ROOT / "packaging").glob("*.toml"), *(ROOT / "docs").glob("*.md")):
        for unit, credential in re.findall(r"/run/credentials/([\w-]+)\.service/([\w.-]+)", file.read_text()):
            prefix, folder = settings_of(unit)["LoadCredential"].split(":")
            assert Path(folder) == Path(f"/etc/evenwatt/{unit.removeprefix('evenwatt-')}.secrets")
            assert credential.startswith(f"{prefix}_"), f"{file}: {credential}"
            named += 1
    assert named > 5
