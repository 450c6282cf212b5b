"""Every check between a payload and an action, in the order of ``commands``, with what the node remembers.

The shell around ``commands`` and ``limits``. Calls of :meth:`Admission.admit` and :meth:`Admission.keep` block until
the disk has it: callers make them on the one worker.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent.commands import Mark
from evenwatt_agent.journal import Received
from evenwatt_agent.limits import Rate
from evenwatt_daemon.audit_log import AuditError
from evenwatt_wire import CommandError
from evenwatt_wire.command import Op

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_agent.commands import Gate
    from evenwatt_agent.journal import Journal
    from evenwatt_agent.limits import LocalLimits
    from evenwatt_agent.memory import Memory
    from evenwatt_wire import Key
    from evenwatt_wire.command import Renewal

BEGUN: Final = "begun"
"""Under which name the command that was begun last is remembered."""
_RECENT_ANSWERS: Final = 64


@dataclass(frozen=True, slots=True)
class Clock:
    """The times of one moment."""

    now_s: float
    """Monotonic."""
    wall_ms: int
    synchronised: bool


class Admission:
    """Who gets through to the devices of one node.

    Args:
        gate: The checks that need no memory.
        limits: What the owner lets be asked.
        memory: Where marks and answers are remembered.
        where: Its folder, for messages.
    """

    def __init__(self, gate: Gate, limits: LocalLimits, memory: Memory, where: Path) -> None:
        self._gate, self._limits, self._memory, self._where = gate, limits, memory, where
        self._rate = Rate(limits.commands_per_minute)
        self._recent: dict[str, tuple[str, bytes]] = {}
        self._steered = f"steered:{gate.zone}"
        self._renewals: dict[bytes, tuple[int, int]] = {}
        """Epoch and number of the newest renewal, by key."""
        self._renewal = b""
        """The renewal that came last, as it came."""

    def open(self, payload: bytes, *, retained: bool) -> Received:
        """Check whether this is for this node and by somebody known; who else sends something gets no answer.

        Raises:
            CommandError: its ``code`` names the check that failed.
        """
        key, command = self._gate.open(payload, retained=retained)
        return Received(key, command, hashlib.sha256(payload).hexdigest())

    def open_renewal(
        self, payload: bytes, wall_ms: int, *, retained: bool, synchronised: bool
    ) -> tuple[Key, Renewal] | None:
        """Check a renewal of the zone's leases; None for one that comes again, or later than a newer one.

        The newest one is known by its bytes: whoever says it a thousand times costs no signature each time.

        Raises:
            CommandError: its ``code`` names the check that failed.
        """
        if payload == self._renewal:
            return None
        key, renewal = self._gate.open_renewal(payload, wall_ms, retained=retained, synchronised=synchronised)
        self._limits.check_ttl(renewal.ttl_s)
        number = renewal.epoch, renewal.seq
        if number <= self._renewals.get(key.id, (-1, -1)):
            return None
        self._renewals[key.id], self._renewal = number, payload
        return key, renewal

    def admit(self, received: Received, clock: Clock, journal: Journal) -> bytes | None:
        """Let a command through to be carried out, once: its mark is on the disk when this returns.

        Returns:
            The earlier answer to a command that comes again, None for a new one.

        Raises:
            CommandError: its ``code`` names the check that failed.
        """
        earlier = self._recent.get(received.command.id)
        if earlier is not None:
            return _same(received, *earlier)
        late = self._gate.late(received, clock.wall_ms, synchronised=clock.synchronised)
        try:
            answer = self._pass_mark(received, late, journal)
        except sqlite3.Error as error:  # nothing is carried out that could be replayed after a crash
            raise CommandError("storage", f"{self._where}: {error}; the mark of this command cannot be kept") from None
        except AuditError as error:
            raise CommandError("audit", str(error)) from None
        if answer is None:
            self._check_local(received, clock.now_s)
        return answer

    def keep(self, received: Received, answer: bytes, wall_ms: int) -> None:
        """Remember an answer for when the command comes again.

        Caps come often and stay off the disk: after a restart a repeated one is caught by its mark.
        An id stays with the command that came first.
        """
        command = received.command
        if command.id in self._recent:
            return
        try:
            if self._memory.answer(command.id) is not None:
                return
            self._recent[command.id] = (received.sha256, answer)
            if len(self._recent) > _RECENT_ANSWERS:
                del self._recent[next(iter(self._recent))]
            if command.op is not Op.CAP:
                self._memory.keep_answer(command.id, wall_ms, received.sha256, answer)
        except sqlite3.Error:
            return  # a full disk: after a restart its mark catches the repeated one

    def _pass_mark(self, received: Received, late: CommandError | None, journal: Journal) -> bytes | None:
        command, name = received.command, f"mark:{received.key.id.hex()}"
        kept = self._memory.answer(command.id)
        try:
            mark = Mark.parse(self._memory.recall(name)).advance(command)
            steers = self._gate.fence(received, self._memory.recall(self._steered))
        except CommandError:
            if kept is not None:
                return _same(received, *kept)
            raise
        if late is not None:
            raise late
        if kept is not None:
            return _same(received, *kept)
        journal.check()
        fence = {self._steered: steers} if steers else {}
        self._memory.remember(**{name: str(mark), BEGUN: journal.begun(received)}, **fence)
        return None

    def _check_local(self, received: Received, now_s: float) -> None:
        self._rate.take(received.key.id, received.command.op, now_s)
        self._gate.check_local(received.command)
        self._limits.check(received.key.role, received.command)


def _same(received: Received, sha256: str, answer: bytes) -> bytes:
    """Return the earlier answer, if it was to these very bytes."""
    if sha256 != received.sha256:
        raise CommandError("id-reused", f"{received.command.id} is the id of another command; each has its own")
    return answer
