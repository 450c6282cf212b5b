"""A fleet of light nodes on a real broker whose real collector is stopped, or killed, and comes back.

Memory of each part is looked at twice a second. The live view counts as recovered when every node's latest window, as
the collector shows it, was made less than three seconds ago; the ledger as complete when no node keeps a record that is
not known to be stored. In the end the database is compared with what the nodes know that they have used.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from evenwatt_cli.demo.processes import Child
from evenwatt_daemon import EXIT_FAILURE, Failure

ZONE = "storm"
FRESH_S = 3.0
START_S, RECOVER_S, COMPLETE_S = 120.0, 120.0, 600.0
NODES_A_PROCESS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a storm."""

    agents: int = 200
    stopped_s: float = 600.0
    burst_s: float = 60.0
    ledger_s: float = 60.0
    steady_s: float = 30.0
    variants: tuple[str, ...] = ("stop", "kill")


@dataclass(slots=True)
class Peak:
    """The most memory that a part has had, in megabytes, by phase."""

    mb: dict[str, dict[str, float]] = field(default_factory=dict)

    def note(self, phase: str, part: str, mb: float) -> None:
        known = self.mb.setdefault(phase, {})
        known[part] = round(max(known.get(part, 0.0), mb), 1)


def run_storm(size: Size) -> dict[str, Any]:
    """Run all variants on one fleet, one after the other.

    Raises:
        Failure: a part did not start or died.
    """
    with tempfile.TemporaryDirectory(prefix="evenwatt-storm-") as folder:
        return _Storm(Path(folder), size).run()


