"""One run's supervisor: ``python -I -m evenwatt_agent.jobs.supervisor FOLDER``. A process of its own; no library.

::

    claim the plan --> RUNNING --its first process ends-----------------------------.
                          |                                                          v
                          '--stop, limit, space, shutdown--> STOPPING --> all killed, ENDED
                                   (asked to save, then SIGTERM, then SIGKILL)

It holds the run to its limit and within its bounds, whatever has become of the agent and the collector: the agent may
be stopped, killed and started again meanwhile, and reads here how the run stands. It decides nothing else. When the
first process ends, whatever it has left behind is killed: nothing of a run outlives it.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from evenwatt_agent.jobs import privileges
from evenwatt_agent.jobs.asking import answer, answers, start_command
from evenwatt_agent.jobs.output import OutputFile
from evenwatt_agent.jobs.plan import Phase, Plan, Standing, Why
from evenwatt_agent.jobs.tree import Herd
from evenwatt_agent.jobs.units import UnitsForward
from evenwatt_agent.processes import read_process

EXIT_NOTHING_TO_DO: Final = 3
_TICK_S: Final = 0.25
_TERMINATE_S: Final = 10.0
"""Between SIGTERM and SIGKILL."""
_KILL_S: Final = 30.0
_SPACE_S: Final = 20.0
"""Time between looks at how much a run keeps."""
_SPACE_ENTRIES: Final = 200_000
_TELL_S: Final = 600.0
"""How long it tries to tell a run's end to a disk that does not take it."""
_SEEN_S: Final = 3.0
"""How long it stays after the end, so that the agent can still read what its tree has used."""
_LAST_READS: Final = 64
"""What a pipe can still hold, and some more."""


