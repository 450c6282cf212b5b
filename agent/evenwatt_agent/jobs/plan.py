"""What a supervisor is told when it starts, what it says of its run, and where both lie. Standard library only.

A run's folder belongs to the agent's user alone::

    plan.json    what to run; renamed to plan.claimed by the one supervisor that may
    state.json   how it stands, written by the supervisor at each change
    stop         written by the agent: ``keep``, ``now``, or ``seen`` when the end was noted
    log.OFFSET   what the work wrote, in pieces named by where they begin

A state is written anew and renamed over the old one. Where the disk is full it is written into the old one instead,
which is padded, so that a run's end can always be told.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

_PADDED_BYTES: Final = 2_048


class Phase(StrEnum):
    """How far a run is, as its supervisor sees it."""

    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class Why(StrEnum):
    """Who or what ended a run."""

    ITSELF = ""
    COMMAND = "command"
    LIMIT = "limit"
    SPACE = "space"
    """It keeps more than it may."""
    SYSTEM = "system"
    """The supervisor was told to end by somebody else: a shutdown, or a service manager."""
    START = "start"
    """It could not be started at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run, ready to start."""

    run: str
    job: str
    argv: list[str]
    environment: dict[str, str]
    uid: int
    gid: int
    groups: list[int]
    as_user: bool
    """False: what is started is a client of a service (container engine, systemd), whose work has its own user."""
    directory: str
    scratch: str
    """Folder that goes when the run ends; empty for none."""
    state: str
    """The job's folder that stays."""
    state_bytes: int
    log_bytes: int
    processes: int
    nice: int
    limit_s: float
    signal: int
    """Asks it to save its state; 0: it cannot."""
    wait_s: float
    cgroup: str
    """Folder of the cgroup it lives in; empty: it is held as a process tree."""
    task_socket: str
    save: list[str] = field(default_factory=list)
    """Commands that stand for signals where the work is not ours to signal: save the state,"""
    terminate: list[str] = field(default_factory=list)
    """end,"""
    kill: list[str] = field(default_factory=list)
    """end at once,"""
    main_pid: list[str] = field(default_factory=list)
    """print the pid of its first process,"""
    busy: list[str] = field(default_factory=list)
    """and exit 0 if it runs already, for somebody else."""

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read what :meth:`write` wrote.

        Raises:
            OSError, ValueError, TypeError: it is not there, or not that.
        """
        return cls(**json.loads(path.read_bytes()))

    def write(self, path: Path) -> None:
        """Write it for the supervisor; it is on the disk when this returns."""
        _write(path, json.dumps(asdict(self)).encode())


@dataclass(slots=True, kw_only=True)
class Standing:
    """How a run stands, in its supervisor's words."""

    pid: int
    start: int
    """Of the supervisor: clock ticks since boot."""
    began_ns: int
    """Monotonic."""
    phase: Phase = Phase.RUNNING
    why: Why = Why.ITSELF
    main_pid: int = 0
    """First process of work that lives outside the supervisor's tree."""
    main_start: int = 0
    ended_ns: int = 0
    exit_code: int | None = None
    """Negative: the signal that ended it."""
    kept: bool = False
    detail: str = ""

    @classmethod
    def read(cls, folder: Path) -> Standing | None:
        """Return how a run stands, or None where nothing readable says it."""
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            row: dict[str, Any] = json.loads((folder / "state.json").read_bytes())
            return cls(**row | {"phase": Phase(row["phase"]), "why": Why(row["why"])})
        return None

    def write(self, folder: Path) -> None:
        """Write it so that a crash leaves the old or the new one.

        Raises:
            OSError: it can be written in no way.
        """
        content = json.dumps(asdict(self) | {"detail": self.detail[:400]}).encode().ljust(_PADDED_BYTES)
        try:
            _write(folder / "state.json", content)
        except OSError:
            with (folder / "state.json").open("r+b") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if os.write(descriptor, content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
