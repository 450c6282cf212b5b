"""One way to speak to SQLite and PostgreSQL: a path opens the first, ``postgresql://...`` the second.

SQL is written once, with ``?`` for parameters, in what both understand (``ON CONFLICT``, ``RETURNING``). Types in the
schema are SQLite's and are put into PostgreSQL's words where tables are made.

SQLite runs in WAL mode with ``synchronous=FULL``: a commit is on the disk before it is acknowledged, because a node
deletes its only copy on that word. PostgreSQL's own default is as strict.
"""

from __future__ import annotations

import sqlite3
import time
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from evenwatt_collector.storage.patience import PATIENCE
from evenwatt_daemon import EXIT_FAILURE, EXIT_USAGE, Failure

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

BUSY_MS: Final = 2_000
_RETRY_S: Final = 0.02
HUNG_S: Final = 75.0
"""A server that has not answered for longer than its own limit for a statement hangs."""
_GREETING_S: Final = 10.0
_UNANSWERED_MS: Final = 10_000
"""A server whose machine has vanished is given up after that long."""
APPLICATION: Final = 0x45565754
"""``EVWT`` in a SQLite file's header: this database is ours."""
_LOCK: Final = 0x45565754
"""Advisory lock of the one collector that writes a PostgreSQL database; several that know of each other share it, and
keep out one that does not. A second one, by the name of their shard, is had by one collector, or shared by a pair."""

_NONE: Final[tuple[bool, ...]] = ()
_ALONE: Final = (True, True)
_OF_SHARD: Final = (False, True)
_OF_PAIR: Final = (False, False)
"""Whether each of the two is had exclusively."""

Rows = list[tuple[Any, ...]]


class DatabaseError(Exception):
    """Something was not done; nothing of the transaction was stored. The text is the database's own."""


class FencedError(DatabaseError):
    """Another collector has taken over: nothing that this one says is written any more."""


class Connection(Protocol):
    """One connection; one thread at a time may use it."""

    postgres: bool
    fence: int | None
    """Epoch that must still be the shard's for a transaction to write; None where there is no standby."""
    shard: str
    """Of several that write one database, which one this is; empty where there is one."""

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        """Run a statement and return what it yields; raises DatabaseError."""

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; return how many rows it changed; raises DatabaseError."""

    def many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each set of parameters; raises DatabaseError."""

    def begin(self) -> None:
        """Begin a transaction that writes; raises DatabaseError, FencedError if another epoch is in force."""

    def begin_reading(self) -> None:
        """Begin a transaction in which every query sees the same moment; raises DatabaseError."""

    def commit(self) -> None:
        """Make it durable; raises DatabaseError."""

    def rollback(self) -> None:
        """Forget it; never raises."""

    def close(self) -> None:
        """Close; never raises."""


@contextmanager
def transaction(connection: Connection) -> Generator[None]:
    """Run what is inside as one transaction."""
    connection.begin()
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


@contextmanager
def snapshot(connection: Connection) -> Generator[None]:
    """Let all queries inside see one moment, whatever is written meanwhile."""
    connection.begin_reading()
    try:
        yield
    finally:
        connection.rollback()


def is_url(where: str) -> bool:
    """Whether a database is named by a URL and not by a file."""
    return where.startswith(("postgresql://", "postgres://"))


def shown(where: str) -> str:
    """Return a database's name without its password."""
    if not is_url(where):
        return where
    parts = urlsplit(where)
    host = parts.hostname or ""
    return f"postgresql://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def connect(
    where: str,
    *,
    write: bool = True,
    exclusive: bool = True,
    shared: bool = False,
    fence: int | None = None,
    shard: str = "",
) -> Connection:
    """Open a database.

    Args:
        where: A file or a URL.
        write: Whether it is to be written.
        exclusive: Whether this is the one connection that writes the ledger: it makes the file where there is none,
            and PostgreSQL lets nobody else be that.
        shared: It is one of two collectors that agree by a lease who writes.
        fence: The epoch of that lease.
        shard: Which of several that each write for zones of their own.

    Raises:
        Failure: it cannot be opened or is not ours, naming it and the fix.
    """
    if is_url(where):
        paired = shared or fence is not None
        lock = _OF_PAIR if paired else _OF_SHARD if shard else _ALONE
        return Postgres(where, lock=lock if write and exclusive else _NONE, fence=fence, shard=shard)
    return Sqlite(Path(where), write=write, create=exclusive, fence=fence)


