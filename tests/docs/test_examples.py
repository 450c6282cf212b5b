"""Every example of a file in the documentation is one that a program would take."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from evenwatt_collector.jobs.spec import JobSpec
from tests.docs import reference

ROOT = Path(__file__).parents[2]
KINDS = [kind for _, _, kind in reference.SETTINGS.values() if kind is not JobSpec]
EXAMPLES = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in (*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "SECURITY.md")
    for number, text in enumerate(re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_a_file_that_is_taken(text):
    raw = tomllib.loads(text)
    if isinstance(raw.get("jobs"), list):
        for job in raw["jobs"]:
            assert set(job) <= set(JobSpec.__struct_fields__)
        return
    refusals = [why for kind in KINDS if (why := _refusal(raw, kind)) is not None]
    assert len(refusals) < len(KINDS), refusals


def _refusal(raw, kind):
    try:
        msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        return f"{kind.__name__}: {error}"
    return None
