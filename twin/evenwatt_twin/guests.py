"""Real processes that work on a machine: it is loaded for as long as they live, and tells them what it has done.

A process registers itself by a file ``PID.json`` in the machine's folder ``guests``, with its :class:`Claim`. From then
on the machine serves its load, slower under a cap, and shows it in its own ``/proc`` and cgroup tree with its true
number, start, parent and cgroup: so an agent finds there what it has started itself. ``PID.work`` holds how much was
done for it: microseconds of the full speed. A guest that is stopped asks for nothing; one that has ended is forgotten.

How much slower work gets than its machine differs: where memory or network hold it up, clocks matter less. So its
speed is the machine's to the power of its ``sensitivity``, 1 for work that computes only.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from evenwatt_twin.services import TICKS_PER_S, cpu_stat, replace_file
from evenwatt_twin.sysfile import NumberFile

_TASK: Final = "/evenwatt-task-"
_ENDED: Final = frozenset({"Z", "X"})
_STOPPED: Final = frozenset({"T", "t"})
_KEPT_NS: Final = 30_000_000_000
"""The cgroup of a guest that has ended stays to be read for so long."""
_CLAIM_BYTES: Final = 4_096


class Claim(Struct, frozen=True, forbid_unknown_fields=True):
    """What a guest asks for."""

    load: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Of the machine."""
    sensitivity: Annotated[float, Meta(ge=0.1, le=1)] = 1.0


@dataclass(frozen=True, slots=True)
class _Identity:
    """A real process."""

    pid: int
    start: int
    parent: int
    name: str
    cgroup: str


@dataclass(slots=True)
class _Guest:
    identity: _Identity
    claim: Claim
    stamp: tuple[int, int]
    """Of the file with the claim: it is read again when that is replaced."""
    file: NumberFile
    stopped: bool = False
    busy_s: float = 0.0
    """Processor time."""
    work_s: float = 0.0
    """At full speed."""


@dataclass(slots=True)
class _Parent:
    """Who started guests, and has inherited the processor time of those that ended."""

    identity: _Identity
    waited_s: float = 0.0


@dataclass(slots=True)
class _Group:
    """A task's cgroup."""

    busy_s: float = 0.0
    ended_ns: int = 0
    members: set[int] = field(default_factory=set)