def _check_fence(connection: Connection) -> None:
    if connection.fence is None:
        return
    locked = " FOR SHARE" if connection.postgres else ""
    rows = connection.rows(f"SELECT value FROM meta WHERE name = ?{locked}", (of_shard("epoch", connection.shard),))
    if not rows or rows[0][0] != connection.fence:
        now = rows[0][0] if rows else "none"
        raise FencedError(f"epoch {connection.fence} has ended, the database is at {now}: another collector is active")


def of_shard(name: str, shard: str) -> str:
    """Return under which name a shard keeps what others have under the plain one."""
    return f"{name}:{shard}" if shard else name


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return -1


class Sqlite:
    """A SQLite file."""

    postgres = False
    shard = ""

    def __init__(self, path: Path, *, write: bool, create: bool, fence: int | None = None) -> None:
        self.fence = fence
        try:
            if write:
                if not create and not path.exists():
                    raise Failure(f"{path}: no such database; name a collector's with --database")
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            else:
                uri = f"{path.absolute().as_uri()}?mode=ro"
                self._db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            self._db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            self._check(write=write)
            self._path, self._inode = path, _inode(path)
        except sqlite3.OperationalError as error:  # locked, full, no such folder: some of these pass
            wait = "locked" in str(error) or "full" in str(error)
            raise Failure(
                f"{path}: {error}; the folder must exist, have room and be writable by this user",
                exit_code=EXIT_FAILURE if wait else EXIT_USAGE,
            ) from None
        except sqlite3.DatabaseError as error:
            raise Failure(f"{path}: {error}; move it away or name another file with 'database'") from None

    def _check(self, *, write: bool) -> None:
        # In this order: another collector may be making it, and marks it as ours before it makes a table.
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        ours = self._db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION
        if not ours and (not write or tables):
            raise sqlite3.DatabaseError("not a database of evenwatt")
        if write:
            self._into_wal()
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA cache_size=-65536")  # 64 MiB: a backlog touches many pages of the index
            self._db.execute(f"PRAGMA application_id={APPLICATION}")

    def _into_wal(self) -> None:
        # SQLite does not wait for this one by itself, and a pair of collectors may open the file at the same moment.
        until_s = time.monotonic() + BUSY_MS / 1e3
        while not self._is_wal():
            if time.monotonic() >= until_s:
                raise sqlite3.OperationalError("database is locked")
            time.sleep(_RETRY_S)

    def _is_wal(self) -> bool:
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            return False
        return True

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        """See Connection."""
        try:
            return self._db.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise DatabaseError(str(error)) from error

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """See Connection."""
        try:
            return self._db.execute(sql, parameters).rowcount
        except sqlite3.Error as error:
            raise DatabaseError(str(error)) from error

    def many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """See Connection."""
        try:
            self._db.executemany(sql, parameters)
        except sqlite3.Error as error:
            raise DatabaseError(str(error)) from error

    def begin(self) -> None:
        """See Connection."""
        if _inode(self._path) != self._inode:
            raise DatabaseError(f"{self._path} was removed or replaced; what is written now would be lost: start anew")
        self.run("BEGIN IMMEDIATE")
        try:
            _check_fence(self)
        except DatabaseError:
            self.rollback()
            raise

    def begin_reading(self) -> None:
        """See Connection."""
        self.run("BEGIN")

    def commit(self) -> None:
        """See Connection."""
        self.run("COMMIT")

    def rollback(self) -> None:
        """See Connection."""
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        """See Connection."""
        self._db.close()


def shard_key(shard: str) -> int:
    """Return the number of a shard's advisory lock."""
    return _LOCK << 32 | zlib.crc32(shard.encode())


def _locked(db: Any, key: int, *, alone: bool) -> bool:
    row = db.execute(f"SELECT pg_try_advisory_lock{'' if alone else '_shared'}(%s)", (key,)).fetchone()
    return bool(row and row[0])


