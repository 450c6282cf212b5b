"""The task socket: programs on this node say where their work begins and ends, and how much they did.

One JSON object a line, one answer a line; as many as a client likes on one connection. Who asks is known from the
kernel (SO_PEERCRED), which also translates the pid of a client in a container. A user may only speak for tasks and
cgroups of their own; root may for all. Requests change accounts, never power.

``{"op": "start", "id": "<12 hex>", "name": ..., "workload", "model", "phase", "team", "parent", "cgroup", "reserve"}``,
``{"op": "units", "id": ..., "amount": 12, "unit": "tokens"}``, ``{"op": "look", "id": ...}``,
``{"op": "end", "id": ...}`` -> ``{"ok": true, "task": {...}}`` or ``{"ok": false, "error": "..."}``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from evenwatt_agent import clocks
from evenwatt_agent.groups import TASK_PREFIX
from evenwatt_agent.processes import read_process
from evenwatt_agent.tasks import Task, TaskError, TaskSpec
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from evenwatt_agent.accounting import Accounting

_MODE: Final = 0o660
_LINE_BYTES: Final = 4096
_MAX_UNITS: Final = 16
_PROC: Final = Path("/proc")

TaskId = Annotated[str, Meta(pattern=r"^[0-9a-f]{12}(?!\n)$")]
Label = Annotated[str, Meta(max_length=120, pattern=r"^[^\x00-\x1f\x7f]*(?!\n)$")]


class Start(Struct, tag_field="op", tag="start", forbid_unknown_fields=True):
    """Begin a task whose processes are the asking one and its descendants, or those of a cgroup."""

    id: TaskId
    name: Annotated[str, Meta(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*(?!\n)$")]
    workload: Label = ""
    model: Label = ""
    phase: Label = ""
    team: Label = ""
    parent: Label = ""
    cgroup: Annotated[str, Meta(max_length=1024)] = ""
    reserve: Annotated[float, Meta(ge=0, le=1)] = 0.0


class Units(Struct, tag_field="op", tag="units", forbid_unknown_fields=True):
    """Report units of work done."""

    id: TaskId
    amount: Annotated[float, Meta(ge=0, le=1e15)]
    unit: Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_./%-]+(?!\n)$")]


class LookAt(Struct, tag_field="op", tag="look", forbid_unknown_fields=True):
    """Ask for a task's account up to now."""

    id: TaskId


class End(Struct, tag_field="op", tag="end", forbid_unknown_fields=True):
    """End a task."""

    id: TaskId


_REQUESTS: Final = msgspec.json.Decoder(Start | Units | LookAt | End)


class Peer(NamedTuple):
    """Who is at the other end."""

    pid: int
    uid: int


class TaskDesk:
    """Grants requests about tasks.

    Args:
        accounting: The node's account.
        changed: Called when a task has begun or ended: sampling may quicken, and the ledger should have it soon.
    """

    def __init__(self, accounting: Accounting, changed: Callable[[Task], None]) -> None:
        self._accounting, self._changed = accounting, changed

    async def answer(self, line: bytes, peer: Peer) -> bytes:
        """Return the answer to one request line; every fault of it becomes one clear error."""
        try:
            task = await self._grant(_REQUESTS.decode(line), peer)
        except (TaskError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return msgspec.json.encode({"ok": False, "error": str(error)}) + b"\n"
        return msgspec.json.encode({"ok": True, "task": task.summary()}) + b"\n"

    async def _grant(self, request: Start | Units | LookAt | End, peer: Peer) -> Task:
        book = self._accounting.tasks
        if isinstance(request, Units):
            known = book.get(request.id, peer.uid).units
            if request.unit not in known and len(known) >= _MAX_UNITS:
                raise TaskError(f"task {request.id} has {_MAX_UNITS} kinds of units already, which is the most")
            return book.count(request.id, peer.uid, request.amount, request.unit)
        if isinstance(request, Start):
            spec = self._spec(request, peer)
            await self._accounting.step()  # what was used until now is nobody's of this task
            task = book.start(spec, time.monotonic_ns(), clocks.wall_ms())
            self._changed(task)
            return task
        book.get(request.id, peer.uid)  # refuse before the work
        await self._accounting.step()
        if isinstance(request, LookAt):
            return book.get(request.id, peer.uid)
        task = book.end(request.id, peer.uid)
        self._changed(task)
        return task

    def _spec(self, request: Start, peer: Peer) -> TaskSpec:
        process = read_process(_PROC, peer.pid)
        if process is None:
            raise TaskError(f"process {peer.pid}, which asked, cannot be seen; the agent needs the host's /proc")
        if request.cgroup:
            self._check_cgroup(request, peer)
        return TaskSpec(
            id=request.id,
            name=request.name,
            workload=request.workload,
            model=request.model,
            phase=request.phase,
            team=request.team,
            parent=request.parent,
            uid=peer.uid,
            pid=process.pid,
            start=process.start,
            cgroup=request.cgroup,
            reserve=request.reserve,
        )

    def _check_cgroup(self, request: Start, peer: Peer) -> None:
        root = self._accounting.root
        path = request.cgroup
        if root is None:
            raise TaskError("this machine has no cgroup v2; start the task without 'cgroup'")
        if not path.endswith(f"/{TASK_PREFIX}{request.id}") or ".." in path.split("/") or "\0" in path:
            raise TaskError(f"cgroup {path!r} is not a task's own; its last part must be {TASK_PREFIX}{request.id}")
        try:
            owner = os.stat(f"{root}{path}").st_uid  # noqa: PTH116
        except OSError as error:
            raise TaskError(f"cgroup {path!r}: {error.strerror}; make it before the task starts") from None
        if peer.uid not in (0, owner):
            raise TaskError(f"cgroup {path!r} belongs to another user")


@asynccontextmanager
async def serve_tasks(path: Path, desk: TaskDesk) -> AsyncIterator[None]:
    """Serve requests on a Unix socket while the context is open.

    Raises:
        Failure: the socket cannot be made there.
    """

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _peer(writer)
        with suppress(ConnectionError, ValueError):  # ValueError: a line beyond the limit; the client is cut off
            while line := await reader.readline():
                writer.write(await desk.answer(line, peer))
                await writer.drain()
        writer.close()

    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108  (the status socket's check has shown that no agent answers here)
    try:
        server = await asyncio.start_unix_server(converse, path, limit=_LINE_BYTES)
        path.chmod(_MODE)  # noqa: ASYNC240
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; runtime_dir must be a writable directory with a short path") from None
    try:
        yield
    finally:
        server.close()
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108


def _peer(writer: asyncio.StreamWriter) -> Peer:
    connection: socket.socket = writer.get_extra_info("socket")
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid, uid)