class Guests:
    """Everybody who works on one machine.

    Args:
        folder: Where they register; made here, open to all users.
        proc: What an agent takes for ``/proc``.
        cgroup: Where the machine's cgroups are.
        real: The ``/proc`` in which guests live.
    """

    def __init__(self, folder: Path, proc: Path, cgroup: Path, real: Path = Path("/proc")) -> None:
        self._folder, self._proc, self._cgroup, self._real = folder, proc, cgroup, real
        self._processors = os.cpu_count() or 1
        self._guests: dict[int, _Guest] = {}
        self._parents: dict[int, _Parent] = {}
        self._groups: dict[str, _Group] = {}
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
        for left in folder.iterdir():
            left.unlink()

    @property
    def load(self) -> float:
        """What they ask of the machine now, 0 to 1."""
        return min(1.0, sum(guest.claim.load for guest in self._guests.values() if not guest.stopped))

    def look(self, now_ns: int) -> None:
        """See who has come and who has gone."""
        for entry in os.scandir(self._folder):
            name, _, ending = entry.name.partition(".")
            if ending == "json" and name.isdigit():
                self._hear(int(name), Path(entry.path))
        for pid, guest in list(self._guests.items()):
            state = self._state(guest.identity)
            guest.stopped = state in _STOPPED
            if state in _ENDED or not (self._folder / f"{pid}.json").exists():
                self._farewell(guest, now_ns)
        self._forget(now_ns)

    def advance(self, dt_s: float, served: float) -> None:
        """Let them work.

        Args:
            dt_s: For how long.
            served: Share of what was asked of the machine that it has done.
        """
        for guest in self._guests.values():
            if guest.stopped:
                continue
            busy_s = dt_s * guest.claim.load * self._processors
            guest.busy_s += busy_s
            guest.work_s += dt_s * served**guest.claim.sensitivity
            group = self._groups.get(guest.identity.cgroup)
            if group is not None:
                group.busy_s += busy_s

    @property
    def present(self) -> bool:
        """Whether anybody works or has lately."""
        return bool(self._guests or self._groups or self._parents)

    def write(self) -> None:
        """Show who works, and tell them what was done."""
        for parent in self._parents.values():
            self._show(parent.identity, 0.0, parent.waited_s)
        for path, group in self._groups.items():
            replace_file(Path(f"{self._cgroup}{path}") / "cpu.stat", cpu_stat(round(group.busy_s * 1e6)))
        for guest in self._guests.values():
            self._show(guest.identity, guest.busy_s, 0.0)
            guest.file.write(round(guest.work_s * 1e6))

    def close(self) -> None:
        """Let go of every file."""
        for guest in self._guests.values():
            guest.file.close()

    def _hear(self, pid: int, path: Path) -> None:
        """Take what somebody claims, if it is news."""
        guest, stamp = self._guests.get(pid), _stamp(path)
        if guest is not None and guest.stamp == stamp:
            return
        claim = _read_claim(path)
        if guest is not None and claim is not None:
            guest.claim, guest.stamp = claim, stamp
            return
        identity = self._identify(pid)
        if identity is None or claim is None:  # nobody, or nonsense: it is not served
            path.unlink(missing_ok=True)
            return
        self._welcome(identity, claim, stamp)

    def _welcome(self, identity: _Identity, claim: Claim, stamp: tuple[int, int]) -> None:
        pid = identity.pid
        self._guests[pid] = _Guest(identity, claim, stamp, NumberFile(self._folder / f"{pid}.work", 0))
        parent = self._identify(identity.parent)
        if parent is not None and parent.pid > 1:
            self._parents.setdefault(parent.pid, _Parent(parent))
        if identity.cgroup:
            group = self._groups.setdefault(identity.cgroup, _Group())
            group.ended_ns = 0
            group.members.add(pid)
            self._show_group(identity.cgroup, group)

    def _farewell(self, guest: _Guest, now_ns: int) -> None:
        one = guest.identity
        del self._guests[one.pid]
        guest.file.close()
        for ending in ("json", "work"):
            (self._folder / f"{one.pid}.{ending}").unlink(missing_ok=True)
        if one.parent in self._parents:
            self._parents[one.parent].waited_s += guest.busy_s
        self._hide(one.pid)
        group = self._groups.get(one.cgroup)
        if group is not None:
            group.members.discard(one.pid)
            group.ended_ns = 0 if group.members else now_ns
            self._show_group(one.cgroup, group)

    def _forget(self, now_ns: int) -> None:
        for pid, parent in list(self._parents.items()):
            found = self._identify(pid)
            if found is None or found.start != parent.identity.start:
                del self._parents[pid]
                self._hide(pid)
        for path, group in list(self._groups.items()):
            if group.ended_ns and now_ns - group.ended_ns > _KEPT_NS:
                del self._groups[path]
                _remove(Path(f"{self._cgroup}{path}"), ("cpu.stat", "cgroup.procs", "cgroup.events"))

    def _show(self, one: _Identity, own_s: float, waited_s: float) -> None:
        folder = self._proc / str(one.pid)
        if not folder.exists():
            folder.mkdir()
            (folder / "cgroup").write_text(f"0::{one.cgroup or '/'}\n")
        own, waited = round(own_s * TICKS_PER_S), round(waited_s * TICKS_PER_S)
        head = f"{one.pid} ({one.name[:15]}) S {one.parent} {one.pid} {one.pid} 0 -1 0 0 0 0 0"
        replace_file(folder / "stat", f"{head} {own} 0 {waited} 0 20 0 1 0 {one.start} 0 0\n")

    def _hide(self, pid: int) -> None:
        _remove(self._proc / str(pid), ("stat", "cgroup"))

    def _show_group(self, path: str, group: _Group) -> None:
        folder = Path(f"{self._cgroup}{path}")
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / "cgroup.procs", "".join(f"{pid}\n" for pid in sorted(group.members)))
        replace_file(folder / "cgroup.events", f"populated {int(bool(group.members))}\nfrozen 0\n")

    def _state(self, identity: _Identity) -> str:
        """Return the letter of its state (proc_pid_stat(5)); ``X`` for one that is gone."""
        fields = self._fields(identity.pid)
        return fields[0] if fields is not None and int(fields[19]) == identity.start else "X"

    def _identify(self, pid: int) -> _Identity | None:
        fields = self._fields(pid)
        if fields is None or fields[0] in _ENDED:
            return None
        try:
            name = (self._real / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
            lines = (self._real / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
        except OSError:
            return None
        path = next((line[3:] for line in lines if line.startswith("0::")), "")
        return _Identity(pid, int(fields[19]), int(fields[1]), name, path if _TASK in path else "")

    def _fields(self, pid: int) -> list[str] | None:
        """Return the fields of ``/proc/PID/stat`` after the name, which may hold anything."""
        try:
            stat = (self._real / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()
        return fields if len(fields) > 19 else None


def _remove(folder: Path, names: tuple[str, ...]) -> None:
    with suppress(OSError):  # somebody may have been there before
        for name in names:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _read_claim(path: Path) -> Claim | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_CLAIM_BYTES), type=Claim)
    except (OSError, ValueError):
        return None
