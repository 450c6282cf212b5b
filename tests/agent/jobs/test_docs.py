"""Every key and every answer is written down."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evenwatt_agent.jobs.settings import JobsSettings, TemplateSettings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "running-jobs.md").read_text()


@pytest.mark.parametrize("kind", [JobsSettings, TemplateSettings])
def test_every_key_is_written_down(kind):
    for key in kind.__struct_fields__:
        assert re.search(rf"^\| `{key}` \|", PAGE, re.MULTILINE), key


def test_every_refusal_is_written_down():
    sources = [*(ROOT / "agent/evenwatt_agent/jobs").glob("*.py"), ROOT / "agent/evenwatt_agent/authority.py"]
    codes = {code for path in sources for code in re.findall(r'CommandError\(\s*"([a-z-]+)"', path.read_text())}
    assert codes >= {"jobs-off", "template", "value", "slots"}
    for code in codes - {"control-off"}:
        assert re.search(rf"^\| `{code}` \|", PAGE, re.MULTILINE), code
