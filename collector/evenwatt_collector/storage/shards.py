"""Which of several collectors on one database has which zone: a zone has one, or nobody's commands could be trusted.

A collector that has a shard (``[shard]``) claims its zones when it becomes active, and lets go of those that are not in
its settings any more, once all that it has stored of them is in the books. Nobody takes a zone that another one has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from evenwatt_collector.storage.connection import shard_key, shown, transaction
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.storage.connection import Connection

FOREIGN: Final = "SELECT zone.id FROM zone JOIN shard ON shard.zone = zone.name WHERE shard.name <> ?"
"""Numbers of the zones that other shards have; its parameter is our own."""

_LOCKS: Final = (
    "SELECT classid::bigint << 32 | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 "
    "AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Advisory locks that somebody has on this database: every collector has that of its shard."""


class Shard(NamedTuple):
    """A shard and what it has."""

    name: str
    """Empty: collectors without a shard."""
    url: str
    """Where it is asked; empty if that was not said."""
    zones: tuple[str, ...]
    connected: bool
    """Whether a collector of it has a connection to the database now."""


def shards(connection: Connection) -> list[Shard]:
    """Return all shards that have zones, by name.

    Raises:
        DatabaseError: the database does not answer.
    """
    found: dict[str, tuple[str, list[str]]] = {}
    for zone, name, url in connection.rows("SELECT zone, name, url FROM shard ORDER BY name, zone"):
        found.setdefault(name, (url, []))[1].append(zone)
    locks = {int(row[0]) for row in connection.rows(_LOCKS)} if connection.postgres and found else set()
    return [Shard(name, url, tuple(zones), shard_key(name) in locks) for name, (url, zones) in found.items()]


def shard_of(connection: Connection, zone: int) -> str:
    """Return which shard has a zone (by its number); empty if none has."""
    row = connection.rows("SELECT shard.name FROM shard JOIN zone ON zone.name = shard.zone WHERE zone.id = ?", (zone,))
    return str(row[0][0]) if row else ""


def check_zones(connection: Connection, zones: Sequence[str], where: str) -> None:
    """See that no other shard has one of these zones.

    Raises:
        Failure: one has; the text says which, and the fix.
        DatabaseError: the database does not answer.
    """
    taken = {zone: shard.name for shard in shards(connection) for zone in shard.zones if shard.name != connection.shard}
    for zone in zones:
        if zone in taken:
            other = f"shard {taken[zone]!r}" if taken[zone] else "a collector without a shard"
            raise Failure(
                f"{shown(where)}: zone {zone!r} belongs to {other}, and never have two collectors one zone; take it "
                f"out of that one's [[zones]] and restart it, or if it is gone for good: "
                f"evenwatt ledger release {zone} --database URL"
            )


def claim_zones(connection: Connection, zones: Sequence[str], url: str, where: str) -> None:
    """Claim zones for the connection's shard, and let go of all others that it had.

    Raises:
        Failure: another shard has one of them; nothing was changed.
        DatabaseError: nothing was changed.
    """
    with transaction(connection):
        check_zones(connection, zones, where)
        connection.run("DELETE FROM shard WHERE name = ?", (connection.shard,))
        connection.many(
            "INSERT INTO shard (zone, name, url) VALUES (?, ?, ?) ON CONFLICT (zone) DO NOTHING",
            [(zone, connection.shard, url) for zone in zones],
        )
        check_zones(connection, zones, where)  # another one may have been faster


def claim_all(connection: Connection) -> None:
    """Forget all claims: this one has the database for itself, and nobody else can begin.

    Raises:
        DatabaseError: nothing was changed.
    """
    if shards(connection):
        with transaction(connection):
            connection.run("DELETE FROM shard")


def release(connection: Connection, zone: str, where: str) -> str:
    """Take a zone from a shard whose collectors are gone for good; return the shard's name.

    Raises:
        Failure: nobody has it, or a collector of that shard is connected.
        DatabaseError: nothing was changed.
    """
    has = next((shard.name for shard in shards(connection) if zone in shard.zones), None)
    if has is None:
        raise Failure(f"{shown(where)}: no shard has a zone {zone!r}; there is nothing to release")
    if connection.postgres and not _alone(connection, shard_key(has)):
        other = f"of shard {has!r}" if has else "without a shard"
        raise Failure(
            f"{shown(where)}: a collector {other} is at work, and zone {zone!r} is its; take the zone out of its "
            "[[zones]] and restart it"
        )
    with transaction(connection):
        connection.run("DELETE FROM shard WHERE zone = ? AND name = ?", (zone, has))
    return has


def _alone(connection: Any, key: int) -> bool:
    """Take the shard's lock until the connection ends: its collectors cannot begin meanwhile."""
    return bool(connection.rows("SELECT pg_try_advisory_lock(?)", (key,))[0][0])
