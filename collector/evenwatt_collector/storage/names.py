"""Numbers for zones, nodes and owners, kept in memory; new ones are written with the transaction that needs them.

Several may name the same owner at one time: one of them waits for the other, and takes its number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.shares import Owner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.storage.connection import Connection

_OWNERS_KEPT: Final = 200_000
"""Tasks come and go; beyond this the numbers are asked for again."""


_FIND_OWNER: Final = (
    "SELECT id, label FROM owner WHERE kind = ? AND name = ? AND workload = ? AND model = ? AND phase = ? "
    "AND team = ? AND task = ?"
)


class Names:
    """The numbers of one connection; ``forget`` after a rollback."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._zones: dict[str, int] = {}
        self._nodes: dict[tuple[int, str], int] = {}
        self._owners: dict[Owner, tuple[int, int]] = {}

    def forget(self) -> None:
        """Look everything up again: some of it may not be on the disk."""
        self._zones.clear()
        self._nodes.clear()
        self._owners.clear()

    def zone(self, name: str) -> int:
        """Return a zone's number."""
        found = self._zones.get(name)
        if found is None:
            found = self._zones[name] = self._number(
                "SELECT id FROM zone WHERE name = ?",
                "INSERT INTO zone (name) VALUES (?) ON CONFLICT DO NOTHING RETURNING id",
                (name,),
            )
        return found

    def node(self, zone: int, name: str) -> int:
        """Return a node's number."""
        found = self._nodes.get((zone, name))
        if found is None:
            found = self._nodes[zone, name] = self._number(
                "SELECT id FROM node WHERE zone = ? AND name = ?",
                "INSERT INTO node (zone, name) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING id",
                (zone, name),
            )
        return found

    def owner(self, owner: Owner) -> tuple[int, int]:
        """Return an owner's number and its label's."""
        found = self._owners.get(owner)
        if found is None:
            if len(self._owners) >= _OWNERS_KEPT:
                self._owners.clear()
            found = self._owners[owner] = self._owner(owner)
        return found

    def _owner(self, owner: Owner) -> tuple[int, int]:
        label = self.owner(owner.label)[0] if owner.label != owner else 0
        values = (owner.kind, owner.name, owner.workload, owner.model, owner.phase, owner.team, owner.task)
        row = self._connection.rows(_FIND_OWNER, values)
        if row:
            return int(row[0][0]), int(row[0][1])
        made = self._connection.rows(
            "INSERT INTO owner (label, kind, name, workload, model, phase, team, task) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
            (label, *values),
        )
        if not made:
            row = self._connection.rows(_FIND_OWNER, values)
            return int(row[0][0]), int(row[0][1])
        number = int(made[0][0])
        if not label:
            self._connection.run("UPDATE owner SET label = id WHERE id = ?", (number,))
        return number, label or number

    def _number(self, find: str, make: str, values: tuple[object, ...]) -> int:
        ask = self._connection.rows
        return int((ask(find, values) or ask(make, values) or ask(find, values))[0][0])


def owners(connection: Connection, numbers: Iterable[int]) -> dict[int, Owner]:
    """Return owners by number."""
    wanted = set(numbers)
    fields = "id, kind, name, workload, model, phase, team, task"
    if len(wanted) > _MOST_ASKED:
        rows = connection.rows(f"SELECT {fields} FROM owner")
    else:
        marks = ", ".join("?" * len(wanted))
        rows = connection.rows(f"SELECT {fields} FROM owner WHERE id IN ({marks})", tuple(wanted)) if wanted else []
    return {row[0]: Owner(*row[1:]) for row in rows if row[0] in wanted}


_MOST_ASKED: Final = 500
