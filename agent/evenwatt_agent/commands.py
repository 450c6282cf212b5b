"""What a node checks before it obeys, in order, cheapest first. Nothing here acts.

1. size, not retained              5. not expired, by a clock that is synchronised
2. a known key of a fitting role   6. (epoch, seq) above the mark remembered for this key; a repeated command is
3. signature, then schema             answered again and not carried out again
4. addressed to exactly this node  7. this node's own rules: what may be paused or run, ``limits.toml``
   of this fleet                   8. of a dry run, that is all

Who fails one of the first four gets no answer, for nobody known has sent it to this node; from then on every answer is
signed. The mark is on the disk before a command is carried out (``admission``), so that a crash cannot open it again.

A renewal is for all nodes of a zone and passes the same checks, but for the mark: it can only lengthen a lease that is
alive, and no lease outlives a restart. Nobody answers it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_wire.command import (
    Command,
    CommandError,
    Key,
    KeyRing,
    Op,
    Renewal,
    Role,
    check_addressee,
    check_renewal_time,
    check_scope,
    check_time,
    open_command,
    open_renewal,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from evenwatt_agent.journal import Received


_MARK: Final = re.compile(r"[0-9]{1,20}\.[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Gate:
    """Everything a command is held against."""

    fleet: str
    zone: str
    node: str
    keys: KeyRing
    pausable: Collection[str]
    max_ttl_s: float

    def open(self, payload: bytes, *, retained: bool) -> tuple[Key, Command]:
        """Return the signer and the command if somebody known has signed it for exactly this node.

        Raises:
            CommandError: its ``code`` names the check that failed.
        """
        if retained:
            raise CommandError(
                "retained", "a retained command could be replayed at any time; commands are never retained"
            )
        key, command = open_command(payload, self.keys)
        check_addressee(command, self.fleet, self.node)
        return key, command

    def open_renewal(self, payload: bytes, now_ms: int, *, retained: bool, synchronised: bool) -> tuple[Key, Renewal]:
        """Return the signer and the renewal if it is for this node's zone, by somebody who may command this node.

        Raises:
            CommandError: its ``code`` names the check that failed.
        """
        if retained:
            raise CommandError("retained", "a retained renewal could be replayed at any time; none is ever retained")
        key, renewal = open_renewal(payload, self.keys)
        if (renewal.fleet, renewal.zone) != (self.fleet, self.zone):
            words = f"is for zone {renewal.zone} of {renewal.fleet}, this is zone {self.zone} of {self.fleet}"
            raise CommandError("addressee", words)
        check_scope(key, self.zone, self.node)
        check_renewal_time(renewal, now_ms, clock_synchronised=synchronised)
        if renewal.ttl_s > self.max_ttl_s:
            raise CommandError("ttl", f"leases of {renewal.ttl_s:g} s; this node grants at most {self.max_ttl_s:g} s")
        return key, renewal

    def late(self, received: Received, now_ms: int, *, synchronised: bool) -> CommandError | None:
        """Return why a command's time is over, if that is so: it may have been answered before.

        Raises:
            CommandError: its key may not command this node, or its time is wrong in another way.
        """
        check_scope(received.key, self.zone, self.node)
        try:
            check_time(received.command, now_ms, clock_synchronised=synchronised)
        except CommandError as error:
            if error.code == "expired":
                return error
            raise
        return None

    def fence(self, received: Received, steered: str | None) -> str:
        """Return who steers this zone from now on, to be remembered: a controller's key and its epoch; empty as before.

        Of two collectors each may have a key of its own, so a mark for each key does not fence off the older one.

        Args:
            received: The command.
            steered: What was returned for an earlier command in this zone.

        Raises:
            CommandError: ``stale-epoch``: another key that still counts has commanded this node in a higher epoch.
        """
        if received.key.role is not Role.CONTROLLER:
            return ""
        before = Steers.parse(steered)
        now = Steers(received.command.epoch, received.key.id.hex())
        if before is None or now.epoch >= before.epoch:
            return "" if now == before else str(now)
        others = [key for key in self.keys.current(Role.CONTROLLER) if key.reaches(self.zone, self.node)]
        if any(key.id.hex() == before.key for key in others):
            words = f"epoch {now.epoch} has been superseded by epoch {before.epoch}, of key {before.key}"
            raise CommandError("stale-epoch", words)
        return str(now)  # whoever that was, its word counts no more

    def check_local(self, command: Command) -> None:
        """Hold a command against this node's own rules.

        Raises:
            CommandError: ``not-allowed`` or ``ttl``.
        """
        if command.op in (Op.PAUSE, Op.RESUME) and command.target not in self.pausable:
            raise CommandError("not-allowed", f"{command.target!r} is not on this node's list of what may be paused")
        if command.ttl_s > self.max_ttl_s:
            raise CommandError("ttl", f"a lease of {command.ttl_s:g} s; this node grants at most {self.max_ttl_s:g} s")


@dataclass(frozen=True, slots=True)
class Steers:
    """Under which epoch a zone was steered last, and by which key."""

    epoch: int
    key: str

    @classmethod
    def parse(cls, text: str | None) -> Steers | None:
        """Read what :meth:`__str__` wrote; None where nothing is remembered."""
        if not text:
            return None
        epoch, key = text.split(".")
        return cls(int(epoch), key)

    def __str__(self) -> str:
        return f"{self.epoch}.{self.key}"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """The highest (epoch, seq) a key has used here."""

    epoch: int = 0
    seq: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Mark:
        """Read what :meth:`__str__` wrote; nothing remembered is the lowest mark.

        Raises:
            ValueError: it is something else.
        """
        if not text:
            return cls()
        if not _MARK.fullmatch(text):
            raise ValueError(f"found {text[:40]!r}, expected epoch.seq")
        epoch, seq = text.split(".")
        return cls(int(epoch), int(seq))

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}"

    def advance(self, command: Command) -> Mark:
        """Return the mark after ``command``.

        Raises:
            CommandError: ``stale-epoch`` (a fenced collector woke up) or ``replay``.
        """
        fresh = Mark(command.epoch, command.seq)
        if fresh.epoch < self.epoch:
            raise CommandError("stale-epoch", f"epoch {fresh.epoch} has been superseded by epoch {self.epoch}")
        if fresh <= self:
            raise CommandError("replay", f"({fresh.epoch}, {fresh.seq}) is not above ({self.epoch}, {self.seq})")
        return fresh
