"""Who of two collectors writes: the rows ``epoch`` and ``beat`` of ``meta``.

A transaction of the one that holds epoch N looks, inside itself, whether N is still the epoch (``Connection.fence``).
In SQLite nobody else can write meanwhile; in PostgreSQL the row is locked until the commit, so that a swap waits for
it, and whoever is stuck in such a transaction is disconnected by the server on our word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_collector.standby.machine import FREE, Lease
from evenwatt_collector.storage.connection import DatabaseError, transaction

if TYPE_CHECKING:
    from evenwatt_collector.storage.connection import Connection

_SWAP_MS: Final = 500
_PUT_BEAT: Final = "INSERT INTO meta VALUES ('beat', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class _FasterError(Exception):
    """Somebody else has the lease, or its holder lives."""


def read_lease(connection: Connection) -> Lease:
    """Return the lease; one without an epoch where no collector ever ran.

    Raises:
        DatabaseError: the database does not answer.
    """
    rows: dict[str, int] = dict(connection.rows("SELECT name, value FROM meta WHERE name IN ('epoch', 'beat')"))
    return Lease(rows.get("epoch", 0), rows.get("beat", FREE))


def claim(connection: Connection, seen: Lease, wall_s: int) -> int | None:
    """Take the lease if it is still as it was seen; return the new epoch, or None if somebody was faster.

    The wall clock is a lower bound of the epoch, see ``LedgerWriter.new_epoch``.

    Raises:
        DatabaseError: nothing was changed.
    """
    epoch = max(seen.epoch + 1, wall_s)
    try:
        with transaction(connection):
            if connection.postgres:
                connection.run(f"SET LOCAL lock_timeout = '{_SWAP_MS}ms'")
            _swap(connection, seen, epoch)
    except _FasterError:
        return None
    except DatabaseError:
        if connection.postgres:
            _disconnect_stuck(connection)
        raise
    return epoch


def renew(connection: Connection) -> None:
    """Count the beat up; the connection's fence says in which epoch.

    Raises:
        FencedError: somebody else has the lease.
        DatabaseError: the database does not answer.
    """
    with transaction(connection):
        connection.run("UPDATE meta SET value = value + 1 WHERE name = 'beat'")


def give_back(connection: Connection) -> None:
    """Let the standby take over at once.

    Raises:
        DatabaseError: it will notice by itself.
    """
    with transaction(connection):
        connection.run(_PUT_BEAT, (FREE,))


def _swap(connection: Connection, seen: Lease, epoch: int) -> None:
    if seen.epoch == 0:
        swapped = connection.run("INSERT INTO meta VALUES ('epoch', ?) ON CONFLICT (name) DO NOTHING", (epoch,))
    else:
        swapped = connection.run("UPDATE meta SET value = ? WHERE name = 'epoch' AND value = ?", (epoch, seen.epoch))
    # The row is ours until the commit: a beat that came since we looked is seen now, and none can come any more.
    if swapped != 1 or read_lease(connection).beat != seen.beat:
        raise _FasterError
    connection.run(_PUT_BEAT, (FREE + 1,))


def _disconnect_stuck(connection: Connection) -> None:
    """End the sessions that hold the epoch's row: a stopped process keeps its transaction open for ever."""
    connection.rows(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
        "WHERE l.locktype = 'relation' AND l.relation = 'meta'::regclass AND l.mode = 'RowShareLock' "
        "AND a.state LIKE 'idle in transaction%' AND l.pid <> pg_backend_pid()"
    )
