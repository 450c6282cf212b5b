"""A demo takes with it what it has started when its terminal is closed; SIGTERM is heard by the same handler."""

from __future__ import annotations

import signal
import sys

import psutil

from tests.support import process, wait_for


def started_by(folder):
    """Return the processes that have a demo's folder in their command."""
    return [one.info["pid"] for one in psutil.process_iter(["pid", "cmdline"])
            if any(str(folder) in word for word in one.info["cmdline"] or [])]  # fmt: skip


def test_nothing_of_it_runs_on(tmp_path):
    folder, log = tmp_path / "demo", tmp_path / "log"
    demo = [sys.executable, "-m", "evenwatt_cli", "demo", "--headless", "--nodes", "1", "--keep", str(folder)]
    # Who runs the tests may ignore it (nohup), and what is started would ignore it as well.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with process(demo, log) as child:
        signal.signal(signal.SIGHUP, before)
        wait_for(lambda: "the page is" in log.read_text(), "the demo runs", 120)
        wait_for(lambda: len(started_by(folder)) >= 4, "itself, machines, agent and collector run", 120)
        child.send_signal(signal.SIGHUP)
        child.wait(120)
        wait_for(lambda: started_by(folder) == [], "nothing of it runs")
        assert "Traceback" not in log.read_text()
