"""Says which cap is to be set, and why. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenwatt_collector.tuning.deciding import candidate
from evenwatt_collector.tuning.records import Candidate, Choice

if TYPE_CHECKING:
    from evenwatt_collector.tuning.deciding import Standing
    from evenwatt_collector.tuning.memory import Memory
    from evenwatt_collector.tuning.records import Context, Settings


def say(settings: Settings, context: Context, memory: Memory, standing: Standing, *, spent: bool) -> Choice:
    """Return the choice that follows from a standing.

    Args:
        settings: Of the learner.
        context: Now.
        memory: With the trial that is going on, if one is.
        standing: What is believed.
        spent: The budget of exploring is used up.
    """
    trial = memory.trial
    if trial is not None:
        index = settings.caps_w.index(trial.cap_w)
        why, other = _of_trial(memory, standing, index), standing.held if standing.held != index else None
    elif standing.held is not None:
        index, other = standing.held, standing.runner_up
        why = _of_held(settings, context, memory, standing, spent=spent)
    elif standing.allowed:
        index, other = standing.allowed[-1], None
        why = _of_ceiling(context, memory, standing)
    else:
        return _outside(settings, context, standing)
    return Choice(
        cap_w=settings.caps_w[index],
        why=why,
        exploring=trial is not None,
        chosen=candidate(standing, memory, index),
        runner_up=None if other is None else candidate(standing, memory, other),
        cost_unit=standing.cost.unit,
        settled=trial is None and standing.held is not None and (spent or not standing.promising),
    )


def _of_trial(memory: Memory, standing: Standing, index: int) -> str:
    cap_w = memory.caps[index].cap_w
    if standing.held is None:
        return f"measuring at {cap_w:g} W first: everything is compared with it"
    held_w = memory.caps[standing.held].cap_w
    saving = standing.promising.get(index)
    if saving is None or index == standing.held:
        return f"measuring at {cap_w:g} W"
    if saving >= 1:
        return f"measuring at {cap_w:g} W: the slowdown that is allowed is counted from there"
    return (
        f"trying {cap_w:g} W: expected to save {100 * saving:.1f} % against {held_w:g} W on average of what it may be"
    )


def _of_held(settings: Settings, context: Context, memory: Memory, standing: Standing, *, spent: bool) -> str:
    known = sum(each.known for each in memory.caps)
    held_w = settings.caps_w[standing.held] if standing.held is not None else 0.0
    caps = "1 cap" if known == 1 else f"{known} caps"
    words = f"least {standing.cost.unit} per unit ({settings.objective.aim}) of {caps} measured: {held_w:g} W"
    if standing.bound.any:
        words += f", within {standing.bound.words}"
    if context.capping:
        return f"{words}; nothing is tried while the zone is throttling"
    if context.shared:
        return f"{words}; nothing is tried while something else uses the device"
    if spent and standing.promising:
        more = ", ".join(f"{settings.caps_w[i]:g}" for i in standing.promising)
        return f"{words}; {more} W might be better, but the budget of exploring is used up"
    return words


def _of_ceiling(context: Context, memory: Memory, standing: Standing) -> str:
    if standing.surface is not None:
        refused = max(memory.refused, key=lambda each: each.cap_w).why if memory.refused else ""
        why = f" ({refused})" if refused else ""
        return f"the ceiling: nothing measured keeps {standing.bound.words or 'what was asked'}{why}"
    if context.capping or context.shared:
        return "the ceiling: nothing is known yet, and this is no moment to learn"
    return "the ceiling: nothing is known yet, and there is no budget of exploring"


def _outside(settings: Settings, context: Context, standing: Standing) -> Choice:
    """Return a choice where no cap of the list is allowed: the nearest to one that is."""
    low_w, high_w = settings.caps_w[0], settings.caps_w[-1]
    wanted_w = high_w if context.floor_w > high_w else low_w
    inside = [cap_w for cap_w in settings.caps_w if cap_w <= context.ceiling_w]
    wanted_w = inside[-1] if inside else wanted_w
    cap_w = min(max(wanted_w, context.floor_w), context.ceiling_w)
    return Choice(
        cap_w=cap_w,
        why=f"no cap of the list lies within {context.floor_w:g} to {context.ceiling_w:g} W",
        exploring=False,
        chosen=Candidate(cap_w),
        runner_up=None,
        cost_unit=standing.cost.unit,
        settled=False,
    )
