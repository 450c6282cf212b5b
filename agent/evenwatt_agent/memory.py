"""What a daemon on a node must know after a restart: small values, and the answers it gave to commands.

SQLite in WAL mode with ``synchronous=FULL``: what was remembered is on the disk when the call returns, and a torn write
is rolled back by the library.

Not safe for threads at once: callers make every call on one worker thread.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS memory (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answered (
    id TEXT PRIMARY KEY, at INTEGER NOT NULL, sha256 TEXT NOT NULL, payload BLOB NOT NULL
) WITHOUT ROWID;
"""
_ANSWERS_KEPT: Final = 1_000


class DamagedError(Failure):
    """The file is there, and what is in it is not a sound database."""


class Memory:
    """A daemon's small memory.

    Args:
        path: The database; ``:memory:`` keeps nothing.
        schema: Tables that a subclass keeps in the same file.

    Raises:
        DamagedError: the file is no sound database; waiting cannot help.
        Failure: the file cannot be opened.
    """

    def __init__(self, path: Path | str, schema: str = "") -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA cache_size=-256")
            self._db.executescript(_SCHEMA + schema)
        except sqlite3.Error as error:
            kind = Failure if isinstance(error, sqlite3.OperationalError) else DamagedError
            raise kind(
                f"{path}: {error}; the state directory must be writable and hold only this agent's files"
            ) from None

    def recall(self, name: str) -> str | None:
        """Return something remembered, or None."""
        row = self._db.execute("SELECT value FROM memory WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def remember(self, **values: str) -> None:
        """Remember values durably: when this returns they are on the disk."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for name, value in values.items():
                self._remember(name, value)

    def answer(self, command_id: str) -> tuple[str, bytes] | None:
        """Return the hash of a command that was answered before and its acknowledgement, or None."""
        row = self._db.execute("SELECT sha256, payload FROM answered WHERE id = ?", (command_id,)).fetchone()
        return (str(row[0]), bytes(row[1])) if row else None

    def keep_answer(self, command_id: str, at_ms: int, sha256: str, payload: bytes) -> None:
        """Keep an acknowledgement, so that a command that is repeated to the byte gets the same one."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "INSERT OR REPLACE INTO answered VALUES (?, ?, ?, ?)", (command_id, at_ms, sha256, payload)
            )
            self._db.execute(
                "DELETE FROM answered WHERE id IN (SELECT id FROM answered ORDER BY at DESC LIMIT -1 OFFSET ?)",
                (_ANSWERS_KEPT,),
            )

    def close(self) -> None:
        """Close the database; everything in it is already on the disk."""
        self._db.close()

    def _remember(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (name, value))
