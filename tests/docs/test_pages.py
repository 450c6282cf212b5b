"""What pages say of the code: files that they name, and checks that they explain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evenwatt_agent import doctor
from evenwatt_agent.findings import UNHEALTHY

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROOTS = ("agent", "collector", "cli", "daemon", "wire", "twin")
ELSEWHERE = (
    "node power",
    "caps",
    "actuator",
    "agent",
    "broker",
    "collector",
    "certificates",
    "secrets",
    "keys",
    "clock",
    "jobs",
)


def test_the_code_that_methods_name_is_there():
    named = re.findall(r"`(evenwatt_\w+/[\w/]+\.py)`", (DOCS / "methods.md").read_text())
    assert len(named) > 10
    assert [path for path in named if not any((ROOT / root / path).exists() for root in ROOTS)] == []


@pytest.mark.parametrize("check", [name for name in doctor._ABSENT if name not in ("power_supply", "ipmi")])
def test_every_source_that_doctor_looks_at_is_explained(check):
    assert re.search(rf"^\| `.*\b{check}\b.*` \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("check", ELSEWHERE)
def test_every_check_of_doctor_is_explained(check):
    assert re.search(rf"^\| `{check}` \| `", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)


def test_every_verdict_that_needs_a_person_is_explained():
    text = (DOCS / "troubleshooting.md").read_text()
    assert [verdict for verdict in UNHEALTHY if f"`{verdict.value}`" not in text] == []


def test_the_messages_that_troubleshooting_quotes_are_said_somewhere():
    sources = [path.read_text() for root in ROOTS for path in (ROOT / root).rglob("*.py")]
    said = "\n".join(re.sub(r"\"\s*\n\s*f?\"", "", source) for source in sources)
    text = (DOCS / "troubleshooting.md").read_text().split("## Installing")[0]
    quoted = [line for line in re.findall(r"\"([^\"|]{8,})\"", text) if " " in line]
    assert len(quoted) > 8
    assert [words for words in quoted if words not in said] == []
