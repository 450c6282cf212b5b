"""Values with a history: what was learned, a frozen baseline, a table of models; the newest of a kind and name counts.

A document is never changed. What supersedes it is put beside it under a later moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import msgspec

from evenwatt_collector.storage.connection import transaction

if TYPE_CHECKING:
    from evenwatt_collector.storage.connection import Connection

T = TypeVar("T")


class Document(NamedTuple):
    """One version of a document."""

    kind: str
    name: str
    at_s: float
    """Since when it counts, Unix time."""
    value: Any
    """As JSON gives it: dicts, lists, texts, numbers; ``msgspec.convert`` makes a Struct of it."""


def put_document(connection: Connection, kind: str, name: str, value: object, at_s: float) -> None:
    """Keep a value (whatever msgspec can write as JSON) as the version of ``at_s``, Unix time.

    A second one of the very same moment takes the place of the first.

    Raises:
        DatabaseError: it was not stored.
    """
    with transaction(connection):
        connection.run(
            "INSERT INTO document (kind, name, at_s, value) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (kind, name, at_s) DO UPDATE SET value = excluded.value",
            (kind, name, float(at_s), msgspec.json.encode(value).decode()),
        )


def documents(
    connection: Connection, kind: str, name: str | None = None, *, since_s: float = 0.0, limit: int = 1_000
) -> list[Document]:
    """Return the versions of a kind, the newest first; those of one name only if it is given.

    Raises:
        DatabaseError: the database cannot be read.
    """
    which, parameters = ("", ()) if name is None else ("AND name = ? ", (name,))
    rows = connection.rows(
        f"SELECT kind, name, at_s, value FROM document WHERE kind = ? {which}AND at_s >= ? "
        "ORDER BY at_s DESC, name LIMIT ?",
        (kind, *parameters, float(since_s), limit),
    )
    return [Document(row[0], row[1], float(row[2]), msgspec.json.decode(row[3])) for row in rows]


def latest_documents(connection: Connection, kind: str) -> list[Document]:
    """Return the newest version of every document of a kind, by name.

    Raises:
        DatabaseError: the database cannot be read.
    """
    rows = connection.rows(
        "SELECT kind, name, at_s, value FROM document AS d WHERE kind = ? AND at_s = "
        "(SELECT MAX(at_s) FROM document AS newer WHERE newer.kind = d.kind AND newer.name = d.name) ORDER BY name",
        (kind,),
    )
    return [Document(row[0], row[1], float(row[2]), msgspec.json.decode(row[3])) for row in rows]


@overload
def latest_document(connection: Connection, kind: str, name: str) -> Any: ...
@overload
def latest_document(connection: Connection, kind: str, name: str, form: type[T]) -> T | None: ...
def latest_document(connection: Connection, kind: str, name: str, form: Any = Any) -> Any:
    """Return the newest value of a document, as a ``form`` if one is given; None if there is none.

    Raises:
        DatabaseError: the database cannot be read.
        msgspec.ValidationError: it is not of that form.
    """
    rows = connection.rows(
        "SELECT value FROM document WHERE kind = ? AND name = ? ORDER BY at_s DESC LIMIT 1", (kind, name)
    )
    return msgspec.json.decode(rows[0][0], type=form) if rows else None
