"""The page in Chromium with many nodes: how soon the first view stands, and what an update costs.

``python bench/scaling/page.py [--nodes 1000] [--seconds 20] [--json]``. A real broker, the shipping collector, light
nodes that speak once a second, and Chromium without a screen.

``first_view_s`` is from the start of the navigation, with an empty cache, until the figures of all nodes and a chart
are drawn; the median of five. ``update_ms`` is the 95th percentile of what an update costs the page's main thread in
scripts: ``ScriptDuration`` of the DevTools protocol (Performance.getMetrics, in time of the thread, so that other work
on the machine does not count), of the costlier of the views ``fleet`` and ``zones``; layout and styles stand beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scaling.files import mosquitto, program, write_site

from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

ZONES = 4
LEDGER_S = 60.0
FIRST_VIEWS = 5
STEP_S = 0.1
READY_S = 90.0
QUIET_MS = 0.05
"""Less than this within a step is no part of an update."""
COSTS = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
STANDS = """nodes => {
  const stands = `${nodes}of${nodes}ready`;
  const said = [...document.querySelectorAll('.figure')].map(one => one.innerText.replace(/\\s/g, ''));
  return said.some(one => one.includes(stands)) && document.querySelector('.chart canvas') ? performance.now() : 0;
}"""


def measure(nodes: int = 1000, seconds: float = 20.0) -> dict[str, Any]:
    """Return {nodes, first_view_s, update_ms, update_ms_by_view, update_with_layout_ms_by_view, updates}.

    Raises:
        Failure: something it needs is not installed, or did not start.
    """
    chromium = program("chromium", "chromium")
    from playwright.sync_api import sync_playwright

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evenwatt-page-")))
        port = stack.enter_context(_fleet(folder, nodes))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        stack.callback(browser.close)
        _first_view_s(browser, port, nodes)  # the browser's own start is not the page's
        firsts = [_first_view_s(browser, port, nodes) for _ in range(FIRST_VIEWS)]
        views = {name: _updates_ms(browser, port, name, seconds) for name in ("fleet", "zones")}
    by_view = {name: round(_p95([script for script, _ in found]), 2) for name, found in views.items()}
    whole = {name: round(_p95([total for _, total in found]), 2) for name, found in views.items()}
    return {
        "nodes": nodes,
        "first_view_s": round(statistics.median(firsts), 3),
        "update_ms": max(by_view.values()),
        "update_ms_by_view": by_view,
        "update_with_layout_ms_by_view": whole,
        "updates": sum(map(len, views.values())),
    }


def _first_view_s(browser: Browser, port: int, nodes: int) -> float:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
    found = page.wait_for_function(STANDS, arg=nodes, polling="raf", timeout=60_000)
    stands_ms = found.json_value()
    context.close()
    return float(stands_ms) / 1000


def _updates_ms(browser: Browser, port: int, view: str, seconds: float) -> list[tuple[float, float]]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}/#/{view}")
    page.locator("main table tbody tr").first.wait_for()
    costs = _steps_ms(page, seconds)
    context.close()
    return _batches(costs)


def _steps_ms(page: Page, seconds: float) -> list[tuple[float, float]]:
    """Return what the main thread spent in each step, after the first seconds: in scripts, and with layout."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent_ms() -> tuple[float, float]:
        told = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
        return 1000 * told["ScriptDuration"], 1000 * sum(told[name] for name in COSTS)

    time.sleep(5.0)
    costs, before, due_s = [], spent_ms(), time.monotonic()
    while len(costs) * STEP_S < seconds:
        due_s += STEP_S
        time.sleep(max(0.0, due_s - time.monotonic()))
        now = spent_ms()
        costs.append((now[0] - before[0], now[1] - before[1]))
        before = now
    return costs


def _batches(costs: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the sums of what lies between quiet steps: one update each."""
    found, script, total = [], 0.0, 0.0
    for step_script, step_total in costs:
        if step_total > QUIET_MS:
            script, total = script + step_script, total + step_total
        elif total:
            found.append((script, total))
            script = total = 0.0
    return found or [(sum(one for one, _ in costs), sum(one for _, one in costs))]


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


@contextmanager
def _fleet(folder: Path, nodes: int) -> Iterator[int]:
    """Run broker, collector and nodes that obey its caps; yield the port of the page."""
    site = write_site(folder, nodes, ZONES, LEDGER_S)
    swarm = Path(__file__).parent / "swarm.py"
    commands = [
        [mosquitto(), "-c", str(site.broker)],
        [sys.executable, "-m", "evenwatt_collector", "--config", str(site.config)],
        *([sys.executable, str(swarm), str(plan)] for plan in site.plans),
    ]
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("ab"))
        for command in commands:
            child = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(child.wait)
            stack.callback(child.kill)
            time.sleep(0.5)
        _await_nodes(site.http_port, nodes, folder / "log")
        yield site.http_port


def _await_nodes(port: int, nodes: int, log: Path) -> None:
    deadline_s = time.monotonic() + READY_S
    while time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status", timeout=10) as answer:
                heard = sum(node["power_w"] is not None for node in json.load(answer)["nodes"])
        except OSError:
            heard = 0
        if heard >= nodes:
            return
        time.sleep(1.0)
    raise Failure(
        f"{nodes} nodes were not heard within {READY_S:.0f} s: {log.read_text()[-400:]}", exit_code=EXIT_FAILURE
    )


def main() -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0, help="of updates, for each view")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        found = measure(options.nodes, options.seconds)
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return failure.exit_code
    print(json.dumps(found) if options.json else json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
