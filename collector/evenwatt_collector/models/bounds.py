"""Why a variant will not do: quality, latency, memory, device; and how far the nearest one is from a bound. Pure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.models.choice import Against, Question
    from evenwatt_collector.models.costs import Cost
    from evenwatt_collector.models.registry import DeviceKind, Variant


class Misfit(NamedTuple):
    """Why a variant will not do."""

    reason: str
    words: str
    over: float | None = None
    """By how much a bound is missed, in its unit."""


def which_metric(task: str, named: str, min_quality: float | None, variants: Sequence[Variant]) -> str:
    """Return the metric that a bound is on; empty where no variant states any.

    Raises:
        Failure: the named one is not stated, or there are several and none is named.
    """
    stated = {variant.quality.metric for variant in variants if variant.quality is not None}
    if named and named not in stated:
        known = ", ".join(sorted(stated)) or "none"
        raise Failure(f"--metric {named!r}: no variant of {task} states it; stated are {known}")
    if named or min_quality is None or len(stated) <= 1:
        return named or min(stated, default="")
    raise Failure(
        f"variants of {task} state different qualities ({', '.join(sorted(stated))}), which cannot be compared; name "
        "one with --metric"
    )


def other_unit(variant: Variant, unit: str) -> Misfit | None:
    """Return why grams per unit of a variant cannot stand beside those of the others; None if they can."""
    if variant.unit == unit:
        return None
    return Misfit("unit", f"is counted in {variant.unit}, and the task in {unit}")


def too_low(variant: Variant, bound: float | None, metric: str) -> Misfit | None:
    """Return why a variant's quality will not do; None if it does."""
    quality = variant.quality
    if bound is None:
        return None
    if quality is None or quality.metric != metric:
        return Misfit("quality", f"states no {metric or 'quality'}, and {bound:g} is asked for")
    missing = bound - quality.value if quality.better == "higher" else quality.value - bound
    if missing <= 0:
        return None
    side = "below" if quality.better == "higher" else "above"
    return Misfit("quality", f"{metric} {quality.value:g} is {missing:.3g} {side} the bound of {bound:g}", missing)


def unfit(variant: Variant, kind: DeviceKind | None) -> Misfit | None:
    """Return why a variant cannot run on a node of a kind; None if it can, as far as is known."""
    if variant.devices and (kind is None or kind.name not in variant.devices):
        this = kind.name if kind else "no known kind"
        return Misfit("device", f"runs on {', '.join(variant.devices)}, and this is {this}")
    if variant.memory_gb is not None and kind is not None and kind.memory_gb is not None:
        missing_gb = variant.memory_gb - kind.memory_gb
        if missing_gb > 0:
            words = f"needs {variant.memory_gb:g} GB, {missing_gb:g} GB more than a {kind.name} has"
            return Misfit("memory", words, missing_gb)
    return None


def unmeasured(variant: Variant) -> Misfit:
    """Return what is missing to know what a variant costs."""
    return Misfit(
        "unmeasured",
        f"no task with model {variant.label}, phase infer and unit {variant.unit} ran here or on a node of its kind, "
        "and no table tells of it; run it once",
    )


def too_slow(cost: Cost, bound_s: float | None) -> Misfit | None:
    """Return why a variant is too slow; None if it is not."""
    if bound_s is None:
        return None
    if cost.latency_s is None:
        return Misfit("latency unknown", f"its latency is not known, and {bound_s:g} s is asked for")
    over_s = cost.latency_s - bound_s
    if over_s <= 0:
        return None
    how = "" if cost.latency_measured else " (estimated)" if cost.measured else " (published)"
    words = f"takes {cost.latency_s:.3g} s{how}, {over_s:.3g} s more than the bound of {bound_s:g} s"
    return Misfit("latency", words, over_s)


def unmet(question: Question, against: Sequence[Against], variants: Sequence[Variant]) -> list[str]:
    """Say which bounds are missed, and by how much the nearest variant misses each."""
    found = []
    low = {one.label: one.words for one in against if one.reason == "quality"}
    slow = [one for one in against if one.reason == "latency"]
    if low and len(low) == len(variants):
        best = max(variants, key=lambda one: one.quality.goodness if one.quality else -inf)
        found.append(f"quality: {best.label} comes nearest: {low[best.label]}")
    if slow:
        fastest = min(slow, key=lambda one: (one.over or 0.0, one.label, one.where))
        among = f", of those with the quality asked for ({question.min_quality:g})" if low else ""
        found.append(f"latency: {fastest.label} on {fastest.where} is the fastest{among}: it {fastest.words}")
    rest: dict[str, list[Against]] = {}
    for one in against:
        if one.reason not in {"quality", "latency"}:
            rest.setdefault(one.reason, []).append(one)
    for reason, ones in sorted(rest.items()):
        more = f" (likewise {len(ones) - 1} more)" if len(ones) > 1 else ""
        found.append(f"{reason}: {ones[0].label}: {ones[0].words}{more}")
    return found
