"""Whose energy a ledger record is, and in which slot of time it was used. Pure.

A record says what a node used between two moments, and whose it was. Intensity changes at its own moments, so energy is
kept in *slots* of a zone's resolution (five minutes, or less), and a record that crosses the edge of a slot is split in
proportion to time: power within a minute is taken as even. Grams are then energy per slot times what the slot's
intensity turns out to be, so that a corrected intensity needs no record to be read again.

Parts sum to the record, whatever a node says: what its parts leave over is ``unattributed``, and parts that come to
more than the whole are scaled down.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from evenwatt_wire import Ledger
    from evenwatt_wire.messages import TaskEnergy

HOUR_S: Final = 3600
_ROUNDING: Final = 1e-9
"""Parts that miss their sum by less than this share of it are rounding, not a rest."""
_CLOCK_JUMP_MS: Final = 2_000
_LONGEST_MS: Final = 7 * 86_400_000
_AHEAD_MS: Final = 600_000
_EARLIEST_MS: Final = 1_420_070_400_000
"""2015-01-01: a node that says less has no clock."""
_TASK: Final = "task"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who energy belongs to: a group of processes, a task, or a residual row (``idle``, ``system``, ...)."""

    kind: str
    name: str
    workload: str = ""
    model: str = ""
    phase: str = ""
    team: str = ""
    task: str = ""
    """Id of the run; empty for what is no task."""

    @property
    def label(self) -> Owner:
        """Return the owner without what tells single runs apart."""
        return Owner(self.kind, "", self.workload, self.model, self.phase, self.team) if self.task else self


NOBODY: Final = Owner("unattributed", "")


@dataclass(frozen=True, slots=True)
class Share:
    """One owner's part of a record, in joules."""

    owner: Owner
    dynamic_j: float
    idle_j: float
    gpu_j: float
    """Of ``dynamic_j``: by GPU boards."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a record within one slot."""

    hour: int
    """Hours since 1970."""
    slot: int
    """Number of the slot in its hour."""
    fraction: float
    """Of the record's time."""


def shares(record: Ledger) -> list[Share]:
    """Return whose the record's energy is; the parts sum to its total to float rounding."""
    total_j = record.total.energy_j
    if not record.parts:
        return [Share(NOBODY, total_j, 0.0, 0.0)]
    tasks = {task.id: task for task in record.tasks}
    found = []
    for part in record.parts:
        owner = Owner(part.kind, part.name)
        if part.kind == _TASK:
            task = tasks.get(part.name)
            owner = owner_of(task) if task else Owner(_TASK, "", task=part.name)
        found.append(Share(owner, part.cpu_j + part.gpu_j, part.idle_j, part.gpu_j))
    return _complete(found, total_j)


def owner_of(task: TaskEnergy) -> Owner:
    """Return a task as an owner of energy."""
    return Owner(_TASK, task.name, task.workload, task.model, task.phase, task.team, task.id)


def _complete(found: list[Share], total_j: float) -> list[Share]:
    parts_j = fsum(share.dynamic_j + share.idle_j for share in found)
    rest_j = total_j - parts_j
    if rest_j > _ROUNDING * total_j:
        found.append(Share(NOBODY, rest_j, 0.0, 0.0))
    elif rest_j < -_ROUNDING * total_j:
        scale = total_j / parts_j
        found = [
            Share(share.owner, share.dynamic_j * scale, share.idle_j * scale, share.gpu_j * scale) for share in found
        ]
    return found


def interval_ms(record: Ledger, arrived_ms: int) -> tuple[int, int]:
    """Return a record's place on the wall clock, Unix milliseconds; its length is the monotonic clock's.

    Where the node's wall clock was set in between, the end is believed: it was said last. A clock that is ahead of
    ours, or was never set, says nothing: then the record ends when it arrived. A record longer than a week is a mistake
    of its node, and counts for the last week of it.
    """
    length_ms = min(max(1, (record.end_mono_ns - record.start_mono_ns) // 1_000_000), _LONGEST_MS)
    end_ms = record.end_wall_ms
    if not _EARLIEST_MS <= end_ms <= arrived_ms + _AHEAD_MS:
        end_ms = arrived_ms
    start_ms = end_ms - length_ms
    if abs(record.start_wall_ms - start_ms) <= _CLOCK_JUMP_MS and record.start_wall_ms < end_ms:
        start_ms = record.start_wall_ms
    return max(0, start_ms), max(1, end_ms)


def spans(start_ms: int, end_ms: int, slots: int) -> list[Span]:
    """Cut [start, end) at the edges of slots, of which an hour has ``slots``; the fractions sum to one."""
    slot_ms = HOUR_S * 1000 // slots
    first, last = start_ms // slot_ms, max(start_ms, end_ms - 1) // slot_ms
    if first == last:
        return [Span(first // slots, first % slots, 1.0)]
    length_ms = end_ms - start_ms
    edges = [start_ms, *range((first + 1) * slot_ms, end_ms, slot_ms), end_ms]
    return [
        Span(n // slots, n % slots, (edges[i + 1] - edges[i]) / length_ms) for i, n in enumerate(range(first, last + 1))
    ]
