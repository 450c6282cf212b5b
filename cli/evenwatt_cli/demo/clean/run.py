"""Runs the scenario: start everything, let the grid's hours pass, submit jobs, stop in order."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import psutil

from evenwatt_cli.demo.clean.commands import Commands
from evenwatt_cli.demo.clean.files import LEDGER_S
from evenwatt_cli.demo.clean.scenario import SERVING, WORKLOADS, CleanScenario, write_intensity
from evenwatt_cli.demo.clean.seen import Seen, Window
from evenwatt_cli.demo.clean.serving import MEASURED
from evenwatt_cli.demo.clean.stream import BEFORE, SERVICE_SPEC, arrivals
from evenwatt_cli.demo.processes import Agent, Child, Twin, collector, start_broker
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from iotcore import Broker

    from evenwatt_cli.demo.clean.stream import Arrival
    from evenwatt_cli.demo.clean.view import View

START_S: Final = 50
"""From the start of the first process until the first hour of the grid begins, if nothing takes longer."""
_READY_S: Final = 60.0
_END_S: Final = 5.0
_POLL_S: Final = 0.5
_SCORES_S: Final = 10.0


class CleanHours:
    """All processes of the scenario."""

    def __init__(self, scenario: CleanScenario) -> None:
        self._scenario = scenario
        self.seen = Seen(scenario.day)
        self._window = Window(scenario.url, self.seen)
        self._commands = Commands(scenario)
        self._broker: Broker | None = None
        self._twin, self._collector, self._service = Twin(scenario), collector(scenario), _serving(scenario)
        self._agents: dict[str, Agent] = {}
        self._hour = -(10**9)
        self._waiting: list[Arrival] = []
        self._scores_s = 0.0

    def start(self) -> None:
        """Start everything, and wait until every node holds a lease and the service knows its variants."""
        print("demo: starting broker, simulated machines, agents and collector ...", file=sys.stderr)
        scenario = self._scenario
        self._broker = start_broker(scenario.broker_port)
        self._twin.start()
        machines = self._twin.await_ready()
        self._agents = {node: Agent(scenario, node, machines[node]) for node in scenario.nodes}
        for agent in self._agents.values():
            agent.start()
        self._collector.start()
        self._await_leases()
        print("demo: the service measures both variants of its model once ...", file=sys.stderr)
        self._service.start()
        self._await_service()

    def run(self, seconds: float, view: View) -> None:
        """Let it run, showing it."""
        time.sleep(max(0.0, self._scenario.day.began_s - time.time()))
        self._waiting = arrivals(seconds, self._scenario.day.day_s)
        began_s = self.seen.began_s = time.time()
        self._commands.submit(SERVICE_SPEC)
        try:
            while (elapsed_s := time.time() - began_s) < seconds:
                self._turn_the_grid()
                while self._waiting and self._waiting[0].at_s <= elapsed_s:
                    self._commands.submit(self._waiting.pop(0).spec)
                self._refuse_dead()
                self._look()
                view.show(self.seen, elapsed_s, seconds)
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            pass
        self.seen.ended_s = time.time()

    def stop(self) -> None:
        """Stop in order: the service and agents flush, the collector stores, then the rest."""
        if self._collector.exited is None:
            self._window.look()
            self._ask_scores()
        for child in (self._service, *self._agents.values()):
            child.watch()
            child.ask_to_stop()
        for child in (self._service, *self._agents.values()):
            child.await_stop()
        end_runs(self._scenario)
        for child in (self._collector, self._twin):
            child.ask_to_stop()
            child.await_stop()
        self._window.close()
        if self._broker is not None:
            self._broker.stop()
        self.seen.failures = self._commands.failures

    def _look(self) -> None:
        for agent in self._agents.values():
            agent.watch()
        self._window.look()
        self._freeze()
        if time.monotonic() - self._scores_s >= _SCORES_S:
            self._ask_scores()

    def _freeze(self) -> None:
        """Make what the first jobs emitted per unit the baseline of scores, once the ledger has them."""
        seen, before = self.seen, set(BEFORE)
        ends_s = [job["ended_s"] for job in seen.jobs.values() if job["spec"]["name"] in before and job["ended_s"]]
        if seen.frozen_s or len(ends_s) < len(before) or time.time() < max(ends_s) + 2 * LEDGER_S:
            return
        seen.frozen_s = time.time()
        for workload in WORKLOADS:
            self._commands.freeze(workload.name, seen.began_s, seen.frozen_s)

    def _ask_scores(self) -> None:
        self._scores_s = time.monotonic()
        self._window.look_at_caps()
        if self.seen.frozen_s:
            # From the beginning: work is counted by the hour, and the first jobs' would be in any shorter stretch.
            period = urlencode({"by": "workload", "from": self.seen.began_s, "to": time.time()})
            self.seen.score = self._window.ask(f"/score?{period}") or self.seen.score
        self.seen.improvement = self._window.ask("/improvement?weeks=1&by=workload") or self.seen.improvement

    def _turn_the_grid(self) -> None:
        hour = self._scenario.day.number(time.time())
        if hour != self._hour:
            self._hour = hour
            write_intensity(self._scenario, time.time())

    def _await_leases(self) -> None:
        deadline = time.monotonic() + _READY_S
        names = set(self._scenario.nodes)
        while True:
            self._window.look()
            leased = {node["node"] for node in self.seen.nodes if node.get("lease") == "leased"}
            if names <= leased:
                return
            self._refuse_dead()
            if time.monotonic() > deadline:
                late = ", ".join(sorted(names - leased))
                raise Failure(f"no lease after {_READY_S:.0f} s: {late}; see --keep DIR", exit_code=EXIT_FAILURE)
            time.sleep(0.1)

    def _await_service(self) -> None:
        """Wait until both variants are measured and the ledger has them."""
        deadline = time.monotonic() + _READY_S
        while self._service.last_line() != MEASURED:
            self._refuse_dead()
            if time.monotonic() > deadline:
                raise Failure(f"the service was not ready after {_READY_S:.0f} s", exit_code=EXIT_FAILURE)
            time.sleep(0.1)
        time.sleep(LEDGER_S)

    def _refuse_dead(self) -> None:
        for child in (*self._agents.values(), self._collector, self._twin, self._service):
            if child.exited is not None:
                raise Failure(f"{child.name} {child.last_words()}", exit_code=EXIT_FAILURE)


def end_runs(scenario: CleanScenario) -> None:
    """End runs that the agents have left going, as they do: a demo that was cut short must leave nothing behind."""
    found = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "evenwatt_agent.jobs.supervisor" in (words := process.info["cmdline"] or [])
        and any(word.startswith(f"{scenario.folder}/") for word in words)
    ]
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()  # and its work with it
    psutil.wait_procs(found, timeout=_END_S)


def _serving(scenario: CleanScenario) -> Child:
    """Return what serves, on its machine."""
    command = [
        sys.executable, "-m", "evenwatt_cli.demo.clean.serving", "--port", str(scenario.broker_port),
        "--guests", str(scenario.guests(SERVING)), "--socket", str(scenario.state_dir(SERVING) / "task.sock"),
    ]  # fmt: skip
    return Child("service", command, scenario.folder / "service.log")
