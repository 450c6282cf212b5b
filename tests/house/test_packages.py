"""The Debian packages hold what they should and nothing else. Booting them is ``packaging/test-booted``."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import need

ROOT = Path(__file__).parents[2]
CONFFILES = {
    "evenwatt-agent": {"/etc/evenwatt/agent.toml", "/etc/evenwatt/limits.toml"},
    "evenwatt-collector": {"/etc/evenwatt/collector.toml"},
}
UNITS = {
    "evenwatt-agent": {"evenwatt-agent.service", "evenwatt-actuator.service", "evenwatt-restore.service"},
    "evenwatt-collector": {"evenwatt-collector.service"},
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Both packages, by name."""
    need(shutil.which("dpkg-deb"), "dpkg-deb", "dpkg")
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run([ROOT / "packaging" / "build-deb", "--quick", "--version", "9.8.7", "--out", folder], check=True)
    return {name: folder / f"{name}_9.8.7_amd64.deb" for name in CONFFILES}


def ask(*arguments):
    return subprocess.run(["dpkg-deb", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", CONFFILES)
def test_a_package_holds_what_it_should(packages, name):
    rows = [line.split(maxsplit=5) for line in ask("--contents", packages[name]).splitlines()]
    paths = {row[5].split(" -> ")[0].removeprefix(".") for row in rows}
    assert {row[1] for row in rows} == {"root/root"}
    assert not [path for path in paths if "__pycache__" in path or path.endswith(".pyc")]
    assert not [row for row in rows if not row[0].startswith("l") and re.match(r".{5}w|.{8}w|.*s", row[0])], "too open"
    assert {Path(path).name for path in paths if path.startswith("/lib/systemd/system/e")} == UNITS[name]
    folders = re.compile(r"/(etc/evenwatt|lib/systemd|usr/(bin|lib|share))?/?")
    assert not [path for path in paths if not folders.match(path)]
    assert set(ask("--info", packages[name], "conffiles").split()) == CONFFILES[name]
    assert ask("--field", packages[name], "Version").strip() == "9.8.7"


def test_the_collectors_package_has_what_its_neighbours_need(packages):
    share, paths = "/usr/share/evenwatt-collector", ask("--contents", packages["evenwatt-collector"])
    for path in (
        "prometheus/evenwatt.rules.yml", "grafana/fleet.json", "grafana/node.json", "neighbours/telegraf.conf",
        "grafana/provisioning/dashboards/evenwatt.yml", "grafana/provisioning/datasources/evenwatt.yml",
        "neighbours/node-red.json",
    ):  # fmt: skip
        assert f"{share}/{path}" in paths


def test_every_program_that_a_unit_starts_is_in_a_package(packages):
    paths = "".join(ask("--contents", package) for package in packages.values())
    for unit in (ROOT / "systemd").glob("*.service"):
        for program in re.findall(r"^Exec\w+=(\S+)", unit.read_text(), re.MULTILINE):
            assert re.search(rf" \.{program}( ->|$)", paths, re.MULTILINE), program


def test_the_restorer_works_when_everything_else_is_gone(packages, tmp_path):
    ask("--extract", packages["evenwatt-agent"], tmp_path / "root")
    environment = tmp_path / "root" / "usr" / "lib" / "evenwatt-agent"
    shutil.rmtree(environment / "lib")
    limit, state = tmp_path / "limit", tmp_path / "state"
    limit.write_text("1")
    state.mkdir()
    (state / "originals.json").write_text(json.dumps([{"kind": "file", "where": str(limit), "value": "225000000"}]))
    restorer = environment / "bin" / "evenwatt-restore"
    assert restorer.read_text().startswith("#!/usr/bin/python3 -IS\n")
    subprocess.run([sys.executable, "-IS", restorer, "--state-dir", state], check=True)
    assert limit.read_text().strip() == "225000000"


def test_scripts_of_the_maintainer_are_right_for_a_plain_shell(packages, tmp_path):
    for name, package in packages.items():
        ask("--control", package, tmp_path / name)
        for script in ("preinst", "postinst", "prerm", "postrm"):
            subprocess.run(["sh", "-n", tmp_path / name / script], check=True)
            assert "@VERSION@" not in (tmp_path / name / script).read_text()


@pytest.mark.parametrize("name", CONFFILES)
def test_pages_and_completions_come_and_go_with_the_program(packages, name, tmp_path):
    need(shutil.which("update-alternatives"), "update-alternatives", "dpkg")
    ask("--extract", packages[name], tmp_path)
    script = ask("--info", packages[name], "postinst")
    (line,) = re.findall(r"^ *update-alternatives --quiet (--install .*)$", script, re.MULTILINE)
    words = line.replace('"$environment/bin/evenwatt"', f"/usr/lib/{name}/bin/evenwatt").split()
    folders = [f"usr/share/{folder}" for folder in (
        "man/man1", "bash-completion/completions", "zsh/vendor-completions", "fish/vendor_completions.d"
    )]  # fmt: skip
    for folder in ("etc/alternatives", "var/lib/dpkg/alternatives", *folders):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    subprocess.run(["update-alternatives", "--quiet", "--root", tmp_path, *words], check=True)
    made = {path.name for folder in folders for path in (tmp_path / folder).iterdir()}
    assert {"evenwatt", "_evenwatt", "evenwatt.fish", "evenwatt.1.gz", "evenwatt-top.1.gz"} <= made
    assert (tmp_path / "usr/share/man/man8" / f"{name}.8.gz").exists()
    subprocess.run(["update-alternatives", "--quiet", "--root", tmp_path, "--remove", "evenwatt", words[3]], check=True)
    assert not [path for folder in folders for path in (tmp_path / folder).iterdir()], "nothing is left behind"
