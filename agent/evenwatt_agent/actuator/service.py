"""The actuator: wires its socket, the leases and the devices together. The only module of it that knows all.

It begins in its fallback before anybody can connect. Leases go on by its own clock when the agent dies; when none has
come back within ``actuator.grace_s``, the machine gets its own limits back, and the next agent begins anew.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from evenwatt_agent.actuator import lending
from evenwatt_agent.actuator.desk import Desk
from evenwatt_agent.actuator.plausible import Bounds
from evenwatt_agent.actuator.presence import Presence, PresenceState
from evenwatt_agent.actuator.protocol import Now, ProtocolError, Said
from evenwatt_agent.authority import Authority
from evenwatt_agent.control import Standing
from evenwatt_agent.inventory import take_inventory
from evenwatt_agent.memory import Memory
from evenwatt_daemon import Failure, Notifier, get_logger, lock_folder, machine_folder, settle
from evenwatt_wire import LeaseInForce
from evenwatt_wire.messages import LeaseState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evenwatt_agent.actuator.protocol import Power
    from evenwatt_agent.settings import AgentSettings

T = TypeVar("T")

_STEP_S: Final = 0.25
_ALIVE_S: Final = 1.0
_SETTLE_S: Final = 3.0
_NOTHING: Final = Now(Standing(), LeaseInForce(LeaseState.UNMANAGED, None), None, [])


class Actuator:
    """One node's actuator, from start to stop.

    Args:
        settings: The agent's own, as both read one file; of their folders the actuator's counts.

    Raises:
        Failure: the settings name something that is not there, or another one runs already.
    """

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings = msgspec.structs.replace(settings, state_dir=settings.actuator.state_dir)
        self._log: Any = get_logger("actuator")
        self._notify = Notifier()
        self._locks = _only_one(settings)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="worker")
        self._memory = Memory(settings.state_path / "actuator.db")
        self._sysfs = Path(settings.sources.sysfs)
        inventory = take_inventory(settings, ask=False)
        for probe in inventory.probes:  # the agent reads them; here only what they are is of interest
            probe.close()
        self._bounds = Bounds.of(inventory.probes, inventory.domains)
        self._governor, self._library = inventory.governor, inventory.library
        self._presence = Presence(settings.actuator.grace_s, time.monotonic())
        self._desk = Desk(self, {0, os.geteuid(), user_id(settings.actuator.user)})
        self._turn = asyncio.Lock()
        self._control: Authority | None = None
        self._following: asyncio.Task[None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Hold leases until ``stop``; then give the machine its own limits back."""
        try:
            await self._begin()
            with listening(Path(self._settings.actuator.socket)) as listener:
                asyncio.get_running_loop().call_later(_SETTLE_S, settle)
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(self._desk.serve(listener), name="desk"),
                        group.create_task(self._follow(), name="follow"),
                        group.create_task(self._beat(), name="beat"),
                    ]
                    standing = self.now().standing
                    self._log.info(
                        "starting",
                        socket=self._settings.actuator.socket,
                        agent_user=self._settings.actuator.user,
                        control=standing.controllable,
                        actuators=[knob.id for knob in standing.actuators],
                        lends=await self.counters(),
                    )
                    self._notify.ready("waiting for the agent")
                    await stop.wait()
                    self._notify.stopping()
                    for task in tasks:
                        task.cancel()
        finally:
            await self._desk.finish_orders()
            await self._give_back()
            self._worker.shutdown()
            self._memory.close()
            if self._library is not None:
                self._library.close()
            for lock in self._locks:
                os.close(lock)

    # --- what the desk asks for (``desk.House``) ------------------------------------------------------------------

    async def arrive(self) -> None:
        """Let an agent have control, from the fallback on where its predecessor's leases are over."""
        self._presence.come()
        try:
            async with self._turn:
                if self._control is None:
                    await self._begin()
        except Failure as failure:
            self._presence.go(time.monotonic())
            raise ProtocolError(f"control cannot begin: {failure}") from None
        self._notify.status("holding what the agent's commands say")

    def leave(self) -> None:
        """Wait for the agent to come back."""
        self._presence.go(time.monotonic())
        self._notify.status(f"the agent has gone; its leases go on for {self._settings.actuator.grace_s:g} s")

    def observe(self, power: Power) -> None:
        """Take the power of one bin, as far as it can be believed."""
        believed = self._bounds.believe(power)
        if believed is not None and self._control is not None:
            self._control.observe(time.monotonic(), *believed)

    async def command(self, payload: bytes, *, retained: bool) -> bytes | None:
        """Check and carry out a command."""
        return None if self._control is None else await self._control.command(payload, retained=retained)

    async def renew(self, payload: bytes, *, retained: bool) -> None:
        """Check a renewal of the zone's leases, and let this node's go on."""
        if self._control is not None:
            await self._control.renew(payload, retained=retained)

    async def trust(self, document: bytes) -> None:
        """Take a trust document that the agent received, if the root has signed it and it is newer."""
        if self._control is not None:
            await self._control.trust(document)

    def now(self) -> Now:
        """How things stand."""
        control = self._control
        if control is None:
            return _NOTHING
        return Now(control.standing(), control.in_force(), control.cap_w, control.paused)

    async def counters(self) -> list[str]:
        """Energy counters of this machine."""
        return await self._in_worker(lambda: lending.counters(self._sysfs))

    async def open_counter(self, path: str) -> int:
        """Open one of them; raises :class:`ProtocolError` for anything else."""
        return await self._in_worker(lambda: lending.open_counter(self._sysfs, path))

    # --- leases ---------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Begin with the fallback in force."""
        control = Authority(
            self._settings, self._governor, self._memory, self._in_worker, self._event, self._desk.tell_changed
        )
        await control.start()
        self._control = control
        self._following = asyncio.create_task(control.run(), name="authority")

    async def _follow(self) -> None:
        """Watch over the leases' own task, and over how long there has been no agent."""
        while True:
            following = self._following
            if following is None:
                await asyncio.sleep(_STEP_S)
            else:
                await asyncio.wait({following}, timeout=_STEP_S)
                if following.done() and not following.cancelled():
                    following.result()
            if self._presence.is_over(time.monotonic()):
                await self._let_go()

    async def _let_go(self) -> None:
        async with self._turn:
            if self._presence.state is not PresenceState.AWAY:
                return  # an agent has come after all
            await self._desk.finish_orders()
            left = await self._give_back()
            if left and self._presence.state is PresenceState.AWAY:  # nobody has come meanwhile
                self._presence.go(time.monotonic())  # and try again
            self._log.warning("no agent has come back; the machine has its own limits", after_s=self._grace_s)
            self._notify.status("no agent; the machine has its own limits")

    async def _give_back(self) -> list[str]:
        """End every lease and put the machine's own limits back; return what could not be."""
        control, self._control = self._control, None
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
        left = await self._in_worker(self._governor.restore) if control is None else await control.stop()
        for problem in left:
            self._log.error("not restored", what=problem)
        return left

    @property
    def _grace_s(self) -> float:
        return self._settings.actuator.grace_s

    def _event(self, name: str, subject: str, **facts: str | float | bool | None) -> None:
        self._log.info(name, subject=subject, **facts)
        self._desk.tell(Said(name, subject, facts))

    async def _beat(self) -> None:
        """Feed the watchdog: loop and device worker have both made progress to come here."""
        while True:
            await self._in_worker(lambda: None)
            self._notify.alive()
            await asyncio.sleep(_ALIVE_S)

    async def _in_worker(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call)