class _Storm:
    def __init__(self, folder: Path, size: Size) -> None:
        self._folder, self._size = folder, size
        self._broker_port, self._http_port = _free_port(), _free_port()
        self._broker = Child("broker", [_mosquitto(), "-c", str(self._write_broker())], folder / "broker.log")
        config = self._write_collector()
        command = [sys.executable, "-m", "evenwatt_collector", "--config", str(config)]
        self._collector = Child("collector", command, folder / "collector.log")
        self._plans = self._write_plans()
        script = str(Path(__file__).with_name("nodes.py"))
        self._fleet = [
            Child(plan.stem, [sys.executable, script, str(plan)], folder / f"{plan.stem}.log") for plan in self._plans
        ]
        self._peak, self._phase, self._watching = Peak(), "start", True

    def run(self) -> dict[str, Any]:
        with ExitStack() as stack:
            for child in (self._broker, self._collector, *self._fleet):
                stack.callback(child.kill)
            watcher = threading.Thread(target=self._watch, daemon=True)
            self._broker.start()
            time.sleep(0.5)
            self._collector.start()
            for child in self._fleet:
                child.start()
            watcher.start()
            started_s = self._await_live(START_S)
            _say(f"{self._size.agents} nodes are heard after {started_s:.0f} s")
            self._in_phase("steady", self._size.steady_s)
            self._burst(signal.SIGUSR1)
            self._in_phase("burst", self._size.burst_s)
            burst_age_s = self._oldest_s()
            self._burst(signal.SIGUSR2)
            found = {variant: self._variant(variant) for variant in self._size.variants}
            self._phase = "end"
            self._end()
            self._watching = False
            watcher.join()
            return self._judge(found, burst_age_s)

    # --- phases ---------------------------------------------------------------------------------------------------

    def _variant(self, variant: str) -> dict[str, Any]:
        """Take the collector away under a burst, and give it back."""
        self._burst(signal.SIGUSR1)
        if variant == "stop":
            os.kill(self._pid(self._collector), signal.SIGSTOP)
        else:
            self._collector.kill()
        _say(f"collector away ({variant}) for {self._size.stopped_s:.0f} s")
        burst_s = min(self._size.burst_s, self._size.stopped_s)
        self._in_phase(f"{variant}: away", burst_s)
        self._burst(signal.SIGUSR2)
        self._in_phase(f"{variant}: away", self._size.stopped_s - burst_s)
        waiting = self._waiting()
        self._phase = f"{variant}: back"
        back_s = time.monotonic()
        if variant == "stop":
            os.kill(self._pid(self._collector), signal.SIGCONT)
        else:
            self._collector.start()
        live_s = self._await_live(RECOVER_S)
        _say(f"live view back after {live_s:.1f} s; {waiting} records wait")
        while self._waiting() > 0 and time.monotonic() < back_s + COMPLETE_S:
            self._refuse_dead()
            time.sleep(0.2)
        complete_s = time.monotonic() - back_s
        _say(f"ledger complete after {complete_s:.1f} s")
        return {
            "live_recovered_s": round(live_s, 1),
            "records_waiting": waiting,
            "ledger_complete_s": round(complete_s, 1),
        }

    def _in_phase(self, phase: str, seconds: float) -> None:
        self._phase = phase
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._refuse_dead()
            time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))

    def _burst(self, number: signal.Signals) -> None:
        for child in self._fleet:
            os.kill(self._pid(child), number)

    def _await_live(self, within_s: float) -> float:
        began_s = time.monotonic()
        while time.monotonic() < began_s + within_s:
            self._refuse_dead()
            if self._oldest_s() < FRESH_S:
                return time.monotonic() - began_s
            time.sleep(0.1)
        raise Failure(f"bench: the live view is not fresh after {within_s:.0f} s", exit_code=EXIT_FAILURE)

    def _oldest_s(self) -> float:
        """Return the age of the oldest latest window, by the time at which it was made."""
        with suppress(httpx.HTTPError):
            rows = httpx.get(f"http://127.0.0.1:{self._http_port}/api/v1/status", timeout=5.0).json()["nodes"]
            heard = [row["power_w"] for row in rows if row["state"] == "ready" and row["power_w"]]
            ages = [(time.time() % 10_000 - made_s) % 10_000 for made_s in heard]
            if len(ages) == self._size.agents:
                return max(ages)
        return float("inf")

    def _end(self) -> None:
        for child in self._fleet:
            child.ask_to_stop()
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline and not all(self._said(plan)["done"] for plan in self._plans):
            time.sleep(0.2)
        time.sleep(1.0)
        self._status = httpx.get(f"http://127.0.0.1:{self._http_port}/api/v1/status", timeout=10.0).json()
        self._collector.ask_to_stop()
        self._collector.await_stop()

    # --- what is seen ---------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while self._watching:
            for child in (self._broker, self._collector, *self._fleet):
                with suppress(psutil.Error, Failure):
                    part = child.name.split("-")[0]
                    mb = psutil.Process(self._pid(child)).memory_info().rss / 1e6
                    self._peak.note(self._phase, part, mb)
            time.sleep(0.5)

    def _waiting(self) -> int:
        return sum(self._said(plan)["waiting"] for plan in self._plans)

    def _said(self, plan: Path) -> dict[str, Any]:
        path = plan.with_name(f"{plan.stem}.truth")
        empty = {"done": False, "waiting": 0, "live_dropped": 0, "truth": {}}
        return dict(json.loads(path.read_text())) if path.exists() else empty

    def _refuse_dead(self) -> None:
        for child in (self._broker, *self._fleet):
            if child.exited is not None:
                raise Failure(f"bench: {child.name} died: {child.last_words()}", exit_code=EXIT_FAILURE)

    def _pid(self, child: Child) -> int:
        if child.pid is None:
            raise Failure(f"bench: {child.name} does not run: {child.last_words()}", exit_code=EXIT_FAILURE)
        return child.pid

    def _judge(self, found: dict[str, Any], burst_age_s: float) -> dict[str, Any]:
        said = [self._said(plan) for plan in self._plans]
        truth = {name: row for one in said for name, row in one["truth"].items()}
        with closing(sqlite3.connect(self._folder / "state" / "collector.db")) as database:
            rows = database.execute(
                "SELECT node.name, COUNT(*), SUM(ledger.energy_j) FROM ledger JOIN boot ON boot.id = ledger.boot "
                "JOIN node ON node.id = boot.node GROUP BY 1"
            ).fetchall()
        stored = {name: (count, energy_j) for name, count, energy_j in rows}
        differences_j = [stored.get(name, (0, 0.0))[1] - energy_j for name, (_, energy_j) in truth.items()]
        return {
            "agents": self._size.agents,
            "stopped_s": self._size.stopped_s,
            "variants": found,
            "burst_oldest_window_s": round(burst_age_s, 1),
            "records": sum(count for count, _ in truth.values()),
            "records_stored": sum(count for count, _ in stored.values()),
            "records_waiting_in_the_end": sum(one["waiting"] for one in said),
            "joules": round(sum(energy_j for _, energy_j in truth.values())),
            "joules_lost": round(sum(max(0.0, -d) for d in differences_j), 3),
            "joules_doubled": round(sum(max(0.0, d) for d in differences_j), 3),
            "duplicates": self._status["ledger"]["duplicate"],
            "refused": self._status["store"]["refused"],
            "live_dropped_by_nodes": sum(one["live_dropped"] for one in said),
            "most_mb": self._peak.mb,
        }

    # --- files ----------------------------------------------------------------------------------------------------

    def _write_broker(self) -> Path:
        path = self._folder / "mosquitto.conf"
        user = "" if os.geteuid() else "user root\n"
        path.write_text(
            f"listener {self._broker_port} 127.0.0.1\nallow_anonymous true\npersistence false\n{user}"
            f"max_queued_messages 10000\n"
        )
        return path

    def _write_collector(self) -> Path:
        path = self._folder / "collector.toml"
        path.write_text(
            f'state_dir = "{self._folder / "state"}"\n[mqtt]\nport = {self._broker_port}\n'
            f'[http]\nport = {self._http_port}\n[log]\nstyle = "json"\n[[zones]]\nname = "{ZONE}"\ngrid = "DE"\n'
        )
        return path

    def _write_plans(self) -> list[Path]:
        names = [f"n{i:05d}" for i in range(self._size.agents)]
        plans = []
        for first in range(0, len(names), NODES_A_PROCESS):
            path = self._folder / f"nodes-{first // NODES_A_PROCESS}.json"
            plan = {
                "zone": ZONE,
                "port": self._broker_port,
                "folder": str(self._folder),
                "nodes": names[first : first + NODES_A_PROCESS],
                "ledger_s": self._size.ledger_s,
                "spool_records": 20_160,
                "truth": str(path.with_name(f"{path.stem}.truth")),
            }
            path.write_text(json.dumps(plan))
            plans.append(path)
        return plans


def _mosquitto() -> str:
    program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        raise Failure("bench: no program 'mosquitto'; the storm needs a real broker: apt-get install mosquitto")
    return program


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say(text: str) -> None:
    print(f"storm: {text}", file=sys.stderr, flush=True)
