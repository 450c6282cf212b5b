"""A fleet of real agents on a real broker: steps of the load, then the death of the collector, then of the broker.

Nothing is replayed here. One process simulates the machines (``evenwatt_twin``, 10 ms steps), each has its own
``python -m evenwatt_agent``, and mosquitto and ``python -m evenwatt_collector`` are in the middle, all from settings
files. Judged is the twin's true power against caps that the agents confirmed in signed acknowledgements.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from controlling.fleet import SAMPLING_HZ, ZONE, Fleet, write_fleet
from controlling.hearing import Hearing
from controlling.measures import GRID_S, Power, caps_on_grid, held_from_s, over_lease_s, settled

from evenwatt_cli.demo.processes import Child
from evenwatt_daemon import EXIT_FAILURE, Failure
from evenwatt_twin.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Iterator

TWIN_STEP_MS = 10
START_EVERY_S = 0.4
"""Agents are started one after the other: fifty interpreters at once would keep a small machine busy for long."""
LEAD_S, LEAD_PER_AGENT_S = 25.0, 0.8
"""When the first step comes: by then every node must hold a lease."""
FALLBACK_WAIT_S = 25.0
FULL_LOAD_S = 4.0
AFTERWARDS_S = 1.0


def run_live(agents: int, steps: int = 10, seed: int = 1) -> dict[str, Any]:
    """Run the fleet and return what was measured.

    Raises:
        Failure: a process did not start, a node got no lease, or one never came to its fallback.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of our own in it
    with (
        tempfile.TemporaryDirectory(prefix="evenwatt-live-") as folder,
        tempfile.TemporaryDirectory(prefix="evenwatt-live-", dir=memory) as twins,
    ):
        fleet = write_fleet(Path(folder), Path(twins), agents, steps, LEAD_S + LEAD_PER_AGENT_S * agents, seed)
        return _Live(fleet).run()