def user_id(user: str) -> int:
    """Return the number of a user.

    Raises:
        Failure: there is none of that name.
    """
    if user.isdigit():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise Failure(
            f"key 'actuator.user': this system has no user {user!r}; name the user that the agent runs as, or make it "
            f"(useradd --system {user})"
        ) from None


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Listen on a socket that anybody may connect to: whom it hears, the kernel tells by name.

    Raises:
        Failure: somebody answers there already, or it cannot be made.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    sock.setblocking(False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        mask = os.umask(0o111)  # a mode set afterwards could be set on what somebody has put in its place
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        sock.listen(16)
    except OSError as error:
        sock.close()
        raise Failure(
            f"{path}: {error.strerror or error}; actuator.socket must be a short path in root's folder"
        ) from None
    try:
        yield sock
    finally:
        sock.close()
        with suppress(OSError):
            path.unlink()


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Failure(f"{path}: is there and is not a socket; remove it, or set another actuator.socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise Failure(f"{path}: another actuator answers there; stop it, or set another actuator.socket")


def _only_one(settings: AgentSettings) -> list[int]:
    """Refuse a second one before it touches anything, and an agent that controls this machine itself."""
    path = settings.state_path
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; actuator.state_dir must be a folder that root can write") from None
    locks = [lock_folder(path, "another actuator already runs with this state_dir; stop it, or set another one")]
    if settings.control.enabled:
        already = "another process already controls this machine; stop it, or switch control off in one of them"
        locks.append(lock_folder(machine_folder(settings.sources.sysfs), already))
    return locks
