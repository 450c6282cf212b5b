"""What parts of the collector remember over a restart: one JSON value a name, and each shard has its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.storage.connection import of_shard, transaction

if TYPE_CHECKING:
    from evenwatt_collector.storage.connection import Connection


LABELS: Final = "labels"


def remember(connection: Connection, name: str, value: object) -> None:
    """Keep a JSON-able value.

    Raises:
        DatabaseError: it was not stored.
    """
    with transaction(connection):
        remember_within(connection, name, value)


def remember_within(connection: Connection, name: str, value: object) -> None:
    """Keep a JSON-able value, within the caller's transaction."""
    connection.run(
        "INSERT INTO memory (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (of_shard(name, connection.shard), msgspec.json.encode(value).decode()),
    )


def recall(connection: Connection, name: str, shard: str | None = None) -> Any:
    """Return what was kept, by another shard if one is named; None if nothing was, or it is damaged."""
    name = of_shard(name, connection.shard if shard is None else shard)
    row = connection.rows("SELECT value FROM memory WHERE name = ?", (name,))
    try:
        return msgspec.json.decode(row[0][0]) if row else None
    except msgspec.DecodeError:
        return None
