"""The published description of the wire names every message and every field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evenwatt_wire import (
    Ack,
    Actuator,
    Command,
    ControllerState,
    Deployment,
    Deployments,
    Domain,
    DomainEnergy,
    DomainWindow,
    Gap,
    JobLine,
    JobList,
    JobOrder,
    Kind,
    LeaseInForce,
    PartEnergy,
    RunReport,
    Submission,
    TaskEnergy,
    Template,
)
from evenwatt_wire.command import Renewal
from evenwatt_wire.messages import Beat
from tests.wire import examples

PAGE = Path(__file__).parents[2] / "docs" / "wire.md"
INNER = {
    "window": DomainWindow, "lease": LeaseInForce, "energy": DomainEnergy, "gap": Gap, "part": PartEnergy,
    "task": TaskEnergy, "domain": Domain,
    "actuator": Actuator, "cmd": Command, "renew": Renewal, "ack": Ack,
    "_ctl/state": ControllerState, "_ctl/beat": Beat,
    "order": JobOrder, "run": RunReport, "submit": Submission, "template": Template, "line": JobLine,
    "deployment": Deployment, "_ctl/jobs": JobList, "_ctl/deployments": Deployments,
}  # fmt: skip
OUTER = {
    "live": examples.LIVE, "ledger": examples.LEDGER, "stored": examples.STORED, "event": examples.EVENT,
    "probe": examples.PROBE, "echo": examples.ECHO,
    "state": examples.STATE, "birth": examples.BIRTH, "summary": examples.SUMMARY, "_zone/summary": examples.ZONE,
}  # fmt: skip
STRUCTS = {**INNER, **{name: type(message) for name, message in OUTER.items()}}


@pytest.mark.parametrize("name", STRUCTS)
def test_fields_are_written_down_in_their_order(name):
    rows = re.findall(r"^\| `?([a-z_/]+)`? \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    described = next(text for row, text in rows if row == name and "`" in text and text.count("|") == 0)
    words = re.findall(r"`([a-z0-9_]+)`", re.sub(r"\([^)]*\)", "", described))
    fields = list(STRUCTS[name].__struct_fields__)
    assert [word for word in words if word in fields] == fields


@pytest.mark.parametrize("kind", Kind)
def test_every_topic_is_written_down(kind):
    assert re.search(rf"^\| `{kind.value}` \|", PAGE.read_text(), re.MULTILINE)
