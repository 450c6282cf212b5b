"""The name of what a database holds. Nodes that meet a new name send all that they still keep.

A new, empty database has a new name, so it fills again from the nodes by itself. ``evenwatt ledger rebuild`` gives a
zone a new one where only a part was lost: what is there already is not counted twice. All shards have it in common.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from evenwatt_collector.storage.connection import transaction
from evenwatt_collector.storage.memory import recall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_collector.storage.connection import Connection

_NAME: Final = "identity"
_ALL: Final = ""
_SHARED: Final = ""
_PUT: Final = "INSERT INTO memory (name, value) VALUES (?, ?) ON CONFLICT (name)"


class Identity(NamedTuple):
    """What nodes of a zone are told."""

    ledger: str
    since_ms: int
    """Records that ended earlier are not asked for, Unix ms."""


def identities(connection: Connection) -> dict[str, Identity]:
    """Return the names by zone; that of the empty zone is for all others. Empty before there is one.

    Raises:
        DatabaseError: the database does not answer.
    """
    known = recall(connection, _NAME, shard=_SHARED)
    return {zone: Identity(str(one[0]), int(one[1])) for zone, one in known.items()} if isinstance(known, dict) else {}


def ensure(connection: Connection) -> dict[str, Identity]:
    """Name a database that has no name yet; return the names.

    Raises:
        DatabaseError: that was not possible.
    """
    with transaction(connection):
        known = identities(connection)
        if _ALL not in known:
            connection.run(f"{_PUT} DO NOTHING", (_NAME, _said({_ALL: Identity(_new(), 0)})))
            known = identities(connection)  # another one may have been faster
    return known


def renew(connection: Connection, zone: str, since_ms: int) -> Identity:
    """Give what is held of a zone a new name: its nodes will send again what ended since a moment (Unix ms).

    Raises:
        DatabaseError: it keeps its name.
    """
    fresh = Identity(_new(), since_ms)
    with transaction(connection):
        known = _said({**identities(connection), zone: fresh})
        connection.run(f"{_PUT} DO UPDATE SET value = excluded.value", (_NAME, known))
    return fresh


def identity_of(known: Mapping[str, Identity], zone: str) -> Identity:
    """Return what a zone's nodes are told."""
    return known.get(zone) or known.get(_ALL) or Identity("", 0)


def _new() -> str:
    return secrets.token_hex(8)


def _said(known: Mapping[str, Identity]) -> str:
    return msgspec.json.encode({zone: list(one) for zone, one in known.items()}).decode()
