"""Pausing work: the cgroup v2 freezer where there is one, SIGSTOP where there is not.

https://docs.kernel.org/admin-guide/cgroup-v2.html: writing ``cgroup.freeze`` is asynchronous, so the target counts as
paused only when ``cgroup.events`` says ``frozen 1``. Never frozen: a cgroup that holds this process or an ancestor of
it, init, or an SSH daemon: the way back must stay open.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evenwatt_agent.actuators.model import LockedError, Original
from evenwatt_agent.actuators.powercap import write_number
from evenwatt_agent.sources.held import read_int, read_text

FREEZE_TIMEOUT_S: Final = 5.0
_NEVER: Final = frozenset({"sshd", "systemd", "init", "systemd-logind", "dbus-daemon"})


@dataclass(frozen=True, slots=True)
class FrozenCgroup:
    """A cgroup v2 folder that may be frozen."""

    name: str
    folder: Path

    def originals(self) -> list[Original]:
        """Thawed."""
        return [Original("file", str(self.folder / "cgroup.freeze"), "0")]

    def pause(self) -> None:
        """Freeze, and wait until the kernel says so.

        Raises:
            LockedError: it must not or does not freeze.
        """
        self._refuse_own_ancestor()
        write_number(self.folder / "cgroup.freeze", 1)
        self._await(1)

    def resume(self) -> None:
        """Thaw, and wait until the kernel says so."""
        write_number(self.folder / "cgroup.freeze", 0)
        self._await(0)

    def _await(self, wanted: int) -> None:
        deadline = time.monotonic() + FREEZE_TIMEOUT_S
        while f"frozen {wanted}" not in (read_text(self.folder / "cgroup.events") or ""):
            if time.monotonic() > deadline:
                if wanted:
                    write_number(self.folder / "cgroup.freeze", 0)
                raise LockedError(f"{self.folder}: not frozen={wanted} after {FREEZE_TIMEOUT_S:.0f} s; left thawed")
            time.sleep(0.005)

    def _refuse_own_ancestor(self) -> None:
        for processes in self.folder.rglob("cgroup.procs"):
            for pid in map(int, (read_text(processes) or "").split()):
                if pid in (1, os.getpid(), os.getppid()) or _command(pid) in _NEVER:
                    raise LockedError(f"{self.folder} holds {_command(pid) or pid} ({pid}), which is never paused")


@dataclass(frozen=True, slots=True)
class StoppedProcess:
    """A process group named by a pid file, stopped with SIGSTOP where no cgroup v2 is to be had."""

    name: str
    pidfile: Path

    def originals(self) -> list[Original]:
        """Running: SIGCONT to the very process that is stopped now."""
        pid = self._pid()
        return [Original("signal", f"{pid}:{_start_time(pid)}", str(int(signal.SIGCONT)))]

    def pause(self) -> None:
        """Stop the group, and wait until its leader is seen stopped."""
        pid = self._pid()
        if pid in (1, os.getpid(), os.getppid()) or _command(pid) in _NEVER:
            raise LockedError(f"{self.pidfile} names {_command(pid)} ({pid}), which is never paused")
        self._signal(pid, signal.SIGSTOP, stopped=True)

    def resume(self) -> None:
        """Let the group go on."""
        self._signal(self._pid(), signal.SIGCONT, stopped=False)

    def _pid(self) -> int:
        pid = read_int(self.pidfile)
        if pid is None or pid <= 1:
            raise LockedError(f"{self.pidfile}: no process id in it")
        return pid

    def _signal(self, pid: int, number: signal.Signals, *, stopped: bool) -> None:
        try:
            if os.getpgid(pid) == pid:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)
        except ProcessLookupError:
            raise LockedError(f"{self.pidfile}: process {pid} is gone") from None
        deadline = time.monotonic() + FREEZE_TIMEOUT_S
        while (_state(pid) in ("T", "t")) is not stopped:
            if time.monotonic() > deadline or _state(pid) == "":
                raise LockedError(f"{self.pidfile}: process {pid} did not change within {FREEZE_TIMEOUT_S:.0f} s")
            time.sleep(0.005)


Pausable = FrozenCgroup | StoppedProcess


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the command, which may itself hold spaces and brackets."""
    text = read_text(Path(f"/proc/{pid}/stat")) or ""
    return text.rpartition(")")[2].split()


def _state(pid: int) -> str:
    return (_stat(pid) or [""])[0]


def _start_time(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else "0"


def _command(pid: int) -> str:
    return read_text(Path(f"/proc/{pid}/comm")) or ""
