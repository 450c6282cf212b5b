"""The ledger: each record once, and its energy booked by hour and owner.

Records are on the disk when ``append`` returns. What they come to is kept in memory and written by ``settle``, some
seconds later and for many records at once: a backlog of many minutes of a node then costs one write a row. Whatever
was not settled when the program died is booked again from the ledger: ``zone.booked_ms`` is the last commit that is in.
A zone has one writer at a time; where several share a database, each books its own zones only.

Energy per node and domain stands in ``domain_energy``, by quality; the record as it was received in
``ledger.payload``. Sums over boots and domains are kept in two floats (``carbon.Sum``), so that years of minutes lose
nothing to rounding.

One thread at a time may use an object of this module.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from evenwatt_collector.books import MAX_STRETCHES, BootTotals, Commit, Entry, Span, complete_up_to, cover, holes
from evenwatt_collector.carbon import Sum
from evenwatt_collector.carbon.labels import LabelHistory
from evenwatt_collector.storage.connection import connect, shown, transaction
from evenwatt_collector.storage.hours import Hours, use_of
from evenwatt_collector.storage.identity import ensure
from evenwatt_collector.storage.memory import LABELS, recall, remember_within
from evenwatt_collector.storage.names import Names
from evenwatt_collector.storage.overlap import first_of, holes_of, lacking, remainder, told_by
from evenwatt_collector.storage.schema import Partitions, migrate
from evenwatt_collector.storage.shards import FOREIGN, check_zones, claim_all, claim_zones
from evenwatt_collector.storage.tasks import TaskWork
from evenwatt_wire import Kind, Ledger, Topic, decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evenwatt_collector.carbon.labels import Labels, LabelSettings
    from evenwatt_collector.carbon.shares import Owner
    from evenwatt_collector.storage.connection import Connection

_PUT_BOOT: Final = (
    "INSERT INTO boot (node, boot, zone, records, last_seq, last_total_j, energy_j, energy_low_j, grams, grams_low, "
    "numbers, covered) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (node, boot) DO UPDATE SET "
    "records = excluded.records, last_seq = excluded.last_seq, last_total_j = excluded.last_total_j, "
    "energy_j = excluded.energy_j, energy_low_j = excluded.energy_low_j, grams = excluded.grams, "
    "grams_low = excluded.grams_low, numbers = excluded.numbers, covered = excluded.covered"
)
_PUT_DOMAIN: Final = (
    "INSERT INTO domain_energy (node, domain, quality, energy_j, energy_low_j) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (node, domain, quality) DO UPDATE SET energy_j = excluded.energy_j, "
    "energy_low_j = excluded.energy_low_j"
)
_PUT_RECORD: Final = (
    "INSERT INTO ledger (boot, seq, end_ms, start_ms, stored_ms, arrived_ms, energy_j, quality, payload) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_DOMAINS_KEPT: Final = 200_000
_COMPARED: Final = 200
"""Repeated records of a boot that are compared with what is stored, per transaction."""
_HOLES_TOLD: Final = 100
_MOST_HOLES: Final = 10_000
"""A boot with more holes than this is no honest one; further ones are refused."""


@dataclass(slots=True)
class _Boot:
    """One row of ``boot`` with what is needed to go on from it."""

    number: int
    zone: str
    records: int = 0
    last_seq: int = 0
    last_total_j: float = 0.0
    energy: Sum = field(default_factory=Sum)
    grams: Sum = field(default_factory=Sum)
    numbers: list[Span] = field(default_factory=list)
    """Sequence numbers stored, as stretches."""
    covered: list[Span] = field(default_factory=list)
    """Monotonic time stored, as stretches."""

    def add(self, record: Ledger, weight_g: float, seq: int) -> None:
        """Add a record; ``seq`` is the last number it stands for, whatever number it is stored under."""
        self.records += 1
        self.numbers = cover(self.numbers, first_of(record), seq + 1)
        self.energy.add(record.total.energy_j)
        self.grams.add(weight_g)
        end_ns = max(record.start_mono_ns, record.end_mono_ns)
        self.covered = cover(self.covered, record.start_mono_ns, end_ns)[-MAX_STRETCHES:]
        if seq > self.last_seq:
            self.last_seq, self.last_total_j = seq, record.total.total_j

    def totals(self, node: str, boot: str) -> BootTotals:
        return BootTotals(
            zone=self.zone,
            node=node,
            boot=boot,
            records=self.records,
            mark=complete_up_to(self.numbers),
            missing=holes(self.numbers),
            last_seq=self.last_seq,
            last_total_j=self.last_total_j,
            energy_j=self.energy.value,
            grams=self.grams.value,
            covered=tuple(self.covered),
            lacking=holes_of(self.numbers, _HOLES_TOLD),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one of several collectors has of a database."""

    shard: str
    """Its name; empty for a pair without one."""
    zones: tuple[str, ...]
    url: str = ""
    """Where it is asked."""


