"""Runs the demo: start everything, let it run, break what was asked to be broken, stop in order, and report."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from evenwatt_cli.demo.faults import Fault, parse_faults
from evenwatt_cli.demo.folder import demo_folder, where_the_page_is
from evenwatt_cli.demo.processes import Agent, Child, Job, Twin, collector, end_together, start_broker
from evenwatt_cli.demo.report import Measured, make_report
from evenwatt_cli.demo.scenario import Event, Scenario, make_scenario, real_node_settings, write_policy
from evenwatt_cli.demo.view import LiveView, Progress, View
from evenwatt_cli.exits import Exit
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from iotcore import Broker

_READY_S: Final = 60.0
_POLL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    seconds: float
    nodes: int
    budget_w: float
    faults: tuple[str, ...]
    headless: bool
    as_json: bool
    keep: Path | None


def run_demo(options: Options) -> Exit:
    """Run the demo and return how it went.

    Raises:
        Failure: something did not start, or a fault makes no sense.
    """
    end_together()
    with ExitStack() as stack:
        folder = demo_folder(options.keep, stack)
        gpus = shutil.which("cc") is not None or shutil.which("gcc") is not None
        scenario = make_scenario(folder, options.nodes, options.budget_w, gpus=gpus)
        faults = parse_faults(options.faults, frozenset(node.name for node in scenario.nodes))
        if not gpus:
            print("demo: no C compiler, so no simulated GPUs (apt-get install gcc libc6-dev)", file=sys.stderr)
        demo = Demo(scenario, faults)
        view: View = Progress() if options.headless else LiveView()
        try:
            demo.start()
            print(where_the_page_is(f"http://127.0.0.1:{scenario.http_port}", scenario), file=sys.stderr)
            if options.keep:
                looks = "".join(f"\n  evenwatt {verb} -c {folder}/operator.toml" for verb in ("status", "report"))
                print(f"demo: look at it from another terminal:{looks}", file=sys.stderr)
            with view:
                demo.run(options.seconds, view)
        finally:
            measured = demo.stop()
        report = make_report(scenario, measured)
        print(json.dumps(report) if options.as_json else _in_words(report))
        if options.keep:
            print(f"demo: logs, settings and database are in {folder}", file=sys.stderr)
        return Exit.OK if not report["ledger"]["missing"] else Exit.DEGRADED


class Demo:
    """All processes of one demo."""

    def __init__(self, scenario: Scenario, faults: list[Fault]) -> None:
        self._scenario = scenario
        self._faults = faults
        self._returns: list[tuple[float, Fault]] = []
        self._broker: Broker | None = None
        self._twin = Twin(scenario)
        self._agents: dict[str, Agent] = {}
        self._collector = collector(scenario)
        self._status: dict[str, Any] = {}
        self._measured_ns = (0, 0)
        self._jobs: list[Job] = []
        self._events: list[Event] = []

    def start(self) -> None:
        """Start everything and wait until every node holds a lease."""
        print("demo: starting broker, simulated machines, agents and collector ...", file=sys.stderr)
        self._broker = start_broker(self._scenario.broker_port)
        self._jobs = [Job(self._scenario, node.name) for node in self._scenario.nodes if node.batch]
        for job in self._jobs:
            job.start()
        self._twin.start()
        machines = self._twin.await_ready()
        self._agents = {
            node.name: Agent(self._scenario, node.name, machines[node.name]) for node in self._scenario.nodes
        }
        own = _own_name()
        if own is not None:
            real_node_settings(self._scenario, own)
            self._agents[own] = Agent(self._scenario, own, None)
        for agent in self._agents.values():
            agent.start()
        self._collector.start()
        self._await_leases()
        now_ns = time.monotonic_ns()
        self._measured_ns = (now_ns, now_ns)

    def run(self, seconds: float, view: View) -> None:
        """Let it run for a while, showing it."""
        started = time.monotonic()
        self._events = self._scenario.events(seconds)
        write_policy(self._scenario, self._events, time.time())
        try:
            while (elapsed := time.monotonic() - started) < seconds:
                self._break_things(elapsed)
                self._revive()
                self._poll()
                view.show(self._status, elapsed, seconds)
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            pass
        self._break_things(float("inf"))
        self._measured_ns = (self._measured_ns[0], time.monotonic_ns())

    def stop(self) -> Measured:
        """Stop in order: agents flush, the collector stores, then the rest. Return what was seen."""
        for agent in self._agents.values():
            agent.watch()
            agent.ask_to_stop()
        for agent in self._agents.values():
            agent.await_stop()
        if self._collector.exited is None:
            self._poll()
        for job in self._jobs:
            job.kill()
        for child in (self._collector, self._twin):
            child.ask_to_stop()
            child.await_stop()
        if self._broker is not None:
            self._broker.stop()
        costs = {name: (agent.rss_mb, agent.cpu_pct) for name, agent in self._agents.items()}
        return Measured(self._status, self._measured_ns, self._events, costs)

    def _await_leases(self) -> None:
        deadline = time.monotonic() + _READY_S
        names = {node.name for node in self._scenario.nodes}
        while True:
            self._poll()
            leased = {node["node"] for node in self._status.get("nodes", []) if node.get("lease") == "leased"}
            if names <= leased:
                return
            for child in (*self._agents.values(), self._collector, self._twin):
                if child.exited is not None:
                    raise Failure(f"{child.name} did not start: {child.last_words()}", exit_code=EXIT_FAILURE)
            if time.monotonic() > deadline:
                late = ", ".join(sorted(names - leased))
                raise Failure(f"no lease after {_READY_S:.0f} s: {late}; see --keep DIR", exit_code=EXIT_FAILURE)
            time.sleep(0.1)

    def _poll(self) -> None:
        for child in self._agents.values():
            child.watch()
        try:
            answer = httpx.get(f"http://127.0.0.1:{self._scenario.http_port}/api/v1/status", timeout=2.0)
            self._status = answer.raise_for_status().json()
        except httpx.HTTPError:
            return  # the collector is starting, or is being restarted: the last picture stays

    def _break_things(self, elapsed: float) -> None:
        while self._faults and self._faults[0].at_s <= elapsed:
            fault = self._faults.pop(0)
            if elapsed == float("inf"):
                continue
            self._returns.append((fault.at_s + fault.length_s, fault))
            if fault.node is None and self._broker is not None:
                self._broker.stop()
            elif fault.node is not None:
                self._agents[fault.node].kill()
            print(f"demo: killed {fault.node or 'the broker'} for {fault.length_s:g} s", file=sys.stderr)
        for due_s, fault in [entry for entry in self._returns if entry[0] <= elapsed]:
            self._returns.remove((due_s, fault))
            if fault.node is None:
                self._broker = start_broker(self._scenario.broker_port)
            else:
                self._agents[fault.node].revive()
            print(f"demo: {fault.node or 'the broker'} is back", file=sys.stderr)

    def _revive(self) -> None:
        """Restart what died without being asked to, as the service manager would."""
        broken = {fault.node for _, fault in self._returns}
        for name, agent in self._agents.items():
            if agent.exited is not None and name not in broken:
                print(f"demo: {name} {agent.last_words()}; started again", file=sys.stderr)
                agent.revive()
        for child in (self._collector, self._twin):
            self._refuse_dead(child)

    @staticmethod
    def _refuse_dead(child: Child) -> None:
        if child.exited is not None:
            raise Failure(f"{child.name} {child.last_words()}", exit_code=EXIT_FAILURE)


def _own_name() -> str | None:
    """Return a name for this very machine if it has counters that can be read."""
    counters = Path("/sys/class/powercap").glob("*/energy_uj")
    return "this-machine" if any(os.access(counter, os.R_OK) for counter in counters) else None


def _in_words(report: dict[str, Any]) -> str:
    peak, over = report["peak_over_budget_w"], report["over_budget_ws"]
    lines = [
        f"{'node':<12} {'counted':>12} {'true':>12} {'error':>9} {'RSS':>8} {'CPU':>7}",
        *(
            f"{n['node']:<12} {n['energy_counted_j']:>10.1f} J {n['energy_true_j']:>10.1f} J {n['error_pct']:>7.3f} % "
            f"{n['rss_mb']:>5.1f} MB {n['cpu_pct']:>5.1f} %"
            for n in report["nodes"]
            if n["energy_true_j"] is not None
        ),
        (
            f"budget {report['budget_w']:.0f} W: peak over it {peak['with_control']:.0f} W with control, "
            f"{peak['without_control']:.0f} W without; {over['with_control']:.0f} and {over['without_control']:.0f} W*s"
        ),
        f"work not done under caps: {report['work_lost_pct']:.1f} %; emissions {report['emissions_g']:.2f} g CO2e",
        f"ledger: {report['ledger']['records']} records, {report['ledger']['missing']} missing",
    ]
    return "\n".join(lines)
