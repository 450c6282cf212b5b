"""Fleets of light nodes at 1 Hz on a real broker with the shipping collector steering them, one size after the other.

``e2e_p99_ms`` is from the end of a window at its node to its being folded into the collector's fleet, where control,
status and stream see it; of every window of the time measured. Processor time and memory are the kernel's figures.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from scaling.files import Site, mosquitto, write_site

from evenwatt_cli.demo.processes import Child
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (100, 500, 1_000, 2_500, 5_000)
QUICK_SIZES = (100, 1_000)
ZONES = 10
START_S = 120.0
STOP_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


def measure_fleets(sizes: tuple[int, ...], settle_s: float, seconds: float, zones: int = ZONES) -> list[dict[str, Any]]:
    """Measure each size.

    Raises:
        Failure: a part did not start or died.
    """
    return [measure_fleet(size, settle_s, seconds, zones) for size in sizes]


def measure_fleet(nodes: int, settle_s: float, seconds: float, zones: int, ledger_s: float = 60.0) -> dict[str, Any]:
    """Measure one fleet: let it settle, then look for some seconds."""
    with tempfile.TemporaryDirectory(prefix="evenwatt-scale-") as folder, ExitStack() as stack:
        run = FleetRun(write_site(Path(folder), nodes, zones, ledger_s), stack)
        run.start()
        _say(f"{nodes} nodes in {zones} zones have joined and hold leases")
        time.sleep(settle_s)
        return {"nodes": nodes, "zones": zones} | run.measure(seconds) | run.end()


class FleetRun:
    """A fleet's processes.

    Args:
        site: What they read.
        stack: What ends them.
    """

    def __init__(self, site: Site, stack: ExitStack) -> None:
        self.site = site
        folder, here = site.folder, Path(__file__).parent
        self._probe = folder / "probe.json"
        probed = [sys.executable, str(here / "probed.py"), str(self._probe), "--", "--config", str(site.config)]
        self.broker = Child("broker", [mosquitto(), "-c", str(site.broker)], folder / "broker.log")
        self.collector = Child("collector", probed, folder / "collector.log")
        self.swarm = [
            Child(plan.stem, [sys.executable, str(here / "swarm.py"), str(plan)], folder / f"{plan.stem}.log")
            for plan in site.plans
        ]
        for child in (self.broker, self.collector, *self.swarm):
            stack.callback(child.kill)

    def start(self) -> None:
        """Start everything and wait until each node holds a lease."""
        self.broker.start()
        time.sleep(0.5)
        self.collector.start()
        self.wait(self._ready, START_S, "the collector is ready")
        for child in self.swarm:
            child.start()
        self.wait(lambda: self._said("capped") == self.site.nodes, START_S, "every node holds a lease")

    def measure(self, seconds: float) -> dict[str, Any]:
        """Look for some seconds."""
        before = self._costs()
        os.kill(self.collector.pid or 0, signal.SIGUSR1)
        sent, began_s = self.status()["caps"]["sent"], time.monotonic()
        before = self._costs()
        time.sleep(seconds)
        self.refuse_dead()
        after, took_s = self._costs(), time.monotonic() - began_s
        self._probe.unlink(missing_ok=True)
        os.kill(self.collector.pid or 0, signal.SIGUSR2)
        self.wait(self._probe.exists, 10.0, "the collector has told what it saw")
        found = json.loads(self._probe.read_text())
        asked_s = time.monotonic()
        status = self.status()
        answered_s = time.monotonic()
        cpu_s = {name: after[name] - before[name] for name in after}
        return {
            "e2e_p50_ms": found["p50_ms"],
            "e2e_p99_ms": found["p99_ms"],
            "e2e_most_ms": found["p100_ms"],
            "collector_cpu_pct": round(100 * cpu_s["collector"] / took_s, 1),
            "collector_rss_mb": round(_rss_mb(self.collector), 1),
            "cpu_us_per_node_s": round(1e6 * cpu_s["collector"] / took_s / self.site.nodes, 1),
            "windows_per_s": round(found["windows"] / took_s),
            "leases_per_s": round((status["caps"]["sent"] - sent) / took_s),
            "answer_p95_ms": round(1e3 * (status["caps"]["answer_p95_s"] or 0.0), 1),
            "unanswered": status["caps"]["expired"],
            "over_budget": [zone["zone"] for zone in status["zones"] if zone["power_w"] > (zone["budget_w"] or 1e12)],
            "lost_windows": status["messages"]["lost"],
            "status_ms": round(1e3 * (answered_s - asked_s), 1),
            "broker_cpu_pct": round(100 * cpu_s["broker"] / took_s, 1),
            "nodes_cpu_pct": round(100 * cpu_s["nodes"] / took_s, 1),
            "nodes_late_p99_ms": max(self._truth(child)["late_p99_ms"] for child in self.swarm),
        }

    def end(self) -> dict[str, Any]:
        """Stop the fleet and hold the books against what the nodes know that they have used."""
        for child in self.swarm:
            child.ask_to_stop()
        self.wait(lambda: all(self._truth(child)["done"] for child in self.swarm), STOP_S, "the nodes have stopped")
        self.collector.ask_to_stop()
        self.collector.await_stop()
        truth = {name: row for child in self.swarm for name, row in self._truth(child)["truth"].items()}
        with closing(sqlite3.connect(self.site.database)) as database:
            count, energy_j = database.execute("SELECT COUNT(*), SUM(energy_j) FROM ledger").fetchone()
        told_j = sum(row["stored_j"] for row in truth.values())
        return {
            "records": sum(row["records"] for row in truth.values()),
            "records_stored": count,
            "joules_apart": round(abs(energy_j - told_j), 3),
        }

    # --- looking --------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return the status document."""
        return dict(httpx.get(f"http://127.0.0.1:{self.site.http_port}/api/v1/status", timeout=30.0).json())

    def wait(self, condition: Callable[[], bool], within_s: float, what: str) -> None:
        """Wait for something.

        Raises:
            Failure: it does not come, or a part died.
        """
        deadline_s = time.monotonic() + within_s
        while not condition():
            self.refuse_dead()
            if time.monotonic() > deadline_s:
                last = self.collector.last_words()
                raise Failure(f"bench: waited {within_s:.0f} s in vain until {what}: {last}", exit_code=EXIT_FAILURE)
            time.sleep(0.1)

    def refuse_dead(self) -> None:
        """Raise Failure if a part has died."""
        for child in (self.broker, self.collector, *self.swarm):
            if child.exited:
                raise Failure(f"bench: {child.name} died: {child.last_words()}", exit_code=EXIT_FAILURE)

    def _ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.site.http_port}/readyz", timeout=5.0).status_code == 200
        return False

    def _said(self, figure: str) -> int:
        return sum(self._truth(child)[figure] for child in self.swarm)

    def _truth(self, child: Child) -> dict[str, Any]:
        path = self.site.folder / f"{child.name}.truth"
        empty = {"done": False, "joined": 0, "capped": 0, "late_p99_ms": 0.0}
        return dict(json.loads(path.read_text())) if path.exists() else empty

    def _costs(self) -> dict[str, float]:
        return {
            "collector": _cpu_s(self.collector),
            "broker": _cpu_s(self.broker),
            "nodes": sum(_cpu_s(child) for child in self.swarm),
        }


def _cpu_s(child: Child) -> float:
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss_mb(child: Child) -> float:
    lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def _say(text: str) -> None:
    print(f"scale: {text}", file=sys.stderr, flush=True)
