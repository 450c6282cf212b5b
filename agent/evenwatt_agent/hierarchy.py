"""Which domains make up the node: ONE sum without overlap, and its formula.

Adding overlapping counters is the most common error in this field (codecarbon#950 and #1274 doubled a machine to
137 W). The rules, in order:

1. ``intel-rapl-mmio`` mirrors ``intel-rapl``: a copy counts only where the original is missing.
2. The processors' term is all ``psys`` zones where there are any, since they contain packages and memory; else all
   packages and, because it stands outside them on servers, ``dram``.
   A domain inside one of its own kind is part of it: a die of its package (codecarbon#1274), ``pkg`` of an Xe card.
3. ``core`` and ``uncore`` are inside a package and count only where no package can be read.
4. Every GPU board counts besides, since none of the above contains a plug-in board. ``amdgpu`` on a machine whose
   package is counted is left out when it is that processor's own graphics (it has no board of its own).
5. A meter of the whole machine (of one source, since two of them meter the same), other board meters or, at last, the
   battery stand in where nothing else counts.
6. The estimate counts only where there is nothing at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from evenwatt_wire import Quality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_agent.sources.model import Probe
    from evenwatt_wire import Domain

_WORST_LAST = (Quality.MEASURED, Quality.INTEGRATED, Quality.ESTIMATED, Quality.UNKNOWN)


def choose_total(probes: Sequence[Probe], integrated_gpus: frozenset[str] = frozenset()) -> tuple[list[Domain], str]:
    """Mark the terms of the node total.

    Args:
        probes: Everything that can be read.
        integrated_gpus: Domain ids of graphics that share a package with the processor.

    Returns:
        The domains in the order of ``probes``, ``in_total`` set, and the formula that says so in words.
    """
    terms = _terms([probe.domain for probe in probes], _copies(probes), integrated_gpus)
    domains = [msgspec.structs.replace(probe.domain, in_total=probe.domain.id in terms) for probe in probes]
    return domains, " + ".join(domain.id for domain in domains if domain.in_total) or "nothing"


def worst(qualities: Sequence[Quality]) -> Quality:
    """Return the least certain of several qualities; ``unknown`` for none."""
    return max(qualities, key=_WORST_LAST.index, default=Quality.UNKNOWN)


def _copies(probes: Sequence[Probe]) -> set[str]:
    originals = {p.domain.id for p in probes if p.silicon == p.domain.id}
    return {p.domain.id for p in probes if p.silicon and p.silicon != p.domain.id and p.silicon in originals}


def _terms(domains: Sequence[Domain], copies: set[str], integrated_gpus: frozenset[str]) -> set[str]:
    kind_of = {domain.id: domain.kind for domain in domains}

    def of(*kinds: str) -> set[str]:
        whole = (d for d in domains if d.parent is None or kind_of.get(d.parent) != d.kind)
        return {d.id for d in whole if d.kind in kinds and d.id not in copies}

    processors = of("psys") or (of("package") | of("dram") if of("package") else of("core", "uncore", "dram"))
    boards = of("gpu") - (integrated_gpus if processors else frozenset())
    return (
        (processors | boards)
        or _of_one_source(of("machine"), domains)
        or of("board")
        or of("battery")
        or of("estimate")
    )


def _of_one_source(machines: set[str], domains: Sequence[Domain]) -> set[str]:
    first = next((domain.source for domain in domains if domain.id in machines), "")
    return {domain.id for domain in domains if domain.id in machines and domain.source == first}
