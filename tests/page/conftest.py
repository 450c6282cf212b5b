"""Chromium, as people use it: a real browser on a real collector. What it complains about fails the test."""

from __future__ import annotations

import re
import shutil
import signal
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.collector.middle import Middle
from tests.support import Mosquitto, need, process, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SPEAKERS = Path(__file__).parents[2] / "bench" / "scaling" / "speakers.py"
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def chromium():
    """One browser for a module, not longer: while it is there no other test has a loop. Each visit has a context."""
    need(CHROMIUM, "chromium", "chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """``visit(port, "#/fleet", width=, height=, scheme=, forgive=)`` returns a page of Playwright's.

    Whatever the browser complains of (errors, exceptions, what the policy forbids) fails the test in the end, but for
    what matches ``forgive``.
    """
    contexts, complaints = [], []

    def go(port, where="", *, width=1440, height=900, scheme="light", forgive="(?!)"):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)

        def complain(what):
            if not re.search(forgive, what):
                complaints.append(what)

        page.on("console", lambda said: complain(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complain(f"{error}"))
        page.goto(f"http://127.0.0.1:{port}/{where}")
        page.locator("main h1").wait_for()
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []


class Fleet:
    """A broker, a collector and nodes that speak."""

    def __init__(self, folder, broker):
        self.folder, self.broker = folder, broker
        self.middle = Middle(folder, broker.port)
        self.port = self.middle.port
        self.speakers = self.collector = None
        self._running = ExitStack()

    def start(self):
        """Start the collector, the first time or again."""
        self.collector = self._running.enter_context(self.middle.run())
        self.ready()

    def close(self):
        self._running.close()

    def ready(self):
        def answers():
            try:
                return self.middle.get("/readyz").status_code == 200
            except httpx.HTTPError:
                return False

        wait_for(answers, "the collector is ready", 60)

    @contextmanager
    def speaking(self, nodes, zones=2):
        command = [sys.executable, str(SPEAKERS), str(self.broker.port), str(nodes), str(zones)]
        with process(command, self.folder / "speakers.log") as child:
            self.speakers = child
            wait_for(lambda: self.heard() >= nodes, f"{nodes} nodes are heard", 60)
            yield child

    def heard(self):
        return sum(node["power_w"] is not None for node in self.middle.status()["nodes"])

    def silence_one(self):
        """The last node says no more; nothing tells the broker so."""
        self.speakers.send_signal(signal.SIGUSR1)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Two halls under a collector that keeps 100 nodes' account."""
    folder = tmp_path_factory.mktemp("fleet")
    broker = Mosquitto(folder).start()
    made = Fleet(folder, broker)
    made.middle.write(
        zone="".join(f'[[zones]]\nname = "hall-{name}"\ngrid = "DE"\nbudget_w = 20000\n' for name in "ab")
    )
    made.start()
    with made.speaking(100):
        yield made
    made.close()
    broker.kill()


def until(page, script, argument=None):
    """Wait until a script returns something true; what is no function would need `eval`, which the policy forbids."""
    function = script if "=>" in script else f"() => {script}"
    return page.wait_for_function(function, arg=argument, timeout=PATIENCE_MS)
