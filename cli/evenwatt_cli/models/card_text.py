"""A card as Markdown, with the front matter that model cards on the Hugging Face hub have.

The fields are those of huggingface.co/docs/hub/model-cards-co2: ``emissions`` (g CO2e), ``source``, ``training_type``,
``geographical_location``, ``hardware_used``.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from evenwatt_cli.reporting.words import digits, energy, mass, mass_range, share, span
from evenwatt_collector.models.amounts import counted, singular

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.models.card import Card
    from evenwatt_collector.models.lifecycle import Grams, PhaseUse
    from evenwatt_collector.models.measured import Measured

_PLACES: Final = 20
_DAY_S: Final = 86_400.0


def card_text(card: Card) -> str:
    """Return the card."""
    parts = [
        *_front(card),
        f"# Carbon of {_plain(card.model)}",
        "",
        *_summary(card),
        "",
        "## By phase",
        "",
        *_phases(card),
        "",
        "## Per 1,000 uses",
        "",
        *_uses(card),
        *_section("What a unit costs", [_cost(one) for one in card.measured]),
        *_section("What would lower it", [_hint(hint.words, estimated=hint.estimated) for hint in card.hints]),
        "",
        "## What the figures rest on",
        "",
        *(f"- {line}" for line in [*_basis(card), *card.boundary, *card.notes]),
        "",
    ]
    return "\n".join(parts)


def _front(card: Card) -> list[str]:
    training = card.training
    if training is None:
        return [
            "<!-- No co2_eq_emissions here: that is of training, and none of this model was recorded. -->",
            "",
        ]
    # JSON strings are YAML strings.
    said = {
        "source": training.source,
        "training_type": training.training_type,
        "geographical_location": training.geographical_location,
        "hardware_used": training.hardware_used,
    }
    lines = [f"  {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in said.items() if value]
    return ["---", "co2_eq_emissions:", f"  emissions: {_number(training.emissions)}", *lines, "---", ""]


def _number(value: float) -> str:
    """Return a number as YAML and JSON read it, with six significant digits."""
    return f"{float(f'{value:.6g}'):.15g}"


def _summary(card: Card) -> list[str]:
    life = card.lifecycle
    total = life.total.operational
    embodied = f", and {mass(life.total.embodied_g)} for making the devices" if life.total.embodied_g else ""
    if life.total.embodied_g is None:
        embodied = ", and what making the devices weighs is not known (see docs/emissions.md, [[devices]])"
    sure = f"90 %: {mass_range(total.low, total.high)}"
    used = f"{energy(life.total.energy_j)}, of which {share(card.metered_share)} was measured"
    told = _time if life.end_s - life.start_s < _DAY_S else _day
    when = f"from {told(life.start_s)} to {told(life.end_s)}"
    return [f"**{mass(total.grams)} CO2e** of electricity {when} ({sure}){embodied}; {used}."]


def _phases(card: Card) -> list[str]:
    head = ["phase", "energy", "idle share", "CO2e, electricity", "90 %", "making of devices", "time"]
    rows = [_phase(one) for one in [*card.lifecycle.phases, card.lifecycle.total]]
    return _table(head, rows)


def _phase(one: PhaseUse) -> list[str]:
    return [
        _plain(one.phase),
        energy(one.energy_j),
        share(one.idle_j / one.energy_j) if one.energy_j > 0 else "-",
        mass(one.operational.grams),
        mass_range(one.operational.low, one.operational.high),
        mass(one.embodied_g),
        span(one.duration_s) if one.duration_s > 0 else "-",
    ]


def _uses(card: Card) -> list[str]:
    per = card.lifecycle.per_use
    if per is None:
        return [f"None is given: {card.lifecycle.no_use}."]
    rows = [
        ["serving it (infer, idle-loaded)", *_grams(per.served)],
        [f"with its making, over the {digits(per.uses)} uses to date", *_grams(per.to_date)],
    ]
    if per.over_life is not None:
        rows.append(
            [f"with its making, over {digits(per.expected_uses)} expected uses (stated)", *_grams(per.over_life)]
        )
    head = [f"per 1,000 {_plain(counted(per.unit))}", "CO2e", "90 %"]
    words = "G(making)/R + G(using)/R, with R the uses; making is every phase but infer and idle-loaded."
    return [*_table(head, rows), "", words]


def _grams(one: Grams) -> list[str]:
    return [mass(one.grams), mass_range(one.low, one.high)]


def _cost(one: Measured) -> str:
    where = f"{one.zone}:{one.node}" if one.node else f"nodes of kind {one.kind}"
    estimate = one.joules_per_unit
    sure = ""
    if estimate.low is not None and estimate.high is not None and digits(estimate.low) != digits(estimate.high):
        sure = f" (90 %: {digits(estimate.low)} to {digits(estimate.high)})"
    return (
        f"{_plain(one.label)} on {_plain(where)}: {digits(estimate.mean)} J per {_plain(singular(one.unit))}{sure}, "
        f"idle share {share(one.idle_share)} included; {one.runs} run{'s' if one.runs > 1 else ''}, "
        f"the last {_time(one.last_s)}"
    )


def _hint(words: str, *, estimated: bool) -> str:
    return f"{_plain(words)}{' (estimated)' if estimated else ''}"


def _basis(card: Card) -> Iterable[str]:
    made = f"Made {_time(card.made_s)} by evenwatt {card.version} for the fleet {_plain(card.fleet)}"
    yield f"{made}, as known {_time(card.known_at_s)}."
    for place in card.places[:_PLACES]:
        what = ", ".join(filter(None, (place.kind, place.detail)))
        yield _plain(f"{share(place.energy_share)} of the energy on {place.zone}:{place.node}{what and f' ({what})'}.")
    if len(card.places) > _PLACES:
        yield f"{len(card.places) - _PLACES} more nodes; the JSON document lists all."
    for factor in card.factors:
        least, most = digits(factor.least_g_per_kwh), digits(factor.most_g_per_kwh)
        span_g = "" if least == most else f" ({least} to {most})"
        mean = f"Intensity of {factor.grid}: {digits(factor.mean_g_per_kwh)} g/kWh{span_g}"
        detail = f" ({factor.detail})" if factor.detail else ""
        yield _plain(f"{mean}, {factor.basis}, {factor.standing}, from {factor.source}{detail}.")
    for pue, zones in sorted(_overheads(card).items()):
        yield _plain(f"PUE {digits(pue)} in {', '.join(sorted(zones))}.")
    standings = [f"{share(part)} {name}" for name, part in card.by_standing.items() if part > 0]
    if standings:
        yield f"By how the intensity of its time is known: {', '.join(standings)}."


def _overheads(card: Card) -> dict[float, set[str]]:
    found: dict[float, set[str]] = {}
    for one in card.overheads:
        found.setdefault(one.pue, set()).add(one.zone)
    return found


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", f"## {title}", "", *(f"- {line}" for line in lines)] if lines else []


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is: names come from anyone's tasks."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _day(wall_s: float) -> str:
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d}"


def _time(wall_s: float) -> str:
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d %H:%M} UTC"
