"""Which caps were learned, and how far they are from what is best for the simulated machines."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_cli.demo.clean.optimum import Stretch, best, measured, sweep
from evenwatt_cli.demo.clean.scenario import WORKLOADS
from evenwatt_collector.storage import connect
from evenwatt_collector.storage.memory import recall
from evenwatt_collector.tuning.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from evenwatt_cli.demo.clean.optimum import Point
    from evenwatt_cli.demo.clean.scenario import CleanScenario, Workload
    from evenwatt_cli.demo.clean.seen import Held, Seen
    from evenwatt_twin import Truth

_SAME: Final = 0.012
"""Caps that differ by less, as a share, are one."""
_SETTLING_NS: Final = 1_500_000_000
"""After a change of cap so much is left out."""
_LONGEST_NS: Final = 3_000_000_000
"""Between two looks; a longer gap ends a stretch."""

Document = dict[str, Any]


def learned_caps(scenario: CleanScenario, seen: Seen, truths: dict[str, Truth]) -> dict[str, Document]:
    """Return for each workload the cap that is held, its energy against the best one's, and how much was explored."""
    memories = _memories(scenario)
    return {workload.name: _learned(workload, seen, truths, memories.get(workload.name)) for workload in WORKLOADS}


def _learned(workload: Workload, seen: Seen, truths: dict[str, Truth], memory: Memory | None) -> Document:
    points = sweep(workload)
    least, full = best(points), points[-1]
    seen_under = list(stretches(seen.held, workload.name))
    cap_w = memory.held_w if memory is not None and memory.held_w else (seen_under[-1].cap_w if seen_under else None)
    found = None
    if cap_w is not None:
        found = measured(workload, [one for one in seen_under if abs(one.cap_w / cap_w - 1.0) < _SAME], truths)
        found = found or _on_sweep(points, cap_w)
    return {
        "unit": workload.unit,
        "cap_w": cap_w,
        "best_power_w": least.power_w,
        "power_w": found.power_w if found else None,
        "regret_pct": 100.0 * (found.energy_j_per_s / least.energy_j_per_s - 1.0) if found else None,
        "saved_pct": 100.0 * (1.0 - found.energy_j_per_s / full.energy_j_per_s) if found else None,
        "most_saved_pct": 100.0 * (1.0 - least.energy_j_per_s / full.energy_j_per_s),
        "explored_pct": 100.0 * memory.explored_units / memory.done_units if memory and memory.done_units else None,
        "caps_tried_w": [each.cap_w for each in memory.caps if each.known] if memory else [],
    }


def _on_sweep(points: list[Point], cap_w: float) -> Point:
    """Return the point of the highest power that a cap allows: it was not held long enough to be seen."""
    return max((point for point in points if point.power_w <= cap_w), key=lambda p: p.power_w, default=points[0])


def stretches(held: Iterable[Held], workload: str) -> Iterator[Stretch]:
    """Yield stretches of one run under one cap, as they were read back from its node."""
    begun = last = None
    for row in sorted((row for row in held if row.workload == workload), key=lambda row: (row.run, row.mono_ns)):
        if begun is None or last is None or not _goes_on(begun, last, row):
            yield from _stretch(begun, last)
            begun = row
        last = row
    yield from _stretch(begun, last)


def _goes_on(begun: Held, last: Held, row: Held) -> bool:
    same = abs(row.cap_w / begun.cap_w - 1.0) <= _SAME
    return row.run == begun.run and same and row.mono_ns - last.mono_ns <= _LONGEST_NS


def _stretch(begun: Held | None, last: Held | None) -> Iterator[Stretch]:
    if begun is not None and last is not None and last.mono_ns > begun.mono_ns + _SETTLING_NS:
        yield Stretch(begun.node, begun.mono_ns + _SETTLING_NS, last.mono_ns, begun.cap_w)


def _memories(scenario: CleanScenario) -> dict[str, Memory]:
    """Return what the collector remembers of its learners, by workload."""
    with closing(connect(str(scenario.database), write=False)) as connection:
        states = recall(connection, "jobs:caps") or {}
    return {key.partition("|")[0]: msgspec.convert(state, Memory) for key, state in states.items()}