class _Live:
    """One run."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        folder = fleet.folder
        python = [sys.executable, "-m"]
        twin = [*_first(), *python, "evenwatt_twin", str(folder / "twin.json"), "--dir", str(fleet.twins)]
        self._twin = Child("twin", [*twin, "--step-ms", str(TWIN_STEP_MS)], folder / "twin.log")
        broker = [_mosquitto(), "-c", str(folder / "mosquitto.conf")]
        self._broker = Child("broker", broker, folder / "broker.log")
        collector = [*python, "evenwatt_collector", "--config", str(fleet.settings("collector"))]
        self._collector = Child("collector", collector, folder / "collector.log")
        self._agents = [
            Child(
                node.name, [*python, "evenwatt_agent", "--config", str(fleet.settings(node.name))], self._log(node.name)
            )
            for node in fleet.nodes
        ]
        self._hearing = Hearing(fleet.broker_port, ZONE)
        self._moments: dict[str, int] = {}

    def run(self) -> dict[str, Any]:
        """All phases; children are gone in the end, whatever happens."""
        with self._children():
            self._warm()
            self._wait_until(self._fleet.high_s + FULL_LOAD_S, "steps")
            self._die(self._collector)
            self._collector.start()
            self._await_leases(time.monotonic() + FALLBACK_WAIT_S)
            time.sleep(FULL_LOAD_S)
            self._die(self._broker)
            self._moments["end"] = time.monotonic_ns()
            self._watch_costs()
            self._twin.ask_to_stop()
            self._twin.await_stop()
        return self._judge()

    # --- phases ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _children(self) -> Iterator[None]:
        children = [*self._agents, self._collector, self._twin, self._broker]
        with ExitStack() as stack:
            for child in children:
                stack.callback(child.kill)
            stack.callback(self._hearing.stop)
            yield

    def _warm(self) -> None:
        self._twin.start()
        self._broker.start()
        self._start_ns = self._await_twin()
        _say(f"{len(self._agents)} machines run; starting their agents")
        self._collector.start()
        self._hearing.start()
        for agent in self._agents:
            agent.start()
            time.sleep(START_EVERY_S)
        first_step_s = self._start_ns / 1e9 + self._fleet.ups_s[0]
        self._await_leases(first_step_s - AFTERWARDS_S)
        self._moments["leased"] = time.monotonic_ns()
        _say(f"every node is leased, {first_step_s - time.monotonic():.0f} s before the first step")

    def _await_twin(self) -> int:
        """Return when the machines' load began, once their counters move."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self._refuse_dead()
            log = self._fleet.truth(self._fleet.nodes[0].name)
            if '{"ready"' in (self._fleet.folder / "twin.log").read_text() and (known := Truth.load(log).mono_ns):
                return known[0]  # the moment at which the machine was built: second 0 of its load
            time.sleep(0.1)
        raise Failure("bench: the simulated machines were not ready after 60 s", exit_code=EXIT_FAILURE)

    def _await_leases(self, deadline_s: float) -> None:
        names = {node.name for node in self._fleet.nodes}
        leased: set[str] = set()
        while time.monotonic() < deadline_s:
            self._refuse_dead()
            rows = self._status().get("nodes", [])
            leased = {row["node"] for row in rows if row["lease"] == "leased" and row["state"] == "ready"}
            if names <= leased:
                return
            time.sleep(0.3)
        late = ", ".join(sorted(names - leased))
        raise Failure(
            f"bench: no lease in time: {late}; expected all {len(names)} nodes to be leased by now; this machine is "
            f"too slow or too busy for as many agents: ask for fewer, or wait until it is free",
            exit_code=EXIT_FAILURE,
        )

    def _die(self, child: Child) -> None:
        """Kill a process under full load and wait until every agent says that it is at its fallback."""
        child.kill()
        killed_ns = time.monotonic_ns()
        self._moments[f"{child.name} killed"] = killed_ns
        _say(f"the {child.name} is killed")
        waiting = {node.name for node in self._fleet.nodes}
        while waiting:
            if time.monotonic_ns() > killed_ns + FALLBACK_WAIT_S * 1e9:
                raise Failure(
                    f"bench: not at their fallback {FALLBACK_WAIT_S:.0f} s after the {child.name} was killed: "
                    f"{', '.join(sorted(waiting))}",
                    exit_code=EXIT_FAILURE,
                )
            time.sleep(0.5)
            waiting = {name for name in waiting if self._fallback_s(name, killed_ns) is None}
        time.sleep(AFTERWARDS_S)
        self._moments[f"{child.name} over"] = time.monotonic_ns()

    def _wait_until(self, second: float, what: str) -> None:
        while (left_s := self._start_ns / 1e9 + second - time.monotonic()) > 0:
            self._refuse_dead()
            _say(f"{what}: {left_s:.0f} s left")
            time.sleep(min(10.0, left_s))

    def _refuse_dead(self) -> None:
        for child in (*self._agents, self._collector, self._twin, self._broker):
            if child.exited is not None:
                raise Failure(f"bench: {child.name} died: {child.last_words()}", exit_code=EXIT_FAILURE)

    def _status(self) -> dict[str, Any]:
        with suppress(httpx.HTTPError):
            answer = httpx.get(f"http://127.0.0.1:{self._fleet.http_port}/api/v1/status", timeout=2.0)
            return dict(answer.raise_for_status().json())
        return {}

    def _watch_costs(self) -> None:
        for child in (*self._agents, self._collector, self._twin, self._broker):
            child.watch()

    # --- judgement ------------------------------------------------------------------------------------------------

    def _judge(self) -> dict[str, Any]:
        fleet, moments = self._fleet, self._moments
        truths = {node.name: Truth.load(fleet.truth(node.name)) for node in fleet.nodes}
        power = Power(truths, moments["leased"], moments["end"])
        confirmed = self._hearing.caps((fleet.folder / "trust.json").read_bytes())
        caps_w = {name: caps_on_grid(power, confirmed.get(name, [])) for name in power.node_w}
        sum_w = sum(caps_w.values(), np.zeros(1))
        spans = [
            (self._start_ns + up_s * 1e9, self._start_ns + down_s * 1e9)
            for up_s, down_s in zip(fleet.ups_s, fleet.downs_s, strict=True)
        ]
        found = [settled(power, sum_w, fleet.budget_w, up_ns, down_ns) for up_ns, down_ns in spans]
        living = slice(0, power.at(moments["collector killed"]))
        over_s = {name: over_lease_s(power.node_w[name][living], caps_w[name][living]) for name in power.node_w}
        over_w = np.maximum(0.0, power.fleet_w - fleet.budget_w)
        return {
            "agents": len(fleet.nodes),
            "settle_p99_s": round(float(np.quantile([step.settle_s for step in found], 0.99)), 3),
            "over_lease_max_ms": round(1e3 * max(over_s.values())),
            "fallback_after_collector_kill_s": self._fallback_after(power, "collector"),
            "fallback_after_broker_kill_s": self._fallback_after(power, "broker"),
            "budget_w": fleet.budget_w,
            "peak_pct_of_budget": round(100 * float(power.fleet_w.max()) / fleet.budget_w, 2),
            "peak_over_budget_w": round(float(over_w.max()), 1),
            "over_budget_ws": round(float(over_w.sum() * GRID_S), 2),
            "steps": len(found),
            "sampling_hz": SAMPLING_HZ,
            "twin_step_ms": TWIN_STEP_MS,
            "twin_late_p99_ms": round(
                max(_late_p99_ms(truth, spans[0][0], spans[-1][1]) for truth in truths.values()), 1
            ),
            "rise_pct": [round(100 * step.rise) for step in found],
            "settle_s": [round(step.settle_s, 2) for step in found],
            "settle_strictly_s": [round(max(step.above_s, step.below_strictly_s), 2) for step in found],
            "above_band_s": [round(step.above_s, 2) for step in found],
            "used_pct_of_target": [round(100 * step.used, 1) for step in found],
            "agent_rss_mb": round(max(agent.rss_mb for agent in self._agents), 1),
            "agent_cpu_pct": round(float(np.mean([agent.cpu_pct for agent in self._agents])), 2),
            "twin_cpu_pct": round(self._twin.cpu_pct, 1),
        }

    def _fallback_after(self, power: Power, victim: str) -> float:
        """Return when the last node was at its fallback: by its own log, and in true power for good."""
        killed_ns, over_ns = self._moments[f"{victim} killed"], self._moments[f"{victim} over"]
        latest_s = 0.0
        for node in self._fleet.nodes:
            said_s = self._fallback_s(node.name, killed_ns)
            power_s = held_from_s(power, node.name, node.fallback_w, killed_ns, over_ns)
            latest_s = max(latest_s, said_s or 0.0, power_s)
        return round(latest_s, 2)

    def _fallback_s(self, node: str, killed_ns: int) -> float | None:
        """Return how long after a death a node's agent said that its cap is the fallback now."""
        offset_ns = time.monotonic_ns() - time.time_ns()
        for line in self._log(node).read_text(errors="replace").splitlines():
            if '"fallback"' in line:
                entry = json.loads(line)
                at_ns = datetime.fromisoformat(entry["timestamp"]).timestamp() * 1e9 + offset_ns
                if entry["event"] == "fallback" and at_ns > killed_ns:
                    return (at_ns - killed_ns) / 1e9
        return None

    def _log(self, node: str) -> Path:
        return self._fleet.folder / f"{node}.log"


def _mosquitto() -> str:
    program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        raise Failure("bench: no program 'mosquitto'; the live part needs a real broker: apt-get install mosquitto")
    return program


def _first() -> list[str]:
    """Return what puts the machines before everything else, as far as that is allowed: hardware is never late.

    Counters that stand still for 100 ms and then jump look like power far over the cap, and the agents answer that.
    """
    return ["chrt", "--fifo", "10"] if os.geteuid() == 0 else []


def _late_p99_ms(truth: Truth, t0_ns: float, t1_ns: float) -> float:
    """Return how late the twin showed what its counters had counted: what it adds to the power that an agent reads."""
    mono_ns, shown_ns = np.array(truth.mono_ns), np.array(truth.shown_ns)
    during = (mono_ns >= t0_ns) & (mono_ns < t1_ns)
    return float(np.quantile((shown_ns - mono_ns)[during], 0.99)) / 1e6


def _say(text: str) -> None:
    print(f"live: {text}", file=sys.stderr, flush=True)
