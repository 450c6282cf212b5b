"""The node's memory on disk: ledger records until they are stored, and what a restarted agent must know.

SQLite in WAL mode with ``synchronous=FULL``: a record is on the disk before it is sent, a torn write is rolled back by
the library, and one record a minute costs a flash card nothing. A record and the counter readings that it ends with
are written in one transaction, so that the next agent counts on from exactly there: no joule twice, none lost.

Not safe for threads at once: callers hold one lock (``service`` runs every call on one worker thread).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent.counters import Baseline
from evenwatt_agent.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ledger (
    row INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT, seq INTEGER, payload BLOB NOT NULL, UNIQUE (boot, seq));
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where counting stood when the last record was written."""

    kernel_boot: str
    """The kernel's own boot id: after a reboot counters and monotonic clock have begun anew."""
    end_ns: int
    baselines: dict[str, Baseline]
    account: str = ""
    """What attribution and tasks need to go on from here (``accounting.Accounting.memory``)."""


class Spool(Memory):
    """The ledger spool and the agent's small memory.

    Args:
        path: The database; ``:memory:`` keeps nothing.
        capacity: Records kept at most; the oldest are dropped and counted when it is full.

    Raises:
        Failure: the file cannot be opened or is not ours.
    """

    def __init__(self, path: Path | str, capacity: int) -> None:
        self._capacity = capacity
        super().__init__(path, _SCHEMA)

    def append(self, boot: str, seq: int, payload: bytes, checkpoint: Checkpoint) -> int:
        """Keep a record and the readings it ends with. Return how many old records had to go for it."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT INTO ledger (boot, seq, payload) VALUES (?, ?, ?)", (boot, seq, payload))
            self._remember("checkpoint", _dump(checkpoint))
            return self._db.execute(
                "DELETE FROM ledger WHERE row IN (SELECT row FROM ledger ORDER BY row LIMIT "
                "max(0, (SELECT count(*) FROM ledger) - ?))",
                (self._capacity,),
            ).rowcount

    def checkpoint(self) -> Checkpoint | None:
        """Where the last record ended, or None on a first start."""
        text = self.recall("checkpoint")
        return _load(text) if text else None

    def pending(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to ``limit`` (row, payload) not yet known to be stored, oldest first, beyond row ``after``."""
        rows = self._db.execute("SELECT row, payload FROM ledger WHERE row > ? ORDER BY row LIMIT ?", (after, limit))
        return list(rows)

    def stored(self, boot: str, seq: int, beyond: Sequence[int] = ()) -> None:
        """Forget every record of ``boot`` up to ``seq``, and those ``beyond`` it: the collector has them."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM ledger WHERE boot = ? AND seq <= ?", (boot, seq))
            self._db.executemany("DELETE FROM ledger WHERE boot = ? AND seq = ?", [(boot, one) for one in beyond])

    def waiting(self) -> int:
        """Records not yet known to be stored."""
        return int(self._db.execute("SELECT count(*) FROM ledger").fetchone()[0])

    def runs(self) -> list[bytes]:
        """Return what is kept of the runs of jobs."""
        return [row[0] for row in self._db.execute("SELECT CAST(body AS BLOB) FROM runs ORDER BY id")]

    def keep_run(self, run: str, body: bytes) -> None:
        """Keep how a run stands: when this returns it is on the disk."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (run, body))

    def forget_runs(self, runs: Sequence[str]) -> None:
        """Forget runs that ended long ago."""
        with self._db:
            self._db.executemany("DELETE FROM runs WHERE id = ?", [(run,) for run in runs])


def _dump(checkpoint: Checkpoint) -> str:
    baselines: Mapping[str, tuple[int, int]] = {k: (b.raw, b.t_ns) for k, b in checkpoint.baselines.items()}
    return json.dumps([checkpoint.kernel_boot, checkpoint.end_ns, baselines, checkpoint.account])


def _load(text: str) -> Checkpoint:
    kernel_boot, end_ns, baselines, account = json.loads(text)
    known = {name: Baseline(raw, t_ns) for name, (raw, t_ns) in baselines.items()}
    return Checkpoint(kernel_boot, end_ns, known, account)
