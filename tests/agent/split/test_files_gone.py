"""An actuator whose files have been removed under it still gives the machine its own limits back."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import evenwatt_agent
import evenwatt_daemon
import evenwatt_wire
from tests.agent.split.yard import joined
from tests.support import process


async def test_what_stopping_needs_is_loaded_at_the_start(site, listener):
    """Nothing is imported for it: neither ours, nor a library's, nor the standard one's."""
    library, log = site.folder / "lib", site.folder / "actuator.log"
    for package in (evenwatt_agent, evenwatt_daemon, evenwatt_wire):
        shutil.copytree(Path(package.__file__).parent, library / package.__name__)
    command = [sys.executable, "-X", "importtime", "-m", "evenwatt_agent.actuator"]
    with process([*command, "--config", str(site.folder / "agent.toml")], log, PYTHONPATH=str(library)) as actuator:
        site.await_actuator()
        assert str(library) in Path(f"/proc/{actuator.pid}/environ").read_text()
        with site.agent():
            await joined(listener)
            shutil.rmtree(library)
            before = len(log.read_text())
            assert "import time:" in log.read_text()
            assert site.capped()
            actuator.send_signal(signal.SIGTERM)
            assert actuator.wait(60) == 0, log.read_text()[before:]
    assert not site.capped()
    assert [line for line in log.read_text()[before:].splitlines() if line.startswith("import time:")] == []
