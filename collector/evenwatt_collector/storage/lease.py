"""Who of two collectors writes: the rows ``epoch`` and ``beat`` of ``meta``; of a shard ``epoch:NAME`` and so on.

A transaction of the one that holds epoch N looks, inside itself, whether N is still the epoch (``Connection.fence``).
In SQLite nobody else can write meanwhile; in PostgreSQL the row is locked until the commit, so that a swap waits for
it, and whoever is stuck in such a transaction is disconnected by the server on our word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_collector.standby.machine import FREE, Lease
from evenwatt_collector.storage.connection import DatabaseError, of_shard, transaction

if TYPE_CHECKING:
    from evenwatt_collector.storage.connection import Connection

_SWAP_MS: Final = 500
_PUT_BEAT: Final = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_EPOCH: Final = "epoch"
_BEAT: Final = "beat"


class _FasterError(Exception):
    """Somebody else has the lease, or its holder lives."""


def read_lease(connection: Connection) -> Lease:
    """Return the lease; one without an epoch where no collector ever ran.

    Raises:
        DatabaseError: the database does not answer.
    """
    epoch, beat = _names(connection)
    rows: dict[str, int] = dict(connection.rows("SELECT name, value FROM meta WHERE name IN (?, ?)", (epoch, beat)))
    return Lease(rows.get(epoch, 0), rows.get(beat, FREE))


def claim(connection: Connection, seen: Lease, wall_s: int) -> int | None:
    """Take the lease if it is still as it was seen; return the new epoch, or None if somebody was faster.

    The wall clock is a lower bound of the epoch, and so is any other shard's: see ``new_epoch``.

    Raises:
        DatabaseError: nothing was changed.
    """
    epoch = max(seen.epoch + 1, wall_s)
    try:
        with transaction(connection):
            if connection.postgres:
                connection.run(f"SET LOCAL lock_timeout = '{_SWAP_MS}ms'")
            epoch = max(epoch, _highest(connection) + 1)
            _swap(connection, seen, epoch)
    except _FasterError:
        return None
    except DatabaseError:
        if connection.postgres:
            _disconnect_stuck(connection)
        raise
    return epoch


def new_epoch(connection: Connection, wall_s: int) -> tuple[int, bool]:
    """Begin an epoch: return its number, durably above all before it, and whether an earlier one ran here.

    The wall clock is a lower bound, so that a collector with a new, empty database is not refused by nodes that
    remember the epochs of the old one. It is above those of all shards, so that a zone may go from one to another.

    Raises:
        DatabaseError: nothing was changed.
    """
    name, _ = _names(connection)
    with transaction(connection):
        row = connection.rows("SELECT value FROM meta WHERE name = ?", (name,))
        epoch = max(_highest(connection) + 1, wall_s)
        connection.run(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, epoch)
        )
    return epoch, bool(row)


def renew(connection: Connection) -> None:
    """Count the beat up; the connection's fence says in which epoch.

    Raises:
        FencedError: somebody else has the lease.
        DatabaseError: the database does not answer.
    """
    with transaction(connection):
        connection.run("UPDATE meta SET value = value + 1 WHERE name = ?", (_names(connection)[1],))


def give_back(connection: Connection) -> None:
    """Let the standby take over at once.

    Raises:
        DatabaseError: it will notice by itself.
    """
    with transaction(connection):
        connection.run(_PUT_BEAT, (_names(connection)[1], FREE))


def _names(connection: Connection) -> tuple[str, str]:
    return of_shard(_EPOCH, connection.shard), of_shard(_BEAT, connection.shard)


def _highest(connection: Connection) -> int:
    """Return the highest epoch of any shard."""
    found = connection.rows(
        "SELECT COALESCE(MAX(value), 0) FROM meta WHERE name = ? OR name LIKE ?", (_EPOCH, f"{_EPOCH}:%")
    )
    return int(found[0][0])


def _swap(connection: Connection, seen: Lease, epoch: int) -> None:
    name, beat = _names(connection)
    if seen.epoch == 0:
        swapped = connection.run("INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, epoch))
    else:
        swapped = connection.run("UPDATE meta SET value = ? WHERE name = ? AND value = ?", (epoch, name, seen.epoch))
    # The row is ours until the commit: a beat that came since we looked is seen now, and none can come any more.
    if swapped != 1 or read_lease(connection).beat != seen.beat:
        raise _FasterError
    connection.run(_PUT_BEAT, (beat, FREE + 1))


def _disconnect_stuck(connection: Connection) -> None:
    """End the sessions that hold the epoch's row: a stopped process keeps its transaction open for ever."""
    connection.rows(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
        "WHERE l.locktype = 'relation' AND l.relation = 'meta'::regclass AND l.mode = 'RowShareLock' "
        "AND a.state LIKE 'idle in transaction%' AND l.pid <> pg_backend_pid() "
        "AND a.application_name = current_setting('application_name')"
    )