def _clean(parameters: Sequence[Any]) -> Sequence[Any]:
    """Return parameters without zero bytes: a text with one is none to PostgreSQL, and nodes may send it."""
    if any(type(value) is str and "\0" in value for value in parameters):
        return [
            value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
            for value in parameters
        ]
    return parameters


class Postgres:
    """A PostgreSQL database; connects again by itself where a transaction begins."""

    postgres = True

    def __init__(self, url: str, *, lock: tuple[bool, ...], fence: int | None = None, shard: str = "") -> None:
        self.fence, self.shard = fence, shard
        try:
            import psycopg  # noqa: PLC0415  (only who uses PostgreSQL has it)
        except ImportError:
            raise Failure(f"{shown(url)}: psycopg is missing; pip install 'evenwatt[postgres]'") from None
        self._psycopg, self._url, self._lock = psycopg, url, lock
        self._words: dict[str, str] = {}
        self._within = False
        try:
            self._db = self._connect()
        except psycopg.OperationalError as error:
            why = str(error).strip().splitlines()[0]
            raise Failure(
                f"{shown(url)}: {why}; see whether it runs and the URL is right", exit_code=EXIT_FAILURE
            ) from None
        except DatabaseError as error:
            raise Failure(f"{shown(url)}: {error}") from None

    def _connect(self) -> Any:
        db = self._psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=5,
            application_name=of_shard("evenwatt", self.shard),
            tcp_user_timeout=_UNANSWERED_MS,
        )
        with PATIENCE.within(_GREETING_S, db):
            db.execute("SET statement_timeout = '60s'")
            db.execute("SET TIME ZONE 'UTC'")
            locked = all(_locked(db, key, alone=alone) for key, alone in zip(self._keys(), self._lock, strict=False))
        if not locked:
            db.close()
            whose = f" of shard {self.shard!r}" if self.shard else ""
            raise DatabaseError(
                f"another collector{whose} writes to this database; stop it, or name another 'database', or a shard "
                "for each (docs/scale.md)"
            )
        return db

    def _keys(self) -> tuple[int, int]:
        return _LOCK, shard_key(self.shard)

    def _say(self, sql: str) -> str:
        said = self._words.get(sql)
        if said is None:
            said = self._words[sql] = sql.replace("%", "%%").replace("?", "%s")
        return said

    def _live(self) -> Any:
        """Return the connection, a new one if the server has let go of the old; never within a transaction."""
        if not self._within and (self._db.closed or self._db.broken):
            self._db = self._connect()
        return self._db

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        """See Connection."""
        try:
            db = self._live()
            with PATIENCE.within(HUNG_S, db):
                found: Rows = db.execute(self._say(sql), _clean(parameters)).fetchall()
        except self._psycopg.Error as error:
            raise DatabaseError(str(error)) from error
        return found

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """See Connection."""
        try:
            db = self._live()
            with PATIENCE.within(HUNG_S, db):
                return int(db.execute(self._say(sql), _clean(parameters)).rowcount)
        except self._psycopg.Error as error:
            raise DatabaseError(str(error)) from error

    def many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """See Connection."""
        try:
            db = self._live()
            with PATIENCE.within(HUNG_S, db), db.cursor() as cursor:
                cursor.executemany(self._say(sql), map(_clean, parameters))
        except self._psycopg.Error as error:
            raise DatabaseError(str(error)) from error

    def begin(self) -> None:
        """See Connection."""
        self._begin("BEGIN")
        try:
            _check_fence(self)
        except DatabaseError:
            self.rollback()
            raise

    def begin_reading(self) -> None:
        """See Connection."""
        self._begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def _begin(self, how: str) -> None:
        self.run(how)
        self._within = True

    def commit(self) -> None:
        """See Connection."""
        self.run("COMMIT")
        self._within = False

    def rollback(self) -> None:
        """See Connection."""
        self._within = False
        try:
            with PATIENCE.within(_GREETING_S, self._db):
                self._db.execute("ROLLBACK")
        except self._psycopg.Error:
            self._db.close()  # what is broken is opened anew at the next statement

    def close(self) -> None:
        """See Connection."""
        self._db.close()
