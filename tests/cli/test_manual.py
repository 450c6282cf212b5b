"""Every verb and daemon has a manual page that man shows without a complaint, and completions for three shells."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from evenwatt_cli.main import app
from tests.support import need

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def share(tmp_path_factory):
    folder = tmp_path_factory.mktemp("share")
    subprocess.run(
        [sys.executable, ROOT / "packaging" / "manual.py", "--version", "9.8.7", "--out", folder], check=True
    )
    return folder


def test_every_verb_has_a_page_and_so_have_the_daemons(share):
    verbs = typer.main.get_command(app).commands
    expected = {"evenwatt.1", *(f"evenwatt-{name}.1" for name in verbs)}
    assert {path.name for path in (share / "man1").iterdir()} == expected
    scripts = {"agent", "actuator", "restore", "collector"}
    assert {path.name for path in (share / "man8").iterdir()} == {f"evenwatt-{name}.8" for name in scripts}


def test_pages_are_shown_without_a_complaint_and_say_what_the_parsers_say(share):
    need(shutil.which("man") and shutil.which("groff"), "man", "man-db groff-base")
    shown = {}
    for path in sorted(share.glob("man?/*")):
        done = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", str(path)], capture_output=True, text=True, check=True,
            env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANPAGER": "cat", "MAN_KEEP_FORMATTING": ""},
        )  # fmt: skip
        assert not done.stderr, f"{path.name}: {done.stderr}"
        assert not re.search("@[A-Z]+@", done.stdout), f"{path.name}: a place that was not filled"
        shown[path.name] = " ".join(done.stdout.split())
    assert "--duration" not in shown["evenwatt-cap.1"]
    assert "How long, e.g. 90s, 10m, 2h; it ends by itself." in shown["evenwatt-cap.1"]
    assert "no answer in time" in shown["evenwatt-top.1"]
    assert "evenwatt policy override [OPTIONS]" in shown["evenwatt-policy.1"]
    assert "/var/lib/evenwatt" in shown["evenwatt-restore.8"]
    assert "evenwatt-status (1)" in shown["evenwatt.1"] or "evenwatt-status(1)" in shown["evenwatt.1"]


@pytest.mark.parametrize(
    ("place", "shell"),
    [
        ("bash-completion/completions/evenwatt", "bash"),
        ("zsh/vendor-completions/_evenwatt", "zsh"),
        ("fish/vendor_completions.d/evenwatt.fish", "fish"),
    ],
)
def test_completions_are_scripts_of_their_shells(share, place, shell):
    script = share / place
    assert "_EVENWATT_COMPLETE" in script.read_text()
    if found := shutil.which(shell):
        subprocess.run([found, "-n", str(script)], check=True)


def test_bash_completes_a_verb(share):
    program = share / "evenwatt"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m evenwatt_cli "$@"\n')
    program.chmod(0o755)
    script = (
        f". {share / 'bash-completion/completions/evenwatt'}; COMP_WORDS=(evenwatt imp); COMP_CWORD=1; "
        f"_evenwatt_completion {program}; echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "improvement\n"
