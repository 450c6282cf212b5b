"""Where counting stood when the last record was written, and its second copy in a file of its own.

The copy (``<database>.tail``) is replaced as a whole after each record. It is there for a database that loses its end
without a trace: the record may have been sent before, and counting on from the readings before it would count that
stretch twice. Both copies carry a checksum: a wrong reading would be worse than none.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zlib import crc32

import msgspec

from evenwatt_agent.counters import Baseline
from evenwatt_agent.merging import bridge, end_of
from evenwatt_wire import Ledger, encode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SUM_DIGITS: Final = 8
_RECORD: Final = msgspec.msgpack.Decoder(Ledger)
_CHECKPOINT: Final = msgspec.json.Decoder(tuple[str, int, dict[str, tuple[int, int]], str])


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where counting stood when the last record was written."""

    kernel_boot: str
    """The kernel's own boot id: after a reboot counters and monotonic clock have begun anew."""
    end_ns: int
    baselines: dict[str, Baseline]
    account: str = ""
    """What attribution and tasks need to go on from here (``accounting.Accounting.memory``)."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The second copy."""

    checkpoint: Checkpoint
    """Without what attribution needs."""
    end: Ledger
    """The moment at which the last record ended (``merging.end_of``)."""

    def bridge_from(self, last: Ledger | None, known: Checkpoint | None) -> Ledger | None:
        """Return a record for what the database has lost of this boot.

        Args:
            last: The last record of this boot that it has.
            known: Its own checkpoint; without a record of this boot, that is where the boot went on from.
        """
        same = known is not None and known.kernel_boot == self.checkpoint.kernel_boot
        return bridge(last, self.end, known.end_ns if known and same else None)


def dump(checkpoint: Checkpoint) -> str:
    """Return a checkpoint as text that tells when it is damaged."""
    baselines: Mapping[str, tuple[int, int]] = {k: (b.raw, b.t_ns) for k, b in checkpoint.baselines.items()}
    return _seal(json.dumps([checkpoint.kernel_boot, checkpoint.end_ns, baselines, checkpoint.account]))


def load(text: str | None) -> Checkpoint | None:
    """Return a checkpoint; None if there is none or it is damaged."""
    body = _open(text or "")
    if body is None:
        return None
    try:
        kernel_boot, end_ns, baselines, account = _CHECKPOINT.decode(body)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None
    return Checkpoint(kernel_boot, end_ns, {name: Baseline(*reading) for name, reading in baselines.items()}, account)


def decode_record(payload: bytes) -> Ledger:
    """Return a record of our own.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _RECORD.decode(payload)


def write_tail(database: Path, checkpoint: Checkpoint, record: Ledger) -> None:
    """Replace the second copy; where that fails the older one stays, which is no worse than none."""
    plain = Checkpoint(checkpoint.kernel_boot, checkpoint.end_ns, checkpoint.baselines)
    text = _seal(json.dumps([dump(plain), encode(end_of(record)).hex()]))
    path, fresh = _path(database), _path(database).with_suffix(".tail-new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, text.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)


def read_tail(database: Path) -> Tail | None:
    """Return the second copy; None if there is none or it is damaged."""
    try:
        checkpoint, end = json.loads(_open(_path(database).read_text()) or "")
        known = load(checkpoint)
        return Tail(known, decode_record(bytes.fromhex(end))) if known else None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _path(database: Path) -> Path:
    return database.with_suffix(".tail")


def _seal(body: str) -> str:
    return f"{crc32(body.encode()):0{_SUM_DIGITS}x}{body}"


def _open(text: str) -> str | None:
    body = text[_SUM_DIGITS:]
    return body if text[:_SUM_DIGITS] == f"{crc32(body.encode()):0{_SUM_DIGITS}x}" else None
