"""The demo's processes, started, watched and ended as a service manager would.

An agent that dies gets its restorer run and is started again, like ``ExecStopPost=`` and ``Restart=on-failure`` do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import psutil

from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from pathlib import Path

    from iotcore import Broker

    from evenwatt_cli.demo.scenario import Scenario

_STOP_S: Final = 12.0


class Places(Protocol):
    """Where a scenario has written what its processes read."""

    @property
    def folder(self) -> Path:
        """Logs, keys and settings."""

    @property
    def spec(self) -> Path:
        """The twin's spec file."""

    @property
    def twins(self) -> Path:
        """Folder of the machines' trees."""

    def settings(self, name: str) -> Path:
        """Settings file of an agent, or of ``collector``."""

    def state_dir(self, node: str) -> Path:
        """State directory of a node's agent."""


def end_together() -> None:
    """Let SIGTERM, and a terminal that is closed, end a demo as Ctrl-C does: else what it has started would run on."""
    asked = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]

    def end(_number: int, _frame: object) -> None:
        for one in asked:  # a closed terminal says so twice
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    for one in asked:
        signal.signal(one, end)


class Child:
    """One process with its log file, and what it costs."""

    def __init__(self, name: str, command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._started_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self.rss_mb = 0.0
        self.cpu_pct = 0.0

    def start(self) -> None:
        """Start it, its output going to the log."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,  # a job is paused with its group, which must not be ours
            )
        self._started_s = time.monotonic()

    @property
    def exited(self) -> int | None:
        """Exit code, or None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def pid(self) -> int | None:
        """Its number, or None when it does not run."""
        return self._process.pid if self._process is not None and self.exited is None else None

    def watch(self) -> None:
        """Note memory and processor time."""
        if self._process is None or self.exited is not None:
            return
        try:
            process = psutil.Process(self._process.pid)
            times = process.cpu_times()
            self.rss_mb = process.memory_info().rss / 1e6
            self.cpu_pct = 100.0 * (times.user + times.system) / max(0.1, time.monotonic() - self._started_s)
        except psutil.NoSuchProcess:
            return

    def kill(self) -> None:
        """SIGKILL it, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM it."""
        if self._process is not None and self.exited is None:
            self._process.send_signal(signal.SIGTERM)

    def await_stop(self) -> None:
        """Wait for it, and kill it if it does not go."""
        if self._process is None:
            return
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def last_line(self) -> str:
        """Last line of its log; empty where there is none."""
        lines = self._log.read_text(errors="replace").strip().splitlines() if self._log.exists() else []
        return lines[-1] if lines else ""

    def last_words(self) -> str:
        """How it ended, its log, and the last line there."""
        code, line = self.exited, self.last_line()
        how = f"ended by signal {-code}" if code is not None and code < 0 else f"ended with {code}"
        return f"{how}; its log {self._log} ends with: {line}" if line else f"{how}, and wrote nothing"


class Twin(Child):
    """The simulated machines."""

    def __init__(self, scenario: Places) -> None:
        command = [sys.executable, "-m", "evenwatt_twin", str(scenario.spec), "--dir", str(scenario.twins)]
        super().__init__("twin", command, scenario.folder / "twin.log")
        self._out = scenario.folder / "twin.log"

    def await_ready(self, timeout_s: float = 60.0) -> dict[str, dict[str, Any]]:
        """Return each machine's places once their counters move."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in self._out.read_text(errors="replace").splitlines():
                if line.startswith('{"ready"'):
                    machines: dict[str, dict[str, Any]] = json.loads(line)["machines"]
                    return machines
            if self.exited is not None:
                raise Failure(f"the simulated machines did not start: {self.last_words()}", exit_code=EXIT_FAILURE)
            time.sleep(0.05)
        raise Failure(f"the simulated machines were not ready after {timeout_s:.0f} s", exit_code=EXIT_FAILURE)


class Agent(Child):
    """A real agent on a simulated machine (or on this one)."""

    def __init__(self, scenario: Places, name: str, machine: dict[str, Any] | None) -> None:
        environment: dict[str, str] = {}
        if machine and machine.get("nvml_dir"):
            environment = {"LD_LIBRARY_PATH": machine["nvml_dir"], "EVENWATT_TWIN_NVML": machine["nvml_state"]}
        command = [sys.executable, "-m", "evenwatt_agent", "--config", str(scenario.settings(name))]
        super().__init__(name, command, scenario.folder / f"{name}.log", environment)
        self._restore = [sys.executable, "-m", "evenwatt_agent.restore", "--state-dir", str(scenario.state_dir(name))]

    def revive(self) -> None:
        """Do what the unit does after a death: give the machine its limits back, then start again."""
        subprocess.run(self._restore, env=self._environment, check=False)
        self.start()


class Job(Child):
    """A batch job: a process that does nothing; the twin draws its power for as long as it is not stopped."""

    def __init__(self, scenario: Scenario, node: str) -> None:
        super().__init__(f"job of {node}", ["sleep", "infinity"], scenario.folder / f"{node}.job.log")
        self._pidfile = scenario.job(node)

    def start(self) -> None:
        """Start it, and say who it is."""
        super().start()
        if self._process is not None:
            self._pidfile.write_text(f"{self._process.pid}\n")


def collector(scenario: Places) -> Child:
    """The real collector."""
    command = [sys.executable, "-m", "evenwatt_collector", "--config", str(scenario.settings("collector"))]
    return Child("collector", command, scenario.folder / "collector.log")


def start_broker(port: int) -> Broker:
    """Start the embedded broker on the loopback, and wait until it listens."""
    from iotcore import Broker

    # rumqttd's own limits suit sensors; a birth of a large node is a little bigger.
    return Broker(port=port, listen="127.0.0.1", max_payload_size=256 * 1024, max_inflight_count=500).start()
