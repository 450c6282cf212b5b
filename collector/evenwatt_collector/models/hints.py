"""What would lower a model's carbon at each stage of its life, with the figures it rests on. Pure.

A hint is given only where the ledger has what it needs, and says what it assumes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evenwatt_collector.models.amounts import counted, energy, mass
from evenwatt_collector.models.costs import INFER
from evenwatt_collector.models.lifecycle import EVALUATE, FINE_TUNE, IDLE_LOADED, PER, TRAIN, UNNAMED, energy_j, share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.models.lifecycle import Lifecycle, PhaseUse
    from evenwatt_collector.models.registry import Variant

IDLE_LOADED_SHARE: Final = 0.1
"""Of the energy of using; our choice, as are the thresholds below: less is not worth a change."""
EVALUATE_SHARE: Final = 0.1
"""Of the energy of making."""
IDLE_SHARE: Final = 0.4
"""Idle energy in a phase that works."""
LOAD_GB_PER_S: Final = 1.0
"""How fast weights are loaded where the owner does not say: our assumption, a disk of 1 GB/s."""


class Hint(Struct, frozen=True, kw_only=True):
    """One thing that could be done."""

    phase: str
    words: str
    saves_j: float | None = None
    """At most, of what was used to date; None: not known."""
    estimated: bool = False
    """Whether it rests on an assumption that the words name."""


def hints(life: Lifecycle, variants: Sequence[Variant]) -> list[Hint]:
    """Return what could be done, the largest saving first.

    Args:
        life: The model to date.
        variants: What the registry knows of it.
    """
    found = [
        *_evaluating(life),
        *_unloading(life, variants),
        *(hint for name in (TRAIN, FINE_TUNE, EVALUATE, INFER) for hint in _idling(life.phase(name))),
        *_amortising(life),
        *_unnamed(life),
    ]
    return sorted(found, key=lambda hint: -(hint.saves_j or 0.0))


def _evaluating(life: Lifecycle) -> list[Hint]:
    evaluate = life.phase(EVALUATE)
    learning_j = energy_j([life.phase(TRAIN), life.phase(FINE_TUNE)])
    if evaluate is None or learning_j <= 0:
        return []
    part = evaluate.energy_j / learning_j
    if part < EVALUATE_SHARE:
        return []
    words = (
        f"evaluation has used {energy(evaluate.energy_j)}, {part:.0%} of what training has; half as often, or on half "
        f"of the set, would have saved {energy(evaluate.energy_j / 2)}"
    )
    return [Hint(phase=EVALUATE, words=words, saves_j=evaluate.energy_j / 2)]


def _unloading(life: Lifecycle, variants: Sequence[Variant]) -> list[Hint]:
    idle = life.phase(IDLE_LOADED)
    if idle is None:
        return []
    part = share(idle.energy_j, life.using.energy_j)
    if part < IDLE_LOADED_SHARE:
        return []
    hours = f", {idle.duration_s / 3600:.1f} h" if idle.duration_s > 0 else ""
    words = f"loaded and idle it has used {energy(idle.energy_j)}{hours}: {part:.0%} of what using it has"
    rest = _break_even(life, idle, variants)
    if rest is None:
        advice = "; state load_s or memory_gb in the registry to learn after how many minutes to unload it"
        return [Hint(phase=IDLE_LOADED, words=words + advice, saves_j=idle.energy_j)]
    rest_s, how, estimated = rest
    advice = f"; unload it after {_span(rest_s)} without a request: then waiting has cost as much as loading ({how})"
    return [Hint(phase=IDLE_LOADED, words=words + advice, saves_j=idle.energy_j, estimated=estimated)]


def _break_even(life: Lifecycle, idle: PhaseUse, variants: Sequence[Variant]) -> tuple[float, str, bool] | None:
    """Return after how many seconds waiting has cost what loading costs: at most twice the best (ski rental)."""
    infer = life.phase(INFER)
    loads_s = [one.load_s for one in variants if one.load_s is not None]
    sizes_gb = [one.memory_gb for one in variants if one.memory_gb is not None]
    if idle.duration_s <= 0 or idle.energy_j <= 0 or not (loads_s or sizes_gb):
        return None
    idle_w = idle.energy_j / idle.duration_s
    busy_w = infer.energy_j / infer.duration_s if infer is not None and infer.duration_s > 0 else idle_w
    load_s = max(loads_s) if loads_s else max(sizes_gb) / LOAD_GB_PER_S
    said = f"{load_s:.0f} s" if loads_s else f"estimated: {max(sizes_gb):g} GB at {LOAD_GB_PER_S:g} GB/s"
    how = f"loading: {said} at {busy_w:.0f} W, waiting: {idle_w:.0f} W"
    return load_s * busy_w / idle_w, how, not loads_s


def _idling(phase: PhaseUse | None) -> list[Hint]:
    if phase is None or share(phase.idle_j, phase.energy_j) < IDLE_SHARE:
        return []
    part = share(phase.idle_j, phase.energy_j)
    means = "larger batches, or fewer nodes" if phase.phase == INFER else "faster input, or smaller nodes"
    words = f"{part:.0%} of the energy of {phase.phase} is idle power of what it reserves: {means} would use it"
    return [Hint(phase=phase.phase, words=words)]


def _amortising(life: Lifecycle) -> list[Hint]:
    making_g = life.making.whole_g
    if making_g <= 0:
        return []
    if life.per_use is None:
        words = (
            f"making it has weighed {mass(making_g)}, and no use of it is counted yet: it is shared among all the "
            "uses to come; a model that exists might do"
        )
        return [Hint(phase=TRAIN, words=words)] if life.phase(INFER) is None else []
    served_g = life.per_use.served.grams / PER
    if served_g <= 0:
        return []
    even = making_g / served_g
    rest = even - life.per_use.uses
    unit = counted(life.per_use.unit)
    if rest > 0:
        words = f"making it weighs as much as {even:,.0f} {unit}; {rest:,.0f} more until using has weighed as much"
        return [Hint(phase=TRAIN, words=f"{words}: each further training has to be earned the same way")]
    part = share(life.using.whole_g, life.total.whole_g)
    words = f"{part:.0%} of its carbon is use: a leaner variant, cleaner hours and places count most from now on"
    return [Hint(phase=INFER, words=words)]


def _unnamed(life: Lifecycle) -> list[Hint]:
    rest = life.phase(UNNAMED)
    if rest is None or rest.energy_j <= 0:
        return []
    words = (
        f"{energy(rest.energy_j)} names no phase and is counted as making; start its tasks with --phase train, "
        "fine-tune, evaluate, infer or idle-loaded"
    )
    return [Hint(phase=UNNAMED, words=words)]


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
