"""What the ledger holds, added up: the loop's picture of the store. Pure; the store tells it after each commit."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_wire import Ledger

Span = tuple[int, int]
"""From a start up to, and without, an end: nanoseconds of the node's monotonic clock, or sequence numbers."""

MAX_STRETCHES: Final = 1_000
"""Stretches of time kept per boot; a boot with more holes than this has other problems."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record on its way into the store."""

    zone: str
    record: Ledger
    payload: bytes
    grams: float
    """What it weighs by what is known of the grid on its arrival; reports count by what is known later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootTotals:
    """Everything stored for one boot of one node."""

    zone: str
    node: str
    boot: str
    records: int
    mark: int
    """Every record up to this one is stored."""
    missing: int
    """Records that are known to exist and are not stored."""
    last_seq: int
    last_total_j: float
    """The node's cumulative counter at the end of record ``last_seq``."""
    energy_j: float
    grams: float
    covered: tuple[Span, ...]
    """What the records cover, touching ones merged."""
    lacking: tuple[Span, ...] = ()
    """First and last number of each run of missing records, the lowest runs."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction brought. It is on the disk."""

    totals: tuple[BootTotals, ...]
    """Every boot that had a record in it, doubled ones too: a node that sends twice has missed our answer."""
    beyond: dict[tuple[str, str], list[int]]
    """By node and boot: records of this transaction above the boot's mark, below which there is still a hole."""
    stored: int
    duplicate: int
    conflicts: dict[tuple[str, str], int] = field(default_factory=dict)
    """By zone and node: records that do not fit what is stored under their number; the first one is kept."""


@dataclass(slots=True)
class NodeBooks:
    """One node's boots."""

    boots: dict[str, BootTotals]

    @property
    def energy_j(self) -> float:
        """Energy of all stored records."""
        return fsum(boot.energy_j for boot in self.boots.values())

    @property
    def grams(self) -> float:
        """Emissions of all stored records."""
        return fsum(boot.grams for boot in self.boots.values())

    @property
    def covered(self) -> list[Span]:
        """Stretches of the node's monotonic clock that are stored, boot by boot."""
        return [span for boot in self.boots.values() for span in boot.covered]


class Books:
    """All nodes, and the counts that the status document shows."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], NodeBooks] = {}
        self._zones: dict[str, list[NodeBooks]] = {}
        self.duplicate = 0
        """Records that came more than once since this collector started."""
        self._conflicts: dict[tuple[str, str], int] = {}

    def fold(self, commit: Commit) -> None:
        """Take in what a commit brought."""
        self.duplicate += commit.duplicate
        for key, count in commit.conflicts.items():
            self._conflicts[key] = self._conflicts.get(key, 0) + count
        self.load(commit.totals)

    def load(self, totals: Iterable[BootTotals]) -> None:
        """Take in totals as they stand in the store."""
        for boot in totals:
            books = self._nodes.get((boot.zone, boot.node))
            if books is None:
                books = self._nodes[boot.zone, boot.node] = NodeBooks({})
                self._zones.setdefault(boot.zone, []).append(books)
            books.boots[boot.boot] = boot

    def node(self, zone: str, node: str) -> NodeBooks:
        """Return a node's books, empty ones if nothing is stored."""
        return self._nodes.get((zone, node)) or NodeBooks({})

    @property
    def conflicts(self) -> int:
        """Records that did not fit what is stored, since this collector started."""
        return sum(self._conflicts.values())

    def alarms(self, zone: str) -> list[str]:
        """Say which nodes of a zone contradict what they said before."""
        return [
            f"node {node}: {count} records differ from those stored under the same boot and number; the first ones are "
            f"kept; see whether its state folder was copied or put back"
            for (known, node), count in sorted(self._conflicts.items())
            if known == zone
        ]

    @property
    def names(self) -> list[tuple[str, str]]:
        """Zone and name of every node that has a record."""
        return list(self._nodes)

    def grams(self, zone: str) -> float:
        """Emissions of a zone's stored records."""
        return fsum(books.grams for books in self._zones.get(zone, ()))

    @property
    def records(self) -> int:
        """Records stored."""
        return sum(boot.records for books in self._nodes.values() for boot in books.boots.values())

    @property
    def missing(self) -> int:
        """Records that are known to exist and are not stored."""
        return sum(boot.missing for books in self._nodes.values() for boot in books.boots.values())


def cover(spans: list[Span], start: int, end: int) -> list[Span]:
    """Return sorted ``spans`` with one more, merged where they touch."""
    if spans and start == spans[-1][1]:  # the next one in order, as nearly all are
        return [*spans[:-1], (spans[-1][0], max(end, start))]
    before = [span for span in spans if span[1] < start]
    after = [span for span in spans if span[0] > end]
    touching = spans[len(before) : len(spans) - len(after)]
    merged = (min([start, *(first for first, _ in touching)]), max([end, *(last for _, last in touching)]))
    return [*before, merged, *after]


def complete_up_to(numbers: list[Span]) -> int:
    """Return the highest sequence number up to which none is missing; they begin at 1."""
    return numbers[0][1] - 1 if numbers and numbers[0][0] == 1 else 0


def holes(numbers: list[Span]) -> int:
    """Return how many sequence numbers from 1 to the highest are missing."""
    return numbers[-1][1] - 1 - sum(end - start for start, end in numbers) if numbers else 0
