"""Every key and every answer is written down, and the drop-in is one that systemd takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from evenwatt_agent.jobs.settings import JobsSettings, TemplateSettings
from tests.support import need

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


def test_systemd_takes_the_drop_in(tmp_path):
    need(shutil.which("systemd-analyze"), "systemd-analyze", "systemd")
    unit = (ROOT / "systemd" / "evenwatt-agent.service").read_text().replace("/opt/evenwatt/bin", str(tmp_path))
    for program in ("evenwatt-agent", "evenwatt-restore"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    (tmp_path / "evenwatt-agent.service").write_text(unit)
    (tmp_path / "evenwatt-agent.service.d").mkdir()
    shutil.copy(ROOT / "systemd/drop-ins/evenwatt-agent-jobs.conf", tmp_path / "evenwatt-agent.service.d" / "jobs.conf")
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "evenwatt-agent.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "evenwatt" in line] == []
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", command[-1]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert float(re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)[1]) <= 3.6
