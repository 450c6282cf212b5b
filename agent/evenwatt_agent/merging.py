"""Adds ledger records up into one coarse record, so that a spool without room loses detail and no joule. Pure.

A coarse record stands for all records from ``first_seq`` to ``seq`` of one boot. Its energies are the sums of theirs,
its cumulative counters those of the last one. Tasks are cumulative already, so the latest word on each is kept.
"""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from evenwatt_agent.attribution import OTHER
from evenwatt_agent.hierarchy import worst
from evenwatt_wire import MAX_PAYLOAD_BYTES, DomainEnergy, Gap, Ledger, PartEnergy, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GAPS_KEPT: Final = 64
_TASKS_KEPT: Final = 64
"""Of a coarse record, the latest: its payload must stay far below what a message may have."""
_PARTS_KEPT: Final = 200
"""One row more may stand for the rest; a message may have 256."""


def first_of(record: Ledger) -> int:
    """Return the first number a record stands for."""
    return record.first_seq or record.seq


def touch(earlier: Ledger, later: Ledger) -> bool:
    """Whether ``later`` is the very next record of the same boot."""
    return earlier.boot == later.boot and earlier.seq + 1 == first_of(later)


def merge(records: Sequence[Ledger]) -> Ledger:
    """Return one record for several of one boot that touch, the earliest first."""
    first, last = records[0], records[-1]
    coarse = Ledger(
        last.node,
        last.boot,
        last.seq,
        first.start_mono_ns,
        last.end_mono_ns,
        first.start_wall_ms,
        last.end_wall_ms,
        _energy([record.total for record in records]),
        _domains(records),
        _gaps(records),
        fsum(record.agent_cpu_s for record in records),
        last.dropped,
        fsum(record.agent_j for record in records),
        _parts(records),
        list({task.id: task for record in records for task in record.tasks}.values())[-_TASKS_KEPT:],
        first_of(first),
    )
    return slim(coarse)[0]


def slim(record: Ledger) -> tuple[Ledger, bytes]:
    """Return a record that fits a message, and its bytes: where it is too large, tasks, gaps and small parts go."""
    payload, tasks, gaps, parts = encode(record), len(record.tasks), len(record.gaps), len(record.parts)
    while len(payload) > MAX_PAYLOAD_BYTES and tasks + gaps + parts:
        tasks, gaps, parts = tasks // 2, gaps // 2, parts // 2
        record = replace(
            record,
            tasks=record.tasks[len(record.tasks) - tasks :],
            gaps=_few(record.gaps, gaps),
            parts=_largest(record.parts, parts),
        )
        payload = encode(record)
    return record, payload


def bridge(before: Ledger | None, after: Ledger, began_ns: int | None = None) -> Ledger | None:
    """Return a record for all that are missing between two of one boot, told by the cumulative counters.

    Args:
        before: The last one known before the hole; None if the hole begins with the boot.
        after: The first one known after it.
        began_ns: Where the boot's first record began, if ``before`` is none and that is still known.

    Returns:
        None where nothing is missing.
    """
    first, last = before.seq + 1 if before else 1, first_of(after) - 1
    if last < first:
        return None
    totals_j = {energy.id: energy.total_j for energy in before.domains} if before else {}
    total = _before(after.total, before.total.total_j if before else 0.0)
    # Where a boot began may not be known any more; how much it drew is.
    start_ns = before.end_mono_ns if before else min(began_ns or after.start_mono_ns, after.start_mono_ns)
    start_ms = before.end_wall_ms if before else after.start_wall_ms - (after.start_mono_ns - start_ns) // 1_000_000
    reason = "records cannot be read any more; the counters bridge them"
    return Ledger(
        after.node,
        after.boot,
        last,
        start_ns,
        after.start_mono_ns,
        start_ms,
        after.start_wall_ms,
        total,
        [_before(energy, totals_j.get(energy.id, 0.0)) for energy in after.domains],
        [Gap(total.id, start_ns, after.start_mono_ns, reason, total.quality)],
        0.0,
        after.dropped,
        first_seq=first,
    )


def end_of(record: Ledger) -> Ledger:
    """Return the moment at which a record ended, as an empty record after it: what ``bridge`` needs of it."""
    return Ledger(
        record.node,
        record.boot,
        record.seq + 1,
        record.end_mono_ns,
        record.end_mono_ns,
        record.end_wall_ms,
        record.end_wall_ms,
        replace(record.total, energy_j=0.0),
        [replace(energy, energy_j=0.0) for energy in record.domains],
        [],
        0.0,
        record.dropped,
    )


def _before(after: DomainEnergy, from_j: float) -> DomainEnergy:
    """Return the energy between a counter's earlier value and the beginning of a record."""
    until_j = max(from_j, after.total_j - after.energy_j)
    return DomainEnergy(after.id, until_j - from_j, until_j, after.quality)


def _energy(energies: Sequence[DomainEnergy]) -> DomainEnergy:
    quality = worst([energy.quality for energy in energies])
    return DomainEnergy(energies[-1].id, fsum(e.energy_j for e in energies), energies[-1].total_j, quality)


def _domains(records: Sequence[Ledger]) -> list[DomainEnergy]:
    found: dict[str, list[DomainEnergy]] = {}
    for record in records:
        for energy in record.domains:
            found.setdefault(energy.id, []).append(energy)
    return [_energy(energies) for energies in found.values()]


def _gaps(records: Iterable[Ledger]) -> list[Gap]:
    return _few([gap for record in records for gap in record.gaps], _GAPS_KEPT)


def _few(gaps: list[Gap], count: int) -> list[Gap]:
    """Return the first gaps, and the rest as one."""
    if len(gaps) <= count or not count:
        return gaps[:count]
    rest = gaps[count - 1 :]
    reason = f"and {len(rest)} more gaps up to here"
    quality = worst([gap.quality for gap in rest])
    return [*gaps[: count - 1], Gap("node", rest[0].start_mono_ns, rest[-1].end_mono_ns, reason, quality)]


def _parts(records: Sequence[Ledger]) -> list[PartEnergy]:
    """Return the parts added up: the largest by name, the rest as ``other``; they sum to what the records' parts do."""
    sums: dict[tuple[str, str], list[PartEnergy]] = {}
    for record in records:
        missing_j = record.total.energy_j if not record.parts else 0.0
        parts = record.parts or [PartEnergy("unattributed", "", missing_j, 0.0, 0.0, 0.0)]
        for part in parts:
            sums.setdefault((part.kind, part.name), []).append(part)
    if not any(record.parts for record in records):
        return []
    return _largest([_part(key, parts) for key, parts in sums.items()], _PARTS_KEPT)


def _largest(parts: list[PartEnergy], count: int) -> list[PartEnergy]:
    """Return the largest parts, and the rest as ``other``."""
    rows = sorted(parts, key=lambda part: -_joules(part))
    kept, rest = rows[:count], rows[count:]
    if not rest or not count:
        return kept
    others = [part for part in kept if part.kind == OTHER.kind] + rest
    return [*(part for part in kept if part.kind != OTHER.kind), _part((OTHER.kind, OTHER.name), others)]


def _part(key: tuple[str, str], parts: Sequence[PartEnergy]) -> PartEnergy:
    return PartEnergy(
        *key,
        fsum(part.cpu_j for part in parts),
        fsum(part.gpu_j for part in parts),
        fsum(part.idle_j for part in parts),
        fsum(part.cpu_s for part in parts),
    )


def _joules(part: PartEnergy) -> float:
    return part.cpu_j + part.gpu_j + part.idle_j
