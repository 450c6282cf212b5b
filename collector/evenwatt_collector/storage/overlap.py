"""What a coarse record adds to records that are stored already. Pure.

A node without room adds its oldest records up (``Ledger.first_seq``). Some of them may have been stored before, and
only our word have been lost: then what they hold is taken off, so that no joule counts twice.
"""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from evenwatt_collector.books import cover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from evenwatt_collector.books import Span
    from evenwatt_wire import DomainEnergy, Ledger, PartEnergy

_ROUNDING: float = 1e-9
"""Share of a sum below which a rest is rounding and none."""


class Lacking(NamedTuple):
    """Numbers of a span that are not stored, and whether any of the span is."""

    highest: int
    """0 if all of them are stored."""
    whole: bool
    """Whether none of them is."""


def first_of(record: Ledger) -> int:
    """Return the first number a record stands for; a node that says nonsense means its own number."""
    return record.first_seq if 0 < record.first_seq <= record.seq else record.seq


def lacking(numbers: Sequence[Span], first: int, last: int) -> Lacking:
    """Return what is missing of the numbers from ``first`` to ``last`` among sorted stretches of stored ones."""
    inside = [(start, end) for start, end in numbers if start <= last and end > first]
    if not inside:
        return Lacking(last, whole=True)
    highest = last
    for start, end in reversed(inside):
        if end <= highest:
            break
        highest = start - 1
    return Lacking(highest if highest >= first else 0, whole=False)


def holes_of(numbers: Sequence[Span], most: int) -> tuple[Span, ...]:
    """Return first and last number of each run that is missing below the highest stored one, the lowest first."""
    found: list[Span] = []
    expected = 1
    for start, end in numbers:
        if start > expected and len(found) < most:
            found.append((expected, start - 1))
        expected = end
    return tuple(found)


def told_by(held: Iterable[Ledger], numbers: Sequence[Span], first: int, last: int) -> bool:
    """Whether stored records account for all numbers from ``first`` to ``last`` that are stored, and for no other."""
    spans: list[Span] = []
    for record in held:
        if first_of(record) < first or record.seq > last:
            return False
        spans = cover(spans, first_of(record), record.seq + 1)
    wanted = [(max(start, first), min(end, last + 1)) for start, end in numbers if start <= last and end > first]
    return all(any(a <= start and end <= b for a, b in spans) for start, end in wanted)


def remainder(coarse: Ledger, held: Sequence[Ledger], seq: int) -> Ledger:
    """Return a coarse record without what stored ones hold of it, under a number that is free."""
    return replace(
        coarse,
        seq=seq,
        first_seq=min(first_of(coarse), seq),
        total=_less(coarse.total, [record.total for record in held]),
        domains=[
            _less(one, [e for record in held for e in record.domains if e.id == one.id]) for one in coarse.domains
        ],
        agent_cpu_s=_rest(coarse.agent_cpu_s, [record.agent_cpu_s for record in held]),
        agent_j=_rest(coarse.agent_j, [record.agent_j for record in held]),
        parts=[part for part in _parts(coarse, held) if part.cpu_j + part.gpu_j + part.idle_j + part.cpu_s > 0],
    )


def _parts(coarse: Ledger, held: Sequence[Ledger]) -> list[PartEnergy]:
    taken: dict[tuple[str, str], list[PartEnergy]] = {}
    for part in (part for record in held for part in record.parts):
        taken.setdefault((part.kind, part.name), []).append(part)

    def rest(part: PartEnergy, pick: Callable[[PartEnergy], float]) -> float:
        return _rest(pick(part), [pick(one) for one in taken.get((part.kind, part.name), ())])

    return [
        replace(
            part,
            cpu_j=rest(part, lambda one: one.cpu_j),
            gpu_j=rest(part, lambda one: one.gpu_j),
            idle_j=rest(part, lambda one: one.idle_j),
            cpu_s=rest(part, lambda one: one.cpu_s),
        )
        for part in coarse.parts
    ]


def _less(energy: DomainEnergy, held: Sequence[DomainEnergy]) -> DomainEnergy:
    return replace(energy, energy_j=_rest(energy.energy_j, [one.energy_j for one in held]))


def _rest(whole: float, taken: Sequence[float]) -> float:
    rest = fsum([whole, *(-one for one in taken)])
    return rest if rest > _ROUNDING * whole else 0.0
