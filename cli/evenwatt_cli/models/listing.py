"""``evenwatt models``: variants and what a unit costs, measured here or published elsewhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import convert

from evenwatt_cli.exits import Exit
from evenwatt_cli.models.asking import ask
from evenwatt_cli.reporting.words import digits
from evenwatt_collector.models.amounts import singular
from evenwatt_collector.models.desk import VariantView

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_collector.models.measured import Estimate, Measured
    from evenwatt_collector.models.registry import Published


def show_models(task: str | None, *, as_json: bool, config: Path | None) -> Exit:
    """Print what the collector knows.

    Raises:
        Failure: it cannot be asked, or there is no such task.
    """
    said = ask("models", [("task", task)], config)
    if as_json:
        print(json.dumps(said))
        return Exit.OK
    views = convert(said["models"], list[VariantView])
    if not views:
        print("no variants: name a registry with the collector's key 'models', or import a table")
    for view in views:
        print("\n".join(view_lines(view)))
    return Exit.OK


def view_lines(view: VariantView) -> list[str]:
    """Return a variant in words."""
    variant = view.variant
    facts = [
        "" if variant.quality is None else f"{variant.quality.metric} {variant.quality.value:g}",
        "" if variant.parameters is None else f"{digits(variant.parameters)} parameters",
        variant.precision,
        "" if variant.memory_gb is None else f"{variant.memory_gb:g} GB",
        "from an imported table only" if view.imported else "",
    ]
    head = f"{variant.task}: {view.label}"
    lines = [", ".join([head, *filter(None, facts)])]
    lines += [f"  {_measured(one)}" for one in view.measured]
    lines += [f"  {_published(one)}" for one in view.published]
    if not view.measured:
        lines.append(f"  not measured here: run it with --model {view.label} --phase infer, counting {variant.unit}")
    return lines + [f"  mind: {caveat}" for caveat in view.caveats]


def _measured(one: Measured) -> str:
    where = f"{one.zone}:{one.node}" if one.node else f"all {one.kind}"
    fast = ""
    if one.latency_s is not None:
        how = "latency" if one.latency_measured else "estimated latency"
        fast = f", {how} {_estimate(one.latency_s)} s"
    speed = "" if one.units_per_s is None else f", {digits(one.units_per_s.mean)} per s"
    return (
        f"measured   {where}: {_estimate(one.joules_per_unit)} J per {singular(one.unit)}, "
        f"{one.idle_share:.0%} of it idle{fast}{speed}; {one.runs} run{'s' if one.runs > 1 else ''}, "
        f"{digits(one.units)} units, last {datetime.fromtimestamp(one.last_s, UTC):%Y-%m-%d}"
    )


def _published(one: Published) -> str:
    device = f" on {one.device}" if one.device else ""
    counts = f" ({one.boundary})" if one.boundary else ""
    return f"published  {one.source}: {digits(one.joules_per_unit)} J per {singular(one.unit)}{counts}{device}"


def _estimate(one: Estimate) -> str:
    if one.low is None or one.high is None:
        return digits(one.mean)
    return f"{digits(one.mean)} (90 %: {digits(one.low)} to {digits(one.high)})"