class Supervisor:
    """Sees one run through."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder, self._plan = folder, plan
        me = read_process(Path("/proc"), os.getpid())
        self._standing = Standing(
            pid=os.getpid(), start=me.start if me is not None else 0, began_ns=time.monotonic_ns()
        )
        self._output = OutputFile(folder, plan.log_bytes)
        self._units = UnitsForward(plan.task_socket, plan.run)
        self._herd = Herd(plan.cgroup, self._reap)
        self._selector = selectors.DefaultSelector()
        self._main = 0
        self._exit: int | None = None
        self._saving = False
        self._next_s = 0.0
        """When what it was asked for last is over: the next harsher thing follows."""
        self._killing = False
        self._space_s = time.monotonic() + _SPACE_S
        self._told_to_end = False

    def run(self) -> None:
        """Start the work and stay until it and all it has left behind are gone."""
        self._catch_signals()
        self._tell()
        if self._start():
            while self._exit is None:
                self._step()
        self._finish()

    # --- while it runs --------------------------------------------------------------------------------------------

    def _start(self) -> bool:
        if self._plan.busy and answers(self._plan.busy):
            return self._not_started("it runs already, and was not started for a job")
        output, write_output = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        units, write_units = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for writer in (write_output, write_units):
            os.set_blocking(writer, True)
        try:
            self._main = privileges.start(self._plan, write_output, write_units)
        except OSError as error:
            return self._not_started(str(error))
        finally:
            os.close(write_output)
            os.close(write_units)
        self._selector.register(output, selectors.EVENT_READ, self._output.write)
        self._selector.register(units, selectors.EVENT_READ, self._units.take)
        return True

    def _not_started(self, why: str) -> bool:
        self._standing.why, self._standing.detail = Why.START, f"cannot be started: {why}"
        return False

    def _step(self) -> None:
        self._read(_TICK_S)
        self._reap()
        if self._exit is not None:
            return
        now_s = time.monotonic()
        self._units.flush()
        self._find_main()
        self._obey(now_s)
        if self._standing.phase is Phase.STOPPING and now_s >= self._next_s:
            self._escalate(now_s)

    def _read(self, wait_s: float) -> bool:
        """Take what the work says; return whether anything came."""
        came = False
        for key, _ in self._selector.select(wait_s):
            with suppress(BlockingIOError):
                data = os.read(key.fd, 65_536)
                came = came or bool(data)
                if data:
                    key.data(data)
                elif key.fd in self._selector.get_map():
                    self._selector.unregister(key.fd)
                    os.close(key.fd)
        if not self._selector.get_map():
            time.sleep(wait_s)
        return came

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._main:
                    self._exit = os.waitstatus_to_exitcode(status)

    def _obey(self, now_s: float) -> None:
        """Look for a reason to stop, the gravest last."""
        standing, plan = self._standing, self._plan
        asked = self._asked()
        if asked == "now" and (self._saving or standing.phase is Phase.RUNNING):
            self._stop(Why.COMMAND, now_s, keep=False)
        if standing.phase is not Phase.RUNNING:
            return
        if asked == "keep":
            self._stop(Why.COMMAND, now_s, keep=True)
        elif self._told_to_end:
            self._stop(Why.SYSTEM, now_s, keep=True)
        elif now_s - standing.began_ns * 1e-9 >= plan.limit_s:
            standing.detail = f"it reached its limit of {plan.limit_s:g} s"
            self._stop(Why.LIMIT, now_s, keep=True)
        elif now_s >= self._space_s:
            self._space_s = now_s + _SPACE_S
            if (kept := _bytes_in([plan.state, plan.scratch])) > plan.state_bytes:
                standing.detail = f"it keeps {kept / 1e6:.0f} MB; {plan.state_bytes / 1e6:.0f} MB are allowed"
                self._stop(Why.SPACE, now_s, keep=False)

    def _asked(self) -> str:
        try:
            return (self._folder / "stop").read_text().strip()
        except OSError:
            return ""

    def _stop(self, why: Why, now_s: float, *, keep: bool) -> None:
        standing = self._standing
        if standing.phase is Phase.RUNNING:
            standing.why = why
        standing.phase = Phase.STOPPING
        self._tell()
        self._saving = keep and self._plan.signal > 0
        if not self._saving:
            self._next_s = now_s
            return
        self._next_s = now_s + self._plan.wait_s
        if self._plan.save:
            start_command(self._plan.save)
        else:
            with suppress(ProcessLookupError):
                os.kill(self._main, self._plan.signal)
                os.kill(self._main, signal.SIGCONT)

    def _escalate(self, now_s: float) -> None:
        self._saving = False
        if self._killing:
            self._herd.kill(_KILL_S)
            return
        self._killing, self._next_s = True, now_s + _TERMINATE_S
        if self._plan.terminate:
            start_command(self._plan.terminate)
        else:
            self._herd.signal(signal.SIGTERM)
            self._herd.signal(signal.SIGCONT)

    def _find_main(self) -> None:
        """Where the work lives outside our tree, say which process it is, for the account of its energy."""
        standing = self._standing
        if not self._plan.main_pid or standing.main_pid:
            return
        words = answer(self._plan.main_pid).strip()
        if words.isdigit() and (process := read_process(Path("/proc"), int(words))) and process.pid > 1:
            standing.main_pid, standing.main_start = process.pid, process.start
            self._tell()

    # --- the end --------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        standing = self._standing
        standing.ended_ns = time.monotonic_ns()
        standing.kept = self._saving and self._exit == 0
        standing.exit_code = self._exit
        if self._plan.kill and standing.why is not Why.START:
            answer(self._plan.kill)
        if not self._herd.kill(_KILL_S):
            standing.detail = f"{standing.detail} some of its processes cannot be killed".strip()
        for _ in range(_LAST_READS):
            if not self._read(0.0):
                break
        self._units.end()
        self._output.close()
        if self._plan.scratch:
            shutil.rmtree(self._plan.scratch, ignore_errors=True)
        standing.phase = Phase.ENDED
        self._tell_the_end()
        deadline = time.monotonic() + (0.0 if self._plan.cgroup else _SEEN_S)
        while self._asked() != "seen" and time.monotonic() < deadline:
            time.sleep(_TICK_S)

    def _tell(self) -> None:
        with suppress(OSError):  # a full disk: the run goes on, and its end is told in the old file
            self._standing.write(self._folder)

    def _tell_the_end(self) -> None:
        deadline = time.monotonic() + _TELL_S
        while time.monotonic() < deadline:
            with suppress(OSError):
                self._standing.write(self._folder)
                return
            time.sleep(1.0)

    def _catch_signals(self) -> None:
        def end(_number: int, _frame: object) -> None:
            self._told_to_end = True

        signal.signal(signal.SIGTERM, end)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)


def main(folder: Path) -> int:
    """See the run of a folder through; return 3 if there is none to start, or another supervisor has it."""
    privileges.prctl(privileges.PR_SET_CHILD_SUBREAPER, 1)
    claimed = folder / "plan.claimed"
    try:
        (folder / "plan.json").rename(claimed)
        plan = Plan.read(claimed)
    except (OSError, ValueError, TypeError):
        return EXIT_NOTHING_TO_DO
    Supervisor(folder, plan).run()
    return 0


def _bytes_in(folders: list[str]) -> int:
    """Space that folders take on the disk, links not followed; a folder of very many files is counted in part."""
    total = entries = 0
    pending = [folder for folder in folders if folder]
    while pending and entries < _SPACE_ENTRIES:
        with suppress(OSError), os.scandir(pending.pop()) as found:
            for entry in found:
                entries += 1
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    total += status.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
    return total


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