class LedgerWriter:
    """The open database, for the one who writes it.

    Args:
        where: A file or a URL.
        slots: Slots an hour by zone's name, where it is not the default.
        labels: Rules for what is no task; they are kept with the books, so that others book as this does.
        fence: The epoch in which alone this may write; None where there is no standby.
        part: What this has of a database that others write too; None where it has all.

    Raises:
        Failure: it cannot be opened or is not ours, or another one has our zones.
    """

    def __init__(
        self,
        where: str,
        slots: Mapping[str, int] | None = None,
        labels: Sequence[LabelSettings] = (),
        fence: int | None = None,
        part: Part | None = None,
    ) -> None:
        self._part = part
        self.connection: Connection = connect(where, fence=fence, shard=part.shard if part else "")
        migrate(self.connection, shown(where))
        self._names = Names(self.connection)
        self._hours = Hours(self.connection)
        self._tasks = TaskWork(self.connection)
        self._partitions = Partitions(self.connection)
        self._boots: dict[tuple[str, str, str], _Boot] = {}
        self._domains: dict[tuple[int, str, str], Sum] = {}
        self._touched: set[tuple[int, str, str]] = set()
        self._zones: dict[int, int] = {}
        """Up to which commit each of our zones is booked on the disk, as of the last catching up."""
        self._touched_zones: set[int] = set()
        self._seen: dict[int, tuple[int, int, int]] = {}
        """From when to when the records of a node reach, and when the first was stored, Unix ms."""
        self._slots = dict(slots or {})
        self.unsettled = 0
        """Records that are in the ledger and not in the books on the disk."""
        self._last_ms = 0
        self._behind = True
        self.identities = ensure(self.connection)
        """What nodes are told of what is held here."""
        with transaction(self.connection):
            self._labels = LabelHistory(recall(self.connection, LABELS))
            if self._labels.change(labels, self._newest_ms() + 1):
                remember_within(self.connection, LABELS, self._labels.rules)
        if part is not None:
            check_zones(self.connection, part.zones, where)
        self.settle()  # of zones that are not ours any more as well: they are let go of when they are in the books
        if part is not None:
            claim_zones(self.connection, part.zones, part.url, where)
            self._behind = True  # some of them may not be ours any more
        else:
            claim_all(self.connection)

    def totals(self) -> tuple[BootTotals, ...]:
        """Return the totals of every boot in our zones."""
        keys = self.connection.rows(
            "SELECT zone.name, node.name, boot.boot FROM boot JOIN node ON node.id = boot.node "
            f"JOIN zone ON zone.id = boot.zone WHERE zone.id NOT IN ({FOREIGN}) ORDER BY boot.id",
            (self.connection.shard,),
        )
        return tuple(self._boot(zone, node, boot).totals(node, boot) for zone, node, boot in keys)

    def append(self, entries: Sequence[Entry], wall_s: float) -> Commit:
        """Store records in one transaction; ``wall_s`` is now.

        Raises:
            DatabaseError: nothing of it was stored.
        """
        touched: dict[tuple[str, str, str], set[int]] = {}
        fresh: list[tuple[object, ...]] = []
        repeated: dict[tuple[str, str, str], list[Entry]] = {}
        conflicts: dict[tuple[str, str], int] = {}
        stored = 0
        arrived_ms = int(wall_s * 1000)
        try:
            with transaction(self.connection):
                self._catch_up()
                stored_ms = max(self._last_ms + 1, arrived_ms)
                rules = self._labels.at(stored_ms)
                for entry in entries:
                    key = (entry.zone, entry.record.node, entry.record.boot)
                    boot = self._boot(*key)
                    seq, missing = entry.record.seq, lacking(boot.numbers, first_of(entry.record), entry.record.seq)
                    if not missing.highest:
                        touched.setdefault(key, set()).add(seq)
                        repeated.setdefault(key, []).append(entry)
                        continue
                    if not missing.whole:
                        self._put(fresh)
                    rest = entry if missing.whole else self._rest_of(boot, entry, missing.highest)
                    if rest is None or len(boot.numbers) > _MOST_HOLES:
                        conflicts[key[:2]] = conflicts.get(key[:2], 0) + 1
                        continue
                    touched.setdefault(key, set()).add(seq)
                    record, stored = rest.record, stored + 1
                    boot.add(record, rest.grams, seq)
                    start_ms, end_ms = self._book(entry.zone, record, stored_ms, arrived_ms, rules)
                    fresh.append(
                        (boot.number, record.seq, end_ms, start_ms, stored_ms, arrived_ms, record.total.energy_j,
                         record.total.quality.value, rest.payload)
                    )  # fmt: skip
                self._put(fresh)
                for key, again in repeated.items():
                    if different := self._different(self._boots[key].number, again):
                        conflicts[key[:2]] = conflicts.get(key[:2], 0) + different
                self.connection.many(_PUT_BOOT, (self._boot_row(key) for key in touched))
        except BaseException:
            self._forget()  # what is in memory is ahead of the disk now, and is read again
            raise
        self._last_ms, self.unsettled = stored_ms, self.unsettled + stored
        totals = {key: self._boots[key].totals(key[1], key[2]) for key in touched}
        beyond = {
            (key[1], key[2]): sorted(seq for seq in touched[key] if seq > boot.mark) for key, boot in totals.items()
        }
        return Commit(tuple(totals.values()), beyond, stored, len(entries) - stored, conflicts)

    def _put(self, fresh: list[tuple[object, ...]]) -> None:
        """Write rows of the ledger, and forget them."""
        self._partitions.ensure("ledger", {int(str(row[2])) for row in fresh})
        self.connection.many(_PUT_RECORD, fresh)
        fresh.clear()

    def _rest_of(self, boot: _Boot, entry: Entry, seq: int) -> Entry | None:
        """Return what a coarse record adds to those of its span that are stored; None if that cannot be told."""
        record, first = entry.record, first_of(entry.record)
        rows = self.connection.rows(
            "SELECT payload FROM ledger WHERE boot = ? AND seq >= ? AND seq <= ?", (boot.number, first, record.seq)
        )
        topic = Topic(entry.zone, record.node, Kind.LEDGER)
        held = [decode(topic, bytes(payload)) for (payload,) in rows]
        known = sorted((one for one in held if isinstance(one, Ledger)), key=first_of)
        if not told_by(known, boot.numbers, first, record.seq):
            return None
        rest = remainder(record, known, seq)
        share = rest.total.energy_j / record.total.energy_j if record.total.energy_j else 0.0
        return replace(entry, record=rest, payload=encode(rest), grams=entry.grams * share)

    def _different(self, boot: int, entries: Sequence[Entry]) -> int:
        """Return how many repeated records are not what is stored under their number; coarse ones may differ."""
        wanted = {entry.record.seq: entry for entry in entries if not entry.record.first_seq}
        numbers = list(wanted)[:_COMPARED]
        if not numbers:
            return 0
        marks = ", ".join("?" * len(numbers))
        sql = f"SELECT seq, payload FROM ledger WHERE boot = ? AND seq IN ({marks})"
        rows = self.connection.rows(sql, (boot, *numbers))
        different = 0
        for seq, payload in rows:
            entry = wanted[seq]
            if bytes(payload) != entry.payload:
                kept = decode(Topic(entry.zone, entry.record.node, Kind.LEDGER), bytes(payload))
                different += isinstance(kept, Ledger) and not kept.first_seq
        return different

    @property
    def due(self) -> bool:
        """Whether there is anything to settle."""
        return self._behind or self.unsettled > 0

    def settle(self) -> None:
        """Write the books of what was appended; queries see it from then on.

        Raises:
            DatabaseError: it will be booked again from the ledger.
        """
        if not self.due:
            return
        try:
            with transaction(self.connection):
                self._catch_up()
                self._save()
        except BaseException:
            self._forget()
            raise
        self.unsettled = 0

    def _newest_ms(self) -> int:
        return int(self.connection.rows("SELECT COALESCE(MAX(stored_ms), 0) FROM ledger")[0][0])

    def close(self) -> None:
        """Close the database."""
        self.connection.close()

    def _book(self, zone_name: str, record: Ledger, stored_ms: int, arrived_ms: int, rules: Labels) -> tuple[int, int]:
        """Add a record to the books in memory; return its place on the wall clock."""
        zone = self._names.zone(zone_name)
        node = self._names.node(zone, record.node)
        self._touched_zones.add(zone)

        def number(owner: Owner) -> tuple[int, int]:
            return self._names.owner(rules.apply(owner, record.node))

        use, start_ms, end_ms = use_of(record, (zone, node), number, self._hours.slots_of(zone), arrived_ms)
        self._hours.book(use, arrived_ms)
        if record.tasks:
            self._tasks.book(record, (zone, node), lambda owner: number(owner)[0], end_ms, arrived_ms)
        for domain in record.domains:
            key = (node, domain.id, domain.quality.value)
            self._domain(key).add(domain.energy_j)
            self._touched.add(key)
        first_ms, last_ms, known_ms = self._seen.get(node, (start_ms, end_ms, stored_ms))
        self._seen[node] = min(first_ms, start_ms), max(last_ms, end_ms), min(known_ms, stored_ms)
        return start_ms, end_ms

    def _catch_up(self) -> None:
        """Book what is in the ledger and not in the books: after a crash, or a transaction that failed."""
        if not self._behind:
            return
        self._zones = self._own_zones()
        newest = self.connection.rows("SELECT COALESCE(MAX(booked_ms), 0) FROM zone")[0][0]
        self._last_ms = max(self._last_ms, self._newest_ms(), newest)
        self._hours.slots = {self._names.zone(zone): count for zone, count in self._slots.items()}
        marks = ", ".join("?" * len(self._zones))
        rows = self.connection.rows(
            "SELECT zone.name, node.name, ledger.stored_ms, ledger.arrived_ms, ledger.payload FROM ledger "
            "JOIN boot ON boot.id = ledger.boot JOIN node ON node.id = boot.node JOIN zone ON zone.id = boot.zone "
            f"WHERE ledger.stored_ms > ? AND ledger.stored_ms > zone.booked_ms AND zone.id IN ({marks}) "
            "ORDER BY ledger.stored_ms, ledger.boot, ledger.seq",
            (min(self._zones.values()), *self._zones),
        ) if self._zones else []  # fmt: skip
        for zone, node, stored_ms, arrived_ms, payload in rows:
            record = decode(Topic(zone, node, Kind.LEDGER), bytes(payload))
            if isinstance(record, Ledger):
                self._book(zone, record, stored_ms, arrived_ms, self._labels.at(stored_ms))
        self.unsettled, self._behind = len(rows), False

    def _save(self) -> None:
        self._partitions.ensure("hour", self._hours.hours_changed())
        self.connection.many(
            _PUT_DOMAIN, ((*key, self._domains[key].high, self._domains[key].low) for key in sorted(self._touched))
        )
        self._touched.clear()
        if len(self._domains) > _DOMAINS_KEPT:
            self._domains.clear()
        self._tasks.flush(self._last_ms)
        self._hours.flush(self._last_ms)
        self.connection.many(
            "UPDATE node SET first_ms = CASE WHEN first_ms < ? THEN first_ms ELSE ? END, "
            "last_ms = CASE WHEN last_ms > ? THEN last_ms ELSE ? END, known_ms = COALESCE(known_ms, ?) WHERE id = ?",
            [(first, first, last, last, known, node) for node, (first, last, known) in self._seen.items()],
        )
        self._seen.clear()
        zones = sorted({*self._zones, *self._touched_zones})
        self.connection.run(
            f"UPDATE zone SET booked_ms = ? WHERE booked_ms < ? AND id IN ({', '.join('?' * len(zones)) or '0'})",
            (self._last_ms, self._last_ms, *zones),
        )
        self.connection.many(
            "INSERT INTO settled (zone, mark_ms) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [(zone, self._last_ms) for zone in sorted(self._touched_zones)],
        )
        self._touched_zones.clear()

    def _own_zones(self) -> dict[int, int]:
        """Return up to which commit each zone is booked that is ours to book, by its number."""
        if self._part is None:
            return dict(self.connection.rows("SELECT id, booked_ms FROM zone"))
        rows = self.connection.rows(
            "SELECT zone.id, zone.booked_ms, zone.name, shard.name FROM zone LEFT JOIN shard ON shard.zone = zone.name"
        )
        ours = self._part.zones
        return {zone: mark for zone, mark, name, shard in rows if name in ours or shard == self._part.shard}

    def _forget(self) -> None:
        self._boots.clear()
        self._touched_zones.clear()
        self._domains.clear()
        self._touched.clear()
        self._seen.clear()
        self._names.forget()
        self._hours.forget()
        self._tasks.forget()
        self._partitions.forget()
        self._behind, self.unsettled = True, 0

    def _domain(self, key: tuple[int, str, str]) -> Sum:
        total = self._domains.get(key)
        if total is None:
            row = self.connection.rows(
                "SELECT energy_j, energy_low_j FROM domain_energy WHERE node = ? AND domain = ? AND quality = ?", key
            )
            total = self._domains[key] = Sum(*row[0]) if row else Sum()
        return total

    def _boot(self, zone: str, node: str, boot: str) -> _Boot:
        known = self._boots.get((zone, node, boot))
        if known is None:
            known = self._boots[zone, node, boot] = self._load(zone, node, boot)
        return known

    def _load(self, zone: str, node: str, boot: str) -> _Boot:
        number = self._names.node(self._names.zone(zone), node)
        row = self.connection.rows(
            "SELECT id, records, last_seq, last_total_j, energy_j, energy_low_j, grams, grams_low, numbers, covered "
            "FROM boot WHERE node = ? AND boot = ?",
            (number, boot),
        )
        if not row:
            made = self.connection.rows(
                "INSERT INTO boot (node, boot, zone, records, last_seq, last_total_j, energy_j, energy_low_j, grams, "
                "grams_low, numbers, covered) VALUES (?, ?, ?, 0, 0, 0, 0, 0, 0, 0, '[]', '[]') RETURNING id",
                (number, boot, self._names.zone(zone)),
            )
            return _Boot(int(made[0][0]), zone)
        found, records, last_seq, last_total_j, energy, energy_low, weight, weight_low, numbers, covered = row[0]
        return _Boot(
            number=found,
            zone=zone,
            records=records,
            last_seq=last_seq,
            last_total_j=last_total_j,
            energy=Sum(energy, energy_low),
            grams=Sum(weight, weight_low),
            numbers=[(start, end) for start, end in json.loads(numbers)],
            covered=[(start, end) for start, end in json.loads(covered)],
        )

    def _boot_row(self, key: tuple[str, str, str]) -> tuple[object, ...]:
        zone, node, boot = key
        book, number = self._boots[key], self._names.zone(zone)
        return (
            self._names.node(number, node), boot, number, book.records, book.last_seq, book.last_total_j,
            book.energy.high, book.energy.low, book.grams.high, book.grams.low, json.dumps(book.numbers),
            json.dumps(book.covered),
        )  # fmt: skip
