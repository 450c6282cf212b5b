"""What a collector writes down: every command it signs, every acknowledgement it verifies, and whose word it follows.

Entries go through a queue to a thread of their own and are on the disk within a second: neither a step of control nor
a message waits for a disk. A collector whose log cannot be written goes on steering, for the nodes write down what
they do; it says so, and how many entries are missing once it can write again.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evenwatt_daemon import Failure, get_logger
from evenwatt_daemon.audit_log import AuditError, AuditLog
from evenwatt_daemon.audit_sums import Sums
from evenwatt_wire.command import Code, Op
from evenwatt_wire.told import command_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_collector.settings import CollectorSettings
    from evenwatt_collector.steering import ZoneRenewal
    from evenwatt_daemon.audit import Fact, Facts
    from evenwatt_wire import Ack, Command

FOLDER: Final = "audit"
FILE_BYTES: Final = 8 * 1024 * 1024
_SUM_S: Final = 600.0
"""Caps of an unchanging fleet are summed up so often: thousands of nodes renew theirs every two seconds."""
_STREAMS: Final = 20_000
"""Two a node."""
_QUEUE: Final = 20_000
_BEAT_S: Final = 1.0
_CLOSE_S: Final = 5.0
_DIGITS: Final = 3
_IN_FORCE: Final = frozenset({Code.APPLIED, Code.CLAMPED})

_Entry = tuple[str, int, "Facts"]


class Auditor:
    """A collector's side of the audit log.

    Args:
        folder: Where the log is.
        keep_bytes: What it may take.
        key_id: Of the key that signs.

    Raises:
        Failure: it cannot be opened, or another process writes it.
    """

    def __init__(self, folder: Path, keep_bytes: int, key_id: str) -> None:
        self._log: Any = get_logger("audit")
        self._key_id = key_id
        self._audit = AuditLog(folder, keep_bytes, FILE_BYTES)
        self._audit.recent.clear()
        self._sums = Sums(_SUM_S, _STREAMS)
        self._queue: queue.Queue[_Entry | None] = queue.Queue(_QUEUE)
        self._dropped = self._told = self._unwritten = 0
        self._trouble = ""
        self._thread = threading.Thread(target=self._write, name="audit", daemon=True)
        self._thread.start()

    @property
    def alarm(self) -> str | None:
        """Why entries are missing; None while none are."""
        return self._trouble or (None if self._thread.is_alive() else "what writes it has ended")

    def signed(self, zone: str, command: Command, payload: bytes, now_s: float) -> None:
        """Enter a command that is about to be sent."""
        stream, cap = ("cap", zone, command.node), command.op is Op.CAP and not command.dry_run
        same: Facts = {
            "of": "command",
            "zone": zone,
            "node": command.node,
            "key": self._key_id,
            "epoch": command.epoch,
            "op": command.op.value,
            "cap_w": command.cap_w,
            "fallback_w": command.fallback_w,
            "ttl_s": command.ttl_s or None,
        }
        if cap and self._sums.repeats(stream, same, command.seq, _wall_ms(), now_s):
            return  # as nearly all are; the rest of what is known of it need not be put together
        sha256 = hashlib.sha256(payload).hexdigest()
        facts: Facts = {"zone": zone, "node": command.node, **command_facts(command, self._key_id, sha256)}
        if cap:
            self._one_of(stream, same, command.seq, facts, now_s)
        else:
            self._put("command", facts)

    def answered(self, zone: str, ack: Ack, *, ours: bool, now_s: float) -> None:
        """Enter an acknowledgement whose signature is good, also of a command that somebody else has sent."""
        stream, cap = ("ack", zone, ack.node), ours and ack.code in _IN_FORCE and ack.requested_w is not None
        same: Facts = {"of": "ack", "zone": zone, "node": ack.node, "epoch": ack.epoch, "code": ack.code.value}
        if cap and self._sums.repeats(stream, same, ack.seq, _wall_ms(), now_s, {"audit": ack.audit}):
            return
        facts: Facts = {
            "zone": zone,
            "node": ack.node,
            "id": ack.command_id,
            "ours": ours,
            "epoch": ack.epoch,
            "seq": ack.seq,
            "code": ack.code.value,
            "detail": ack.detail or None,
            "node_ms": ack.wall_ms,
            "requested_w": _rounded(ack.requested_w),
            "before_w": _rounded(ack.before_w),
            "after_w": _rounded(ack.after_w),
            "audit": ack.audit,
        }
        facts = {name: value for name, value in facts.items() if value is not None}
        if cap:
            self._one_of(stream, same, ack.seq, facts, now_s, {"audit": ack.audit})
        else:
            self._put("ack", facts)

    def renewed(self, renewal: ZoneRenewal, epoch: int, now_s: float) -> None:
        """Enter that leases of a zone go on."""
        said: Facts = {"zone": renewal.zone, "key": self._key_id, "epoch": epoch, "ttl_s": renewal.ttl_s}
        left_out: Facts = {"left_out": len(renewal.left_out)}
        facts = {**said, "seq": renewal.seq, **left_out}
        self._one_of(("renewed", renewal.zone), {"of": "renewed", **said}, renewal.seq, facts, now_s, left_out)

    def note(self, kind: str, facts: Mapping[str, Fact]) -> None:
        """Enter something else: a start, other rules, other keys, what somebody with a token asked for."""
        self._put(kind, {**facts})

    def due(self, now_s: float) -> None:
        """Enter the sums that are old enough."""
        for facts in self._sums.due(now_s):
            self._put("sum", facts)

    def close(self) -> None:
        """Enter every sum and the end of this run; wait until they are on the disk."""
        if not self._thread.is_alive():
            return
        for facts in self._sums.flush():
            self._put("sum", facts)
        self._put("stop", {})
        self._queue.put(None)
        self._thread.join(_CLOSE_S)

    def _one_of(
        self, stream: tuple[str, ...], same: Facts, seq: int, facts: Facts, now_s: float, latest: Facts | None = None
    ) -> None:
        alone, sums = self._sums.take(stream, same, seq, _wall_ms(), now_s, latest)
        for entry in sums:
            self._put("sum", entry)
        if alone:
            self._put(str(same["of"]), facts)

    def _put(self, kind: str, facts: Facts) -> None:
        try:
            self._queue.put_nowait((kind, _wall_ms(), facts))
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        """Write what comes, and sync it together; runs on its own thread."""
        while True:
            batch = self._batch()
            try:
                self._append([entry for entry in batch if entry is not None])
            except AuditError as error:
                self._say(str(error))
            if batch and batch[-1] is None:
                self._audit.close()
                return

    def _batch(self) -> list[_Entry | None]:
        """Wait for an entry, then take what else comes within a beat; None is the end."""
        batch = [self._queue.get()]
        until_s = time.monotonic() + _BEAT_S
        while batch[-1] is not None and len(batch) < _QUEUE:
            try:
                batch.append(self._queue.get(timeout=max(0.0, until_s - time.monotonic())))
            except queue.Empty:
                break
        return batch

    def _append(self, batch: list[_Entry]) -> None:
        left = len(batch)
        try:
            dropped = self._dropped
            missing = dropped - self._told + self._unwritten
            if missing and batch:
                self._audit.append("gap", batch[0][1], {"missing": missing}, sync=False)
                self._told, self._unwritten = dropped, 0
            for kind, at_ms, facts in batch:
                self._audit.append(kind, at_ms, facts, sync=False)
                left -= 1
            self._audit.sync()
            self._say("")
        finally:
            self._unwritten += left

    def _say(self, trouble: str) -> None:
        if trouble and not self._trouble:
            self._log.error("entries are missing in the audit log; steering goes on", why=trouble)
        self._trouble = trouble


def open_auditor(settings: CollectorSettings, epoch: int, key_id: str) -> Auditor:
    """Open the log in the state folder; beside it, where an earlier collector of this machine still holds that one.

    Raises:
        Failure: no log can be opened.
    """
    folder, keep_bytes = Path(settings.state_dir) / FOLDER, settings.keep.audit_mb * 1024 * 1024
    try:
        return Auditor(folder, keep_bytes, key_id)
    except Failure:
        return Auditor(folder.with_name(f"{FOLDER}-epoch-{epoch}"), keep_bytes, key_id)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
