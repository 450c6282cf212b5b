"""``evenwatt run``: a command as a task, in a cgroup of its own where that is allowed, else as a process tree.

The runner makes itself the reaper of orphans (PR_SET_CHILD_SUBREAPER, prctl(2)), so that a command which forks away
stays in its tree. The work comes first: without an agent the command runs all the same, and the runner says so.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evenwatt_agent import cgroups
from evenwatt_agent.groups import TASK_PREFIX
from evenwatt_agent.task_client import SOCKET_VARIABLE, TASK_VARIABLE, TaskRefusedError, ask, new_id
from evenwatt_cli.operator_settings import load
from evenwatt_cli.units import power
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

UNITS_VARIABLE: Final = "EVENWATT_UNITS_FD"
_PR_SET_CHILD_SUBREAPER: Final = 36
_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What was asked for."""

    command: Sequence[str]
    labels: dict[str, str]
    reserve: float
    as_json: bool
    config: Path | None


class _Measured:
    """The task as the agent knows it; every trouble is said once and does not stop the work."""

    def __init__(self, options: RunOptions, path: str) -> None:
        self.id = new_id()
        self.path = path
        self.cgroup = _make_cgroup(self.id)
        self.counted = False
        self._start = {
            "op": "start",
            "id": self.id,
            "parent": os.environ.get(TASK_VARIABLE, ""),
            "cgroup": self.cgroup[1] if self.cgroup else "",
            "reserve": options.reserve,
            **options.labels,
        }
        self._said = False

    def start(self) -> None:
        self.counted = self._ask(self._start) is not None

    def units(self, line: str) -> None:
        """Report one line of the units protocol: an amount and its unit."""
        amount, _, unit = line.strip().partition(" ")
        try:
            number = float(amount)
        except ValueError:
            self._say(f"units line {line.strip()[:60]!r} is not '<amount> <unit>'; it is left out")
            return
        self._ask({"op": "units", "id": self.id, "amount": number, "unit": unit.strip() or "units"})

    def end(self) -> dict[str, Any] | None:
        summary = self._ask({"op": "end", "id": self.id}) if self.counted else None
        if self.cgroup:
            with suppress(OSError):  # something still lives in it: it is left to whoever ends that
                self.cgroup[0].rmdir()
        return summary

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return ask(request, self.path)
        except TaskRefusedError as error:
            if request["op"] != "start" and "no task" in str(error):  # the agent was restarted before it had kept it
                self._say("the agent was restarted and counts from its restart on")
                return self._again(request)
            self._say(f"not measured: {error}")
        except OSError as error:
            closed = isinstance(error, PermissionError)
            fix = (
                "join the group of the agent's service (evenwatt), or use sudo"
                if closed
                else "does the agent run here?"
            )
            self._say(f"not measured: {self.path}: {error.strerror or error}; {fix}")
        return None

    def _again(self, request: dict[str, Any]) -> dict[str, Any] | None:
        with suppress(OSError, TaskRefusedError):
            ask(self._start, self.path)
            return ask(request, self.path)
        return None

    def _say(self, words: str) -> None:
        if not self._said:
            print(f"evenwatt: {words}", file=sys.stderr)
            self._said = True


def run_task(options: RunOptions) -> int:
    """Run the command and print what it used; return its exit code, 128 + N for one that signal N ended.

    Raises:
        Failure: the command cannot be started.
    """
    settings = load(options.config)
    path = os.environ.get(SOCKET_VARIABLE) or str(Path(settings.socket).with_name("task.sock"))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    measured = _Measured(options, path)
    measured.start()
    try:
        code = _run(options.command, measured)
    finally:
        summary = measured.end()
    if options.as_json:
        print(json.dumps({"exit_code": code, "measured": summary is not None, "task": summary}))
    elif summary is not None:
        print(describe(summary), file=sys.stderr)
    return code


def describe(summary: dict[str, Any]) -> str:
    """Put a task's summary into one or two lines."""
    gpu = f", {summary['gpu_energy_j']:.1f} J of it GPU" if summary["gpu_energy_j"] > 0 else ""
    idle = f", {summary['idle_energy_j']:.1f} J of it reserved idle" if summary["idle_energy_j"] > 0 else ""
    text = (
        f"evenwatt: task {summary['name']}: {summary['energy_j']:.1f} J in {summary['duration_s']:.1f} s{gpu}{idle}; "
        f"mean {power(summary['mean_power_w'])}, peak {power(summary['peak_power_w'])}, "
        f"{summary['cpu_s']:.1f} s of processor time"
    )
    for unit, joules in summary["energy_j_per_unit"].items():
        text += f"\nevenwatt: {joules:.4g} J per {unit} ({summary['units'][unit]:g})"
    return text


def _run(command: Sequence[str], measured: _Measured) -> int:
    reader, writer = os.pipe()
    environment = {
        **os.environ,
        UNITS_VARIABLE: str(writer),
        SOCKET_VARIABLE: measured.path,
        **({TASK_VARIABLE: measured.id} if measured.counted else {}),
    }
    try:
        child = subprocess.Popen(
            command,
            env=environment,
            pass_fds=(writer,),
            preexec_fn=_mover(measured.cgroup[0]) if measured.cgroup else None,  # noqa: PLW1509 (no thread runs yet)
        )
    except OSError as error:
        os.close(reader)
        os.close(writer)
        code = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
        raise Failure(f"{command[0]}: {error.strerror}; name a command that can be run", exit_code=code) from None
    os.close(writer)
    listener = threading.Thread(target=_listen, args=(reader, measured), daemon=True)
    listener.start()
    _pass_on_signals(child)
    code = child.wait()
    listener.join(timeout=1.0)  # a grandchild may hold the pipe open: what it says later is not this command's
    return code if code >= 0 else 128 - code


def _listen(reader: int, measured: _Measured) -> None:
    with os.fdopen(reader, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.strip():
                measured.units(line)


def _pass_on_signals(child: subprocess.Popen[bytes]) -> None:
    """What is sent to us is meant for the command; what a terminal sends, it has got already."""

    def pass_on(number: int, _frame: object) -> None:
        with suppress(ProcessLookupError):
            child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN if sys.stdin.isatty() else pass_on)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)


def _make_cgroup(id_: str) -> tuple[Path, str] | None:
    """Make a cgroup below our own; None where there is no cgroup v2 or we may not."""
    root = cgroups.find_root()
    if root is None:
        return None
    own, _ = cgroups.path_of(Path("/proc"), os.getpid(), of_v2_only=True)
    path = f"{own}/{TASK_PREFIX}{id_}"
    folder = Path(f"{root}{path}")
    try:
        folder.mkdir()
    except OSError:
        return None
    if not (folder / "cpu.stat").exists():
        folder.rmdir()
        return None
    return folder, path


def _mover(folder: Path) -> Any:
    """Return what moves the child into its cgroup before it becomes the command."""

    def move() -> None:
        (folder / "cgroup.procs").write_text("0")

    return move
