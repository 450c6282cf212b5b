"""What is printed for people is what the command writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evenwatt_wire.rights import RIGHTS, Party, Place
from tests.broker.samples import FOLDER, SAMPLES

PAGE = Path(__file__).parents[2] / "docs" / "broker.md"
SAYS = {Party.NODE: "node", Party.COLLECTOR: "collector", Party.OPERATOR: "operator"}
HEARS = {Party.OPERATOR: "operators", Party.VIEWER: "viewers"}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_ready_made_files_are_what_the_command_writes(name):
    assert (FOLDER / name).read_text() == SAMPLES[name], "write them anew: python -m tests.broker.samples"


@pytest.mark.parametrize("right", RIGHTS, ids=[f"{right.place} {right.kind}" for right in RIGHTS])
def test_the_page_says_who_says_and_who_hears(right):
    name = right.kind.value if right.place is Place.NODE else f"{right.place.value}/{right.kind.value}"
    rows = re.findall(rf"^\| `{re.escape(name)}` \| (.*) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    said, heard = rows[0]
    assert {party for party, word in SAYS.items() if word in said} == right.said_by
    assert {party for party, word in HEARS.items() if word in heard} == right.heard_by - {Party.NODE, Party.COLLECTOR}
    assert ("node" in heard or "itself" in heard) == (Party.NODE in right.heard_by)
