"""Removal and purge of the Debian packages: their scripts, run by a shell in a folder that stands for the machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from evenwatt_daemon import lock_folder
from tests.support import need

SCRIPTS = Path(__file__).parents[2] / "packaging" / "debian"
OF_PEOPLE = (
    "ca/ca.key", "root.pub", "root.pem", "trust.json", "operator.pem", "operator.toml", "ca.pem",
    "agent.secrets/server-1.key", "collector.secrets/controller.pem",
)  # fmt: skip


def run(machine, package, script, step):
    text = (SCRIPTS / package / script).read_text()
    text = re.sub(r"/(etc|var|run|usr|sys)(?=/|$)", rf"{machine}/\1", text, flags=re.MULTILINE)
    text = text.replace("update-alternatives", "true").replace("deb-systemd-helper", "no-such-helper")
    return subprocess.run(["sh", "-c", text, script, step], capture_output=True, text=True, check=False)


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


@pytest.mark.parametrize("order", [("agent", "collector"), ("collector", "agent")])
def test_purge_leaves_what_people_put_there_and_says_so(tmp_path, order):
    folder = tmp_path / "etc" / "evenwatt"
    for name in (*OF_PEOPLE, "node-0a1b/node.pem"):
        put(folder / name)
    (folder / "node").symlink_to("node-0a1b")
    put(tmp_path / "var/lib/evenwatt-actuator/audit.log")
    put(tmp_path / "var/lib/private/evenwatt-collector/collector.db")
    done = [run(tmp_path, package, "postrm", "purge") for package in order]
    assert [each.returncode for each in done] == [0, 0], done
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(OF_PEOPLE)
    assert not (folder / "node").is_symlink()
    assert not [path for path in (tmp_path / "var").rglob("*") if path.is_file()]
    assert "left in" in done[-1].stdout
    assert all(name.split("/")[0] in done[-1].stdout for name in OF_PEOPLE)


def test_purge_of_a_machine_where_people_put_nothing_leaves_nothing(tmp_path):
    for name in ("agent", "collector"):
        (tmp_path / "etc" / "evenwatt" / f"{name}.secrets").mkdir(parents=True)
    assert run(tmp_path, "collector", "postrm", "purge").returncode == 0
    done = run(tmp_path, "agent", "postrm", "purge")
    assert (done.returncode, done.stdout) == (0, "")
    assert not (tmp_path / "etc" / "evenwatt").exists()


@pytest.mark.parametrize("held", ["var/lib/evenwatt-actuator", "run/evenwatt-control"])
def test_removal_is_refused_while_somebody_controls_the_machine(tmp_path, held):
    need(shutil.which("flock"), "flock", "util-linux")
    for name in ("var/lib/evenwatt-actuator", "run/evenwatt-control", "usr/lib/evenwatt-agent"):
        (tmp_path / name).mkdir(parents=True)
    lock = lock_folder(tmp_path / held, "held")
    done = run(tmp_path, "agent", "prerm", "remove")
    assert done.returncode == 1
    assert f"not removed, since {tmp_path / held} is locked" in done.stderr
    os.close(lock)
    done = run(tmp_path, "agent", "prerm", "remove")
    assert (done.returncode, done.stderr) == (0, "")
