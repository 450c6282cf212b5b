"""Examples and the one entry for people."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from evenwatt_agent import settings as agent_settings
from evenwatt_collector import settings as collector_settings
from evenwatt_daemon import load_settings

ROOT = Path(__file__).parents[2]


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


def test_the_tests_that_security_promises_exist():
    text = (ROOT / "SECURITY.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 30
    for path, name in named:
        assert re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path}::{name}"
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link
