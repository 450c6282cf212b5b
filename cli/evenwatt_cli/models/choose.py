"""``evenwatt choose``: the variant and node of the least grams now, and why not the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import convert

from evenwatt_cli.exits import Exit
from evenwatt_cli.models.asking import ask
from evenwatt_cli.reporting.words import digits, mass, mass_range, signed
from evenwatt_collector.models.amounts import singular
from evenwatt_collector.models.choice import Candidate, Choice

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_collector.models.choice import Against

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is asked."""

    task: str
    min_quality: float | None
    max_latency_s: float | None
    where: tuple[str, ...]
    metric: str


def show_choice(bounds: Bounds, *, as_json: bool, config: Path | None) -> Exit:
    """Print the collector's answer; DEGRADED where no variant meets the bounds.

    Raises:
        Failure: it cannot be asked, or there is no such task.
    """
    parameters = [
        ("task", bounds.task),
        ("min_quality", bounds.min_quality),
        ("max_latency_s", bounds.max_latency_s),
        ("metric", bounds.metric or None),
        *(("where", where) for where in bounds.where),
    ]
    said = ask("choose", parameters, config)
    choice = convert(said, Choice)
    print(json.dumps(said) if as_json else "\n".join(choice_lines(choice)))
    return Exit.OK if choice.chosen is not None else Exit.DEGRADED


def choice_lines(choice: Choice) -> list[str]:
    """Return an answer in words."""
    if choice.chosen is None:
        return [f"no variant does {choice.question.task} within the bounds:", *(f"  {why}" for why in choice.unmet)]
    chosen = choice.chosen
    sure = mass_range(chosen.low_g_per_unit, chosen.high_g_per_unit)
    lines = [
        f"{chosen.label} on {chosen.where}: {mass(chosen.g_per_unit)} per {singular(chosen.unit)} (90 %: {sure})",
        *(f"  {line}" for line in _details(chosen)),
    ]
    if choice.runner_up is not None:
        lines.append(_runner_up(choice.runner_up, chosen, clear=choice.clear))
    rest = [one for one in choice.against if not _said(one, choice.runner_up)]
    if rest:
        width = max(len(one.label) for one in rest[:_SHOWN])
        lines.append("not chosen:")
        lines += [f"  {one.label:<{width}}  {_place(one)}{one.words}" for one in rest[:_SHOWN]]
        lines += [f"  and {len(rest) - _SHOWN} more; --json lists all"] if len(rest) > _SHOWN else []
    return lines


def _said(one: Against, runner_up: Candidate | None) -> bool:
    """Return whether the line of the runner-up has said it."""
    same = runner_up is not None and (one.label, one.where) == (runner_up.label, runner_up.where)
    return same and one.reason == "more grams"


def _place(one: Against) -> str:
    if not one.where:
        return ""
    return f"{one.where}: " if one.nodes == 1 else f"{one.where}, {one.nodes} nodes: "


def _details(one: Candidate) -> list[str]:
    cost = one.cost
    fast = ""
    if cost.latency_s is not None:
        how = "" if cost.latency_measured else ", estimated" if cost.measured else ", published"
        fast = f"; {digits(cost.latency_s)} s a unit{how}"
    quality = "" if one.quality is None else f"; {one.metric} {one.quality:g}"
    price = "" if one.price_per_unit is None else f"; costs {digits(one.price_per_unit)} per {singular(one.unit)}"
    joules = f"{digits(cost.joules_per_unit)} J per {singular(one.unit)}"
    intensity = f"{one.zone} is at {digits(one.intensity_g_per_kwh)} g/kWh ({one.standing.value}"
    return [
        f"{joules}, {cost.origin.value} ({cost.detail}){fast}{quality}{price}",
        f"{intensity}{one.source and ', ' + one.source}), PUE {digits(one.pue)}",
        *(f"mind: {caveat}" for caveat in cost.caveats),
    ]


def _runner_up(one: Candidate, chosen: Candidate, *, clear: bool) -> str:
    more = f" ({signed(one.g_per_unit / chosen.g_per_unit - 1)})" if chosen.g_per_unit > 0 else ""
    if chosen.cost.measured and not one.cost.measured:
        return f"runner-up: {one.label} on {one.where}, {mass(one.g_per_unit)}{more} by a published figure"
    sure = "the ranges do not overlap" if clear else "the ranges overlap: it may as well be better"
    return f"runner-up: {one.label} on {one.where}, {mass(one.g_per_unit)}{more}; {sure}"
