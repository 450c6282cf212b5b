"""What a node writes down about who asked what of it, and what became of it: its side of the audit log.

Every command that was signed by a known key has an entry, and every change of what caps this node. What a hostile
broker or a renewing controller can say again and again is counted (``evenwatt_daemon.audit_sums``). Calls block until
the disk has it: callers make them on the one worker.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent import clocks
from evenwatt_daemon.audit import Fact, Facts, Head
from evenwatt_daemon.audit_log import AuditError, AuditLog
from evenwatt_daemon.audit_sums import Sums
from evenwatt_wire.command import Code, Op
from evenwatt_wire.told import command_facts, terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_agent.settings import AgentSettings
    from evenwatt_wire import Ack, Command, CommandError, Key
    from evenwatt_wire.command import Renewal

_IN_FORCE: Final = frozenset({Code.APPLIED, Code.CLAMPED})
_DIGITS: Final = 3
FOLDER: Final = "audit"


@dataclass(frozen=True, slots=True)
class Received:
    """A command whose signature is good, as it came."""

    key: Key
    command: Command
    sha256: str
    """Of the envelope: by it the two sides' logs are matched."""

    def facts(self) -> Facts:
        """What was asked, by whom."""
        return {"role": self.key.role.value, **command_facts(self.command, self.key.id.hex(), self.sha256)}


class Journal:
    """The entries of one node.

    Args:
        log: Where they go.
        boot: The run that writes them; it stands in every entry.
    """

    def __init__(self, log: AuditLog, boot: str) -> None:
        self._log, self._boot = log, boot
        self._sums = Sums()
        self._missing = 0

    @property
    def head(self) -> str:
        """Number and hash of the latest entry, as an acknowledgement tells it."""
        return str(self._log.head)

    def begin(self, facts: Facts, begun: str | None) -> list[str]:
        """Enter that this node's control has started, and what an earlier run left open.

        Args:
            facts: What is in force from now on.
            begun: What :meth:`begun` last said of a command, if it was kept.

        Returns:
            What a person should look at.

        Raises:
            AuditError: nothing can be entered.
        """
        troubles: list[str] = []
        if self._log.torn_bytes:
            troubles.append(f"{self._log.torn_bytes} bytes at the end were no whole entry and have been set aside")
        self._note("start", facts)
        if begun:
            troubles += self._left_open(json.loads(begun))
        self._log.recent.clear()
        return troubles

    def begun(self, received: Received) -> str:
        """Return what is kept beside the mark before a command is carried out, to be told after a crash."""
        facts = received.facts()
        facts.pop("reason", None)
        return json.dumps(facts | {"head": self.head}, separators=(",", ":"))

    def check(self) -> None:
        """Make sure that what is about to be done can be entered, also after entries could not be.

        Raises:
            AuditError: it cannot.
        """
        self._log.check()
        if self._missing:
            self._note("gap", {"missing": self._missing})
            self._missing = 0

    def answered(self, received: Received, ack: Ack, now_s: float) -> None:
        """Enter a command and what became of it.

        Raises:
            AuditError: it could not be entered.
        """
        asked, facts = received.command, received.facts()
        outcome: Facts = {
            "code": ack.code.value,
            "detail": ack.detail,
            "before_w": _rounded(ack.before_w),
            "after_w": _rounded(ack.after_w),
            "power_w": _rounded(ack.power_w),
        }
        same: Facts = {"of": "command", "key": facts["key"], "op": asked.op.value, "epoch": asked.epoch}
        if asked.op is Op.CAP and ack.code in _IN_FORCE and not asked.dry_run:
            same |= {**terms(facts), "code": ack.code.value}
            self._one_of(("cap", facts["key"]), same, asked.seq, "command", facts | outcome, now_s)
        elif ack.code in (Code.REJECTED, Code.EXPIRED):
            why = ack.detail.partition(":")[0]
            same |= {"code": ack.code.value, "why": why}
            self._one_of(("refused", facts["key"], why), same, asked.seq, "command", facts | outcome, now_s)
        else:
            self._end_of(("cap", facts["key"]))
            self._note("command", facts | outcome)

    def renewed(self, key: Key, renewal: Renewal, now_s: float) -> None:
        """Enter that a lease went on with those of the zone.

        Raises:
            AuditError: it could not be entered.
        """
        terms_of: Facts = {"key": key.id.hex(), "epoch": renewal.epoch, "ttl_s": renewal.ttl_s}
        same, facts = {"of": "renewed", **terms_of}, {**terms_of, "seq": renewal.seq}
        self._one_of(("renewed", terms_of["key"]), same, renewal.seq, "renewed", facts, now_s)

    def repeated(self, received: Received, now_s: float) -> None:
        """Enter that a command came again and got its earlier answer."""
        asked = received.command
        key = received.key.id.hex()
        same: Facts = {"of": "repeated", "key": key, "op": asked.op.value, "epoch": asked.epoch}
        facts: Facts = {"key": key, "id": asked.id, "op": asked.op.value, "epoch": asked.epoch, "seq": asked.seq}
        self._one_of(("repeated", key), same, asked.seq, "repeated", facts | {"sha256": received.sha256}, now_s)

    def refused(self, error: CommandError, payload: bytes, sha256: str, now_s: float) -> None:
        """Enter something that claims to be a command and is by nobody known, or for somebody else."""
        same: Facts = {"of": "refused", "code": error.code}
        facts: Facts = {"code": error.code, "why": str(error)[:400], "bytes": len(payload), "sha256": sha256}
        self._one_of(("refused", error.code), same, 0, "refused", facts, now_s)

    def note(self, kind: str, facts: Mapping[str, Fact]) -> None:
        """Enter something that happened without a command: a lease that ended, other keys.

        Raises:
            AuditError: it could not be entered.
        """
        self._note(kind, facts)

    def due(self, now_s: float) -> None:
        """Enter the sums that are old enough.

        Raises:
            AuditError: some could not be entered, and are counted as missing.
        """
        failed: AuditError | None = None
        for facts in self._sums.due(now_s):
            try:
                self._note("sum", facts)
            except AuditError as error:
                failed = error
        if failed is not None:
            raise failed

    def close(self, facts: Facts) -> None:
        """Enter every sum and the end of this run, and let go of the log."""
        try:
            for sums in self._sums.flush():
                self._note("sum", sums)
            self._note("stop", facts)
        except AuditError:
            return  # it has been said for as long as this run could not be entered
        finally:
            self._log.close()

    def _one_of(self, stream: tuple[Fact, ...], same: Facts, seq: int, kind: str, facts: Facts, now_s: float) -> None:
        alone, sums = self._sums.take(stream, same, seq, clocks.wall_ms(), now_s)
        for entry in sums:
            self._note("sum", entry)
        if alone:
            self._note(kind, facts)

    def _end_of(self, stream: tuple[Fact, ...]) -> None:
        for entry in self._sums.end(stream):
            self._note("sum", entry)

    def _note(self, kind: str, facts: Mapping[str, Fact]) -> None:
        try:
            self._log.append(kind, clocks.wall_ms(), {"boot": self._boot, **facts})
        except AuditError:
            self._missing += kind != "gap"
            raise

    def _left_open(self, begun: Facts) -> list[str]:
        """Enter a command whose end an earlier run could not write down, and entries that are gone."""
        troubles: list[str] = []
        told = str(begun.pop("head", ""))
        kept = Head.parse(told)
        same = [entry.head.hash for entry in self._log.recent if entry.head.n == kept.n]
        last = self._log.recent[-1].head.n if self._log.recent else 0
        if kept.n > last or (same and same[0] != kept.hash):
            self._note("cut", {"remembered": told, "found": last})
            troubles.append(f"entry {kept.n} was written and is not there: the log was cut off or changed")
        if not any(_covers(entry.kind, entry.facts, begun) for entry in self._log.recent):
            self._note("unfinished", begun)
            troubles.append(
                f"{begun['op']} {begun['target']} (epoch {begun['epoch']}, seq {begun['seq']}) had begun when "
                f"control died here; whether it was carried out is not known, and it is not carried out again"
            )
        return troubles


def open_journal(settings: AgentSettings) -> Journal:
    """Open the audit log in a state folder.

    Raises:
        Failure: it cannot be opened, or another process writes it.
    """
    folder, keep_bytes = settings.state_path / FOLDER, settings.control.audit_mb * 1024 * 1024
    return Journal(AuditLog(folder, keep_bytes), clocks.new_boot_id())


def _covers(kind: str, facts: Facts, begun: Facts) -> bool:
    """Whether an entry tells the end of a command."""
    if facts.get("sha256") == begun["sha256"]:
        return kind in ("command", "unfinished")
    if kind != "sum" or (facts.get("key"), facts.get("epoch")) != (begun["key"], begun["epoch"]):
        return False
    first, seq, last = facts.get("first_seq"), begun["seq"], facts.get("last_seq")
    return isinstance(first, int) and isinstance(last, int) and isinstance(seq, int) and first <= seq <= last


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, _DIGITS)
