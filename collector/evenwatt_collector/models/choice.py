"""Which variant, on which node, does a unit of a task for the least carbon now. Pure.

Expected grams of a unit are ``joules / 3.6e6 x PUE x intensity now`` (ISO/IEC 21031 without the embodied part: the
machines are there already). Of what meets every bound the least grams win; what was measured here stands before what
was published elsewhere, whose grams are shown beside it and decide only where nothing measured will do. At equal grams
the better quality wins, then the name, so that equal questions have equal answers.
"""

from __future__ import annotations

from collections import Counter
from math import hypot, inf
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from evenwatt_collector.carbon.emissions import JOULES_PER_KWH
from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.models.amounts import mass
from evenwatt_collector.models.bounds import other_unit, too_low, too_slow, unfit, unmeasured, unmet, which_metric
from evenwatt_collector.models.costs import Cost
from evenwatt_collector.report.uncertainty import INTENSITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.models.costs import Costs
    from evenwatt_collector.models.registry import DeviceKind, Variant


class Question(Struct, frozen=True, kw_only=True):
    """What is asked; every bound but the task may be left out."""

    task: str
    min_quality: float | None = None
    """On the scale of the metric; where less is better, the most that is allowed."""
    max_latency_s: float | None = None
    where: tuple[str, ...] = ()
    """Zones, nodes or ``ZONE:NODE``; empty: everywhere."""
    metric: str = ""
    """Which quality; needed only where variants of the task state several."""


class PlaceNow(Struct, frozen=True, kw_only=True):
    """A node that could run a variant, with its grid now."""

    zone: str
    node: str
    intensity_g_per_kwh: float
    pue: float = 1.0
    standing: Standing = Standing.MEASURED
    source: str = ""
    alive: bool = True


class Candidate(Struct, frozen=True, kw_only=True):
    """A variant on a node, and what a unit is expected to weigh there now."""

    label: str
    zone: str
    node: str
    quality: float | None
    metric: str
    better: Literal["higher", "lower"] = "higher"
    unit: str
    cost: Cost
    intensity_g_per_kwh: float
    pue: float
    standing: Standing
    source: str
    g_per_unit: float
    low_g_per_unit: float
    high_g_per_unit: float
    """90 %: spread and metering of the joules, and how the intensity is known."""
    price_per_unit: float | None = None
    """By the price of the node's time; None where no price or speed is known."""

    @property
    def where(self) -> str:
        """Zone and node."""
        return f"{self.zone}:{self.node}"

    @property
    def goodness(self) -> float:
        """The quality, negative where less is better; minus infinity where none is stated."""
        if self.quality is None:
            return -inf
        return self.quality if self.better == "higher" else -self.quality

    def intensity_at(self, g_per_unit: float) -> float:
        """Return the intensity at which a unit would weigh so much, g/kWh."""
        return g_per_unit * JOULES_PER_KWH / (self.cost.joules_per_unit * self.pue)


class Against(Struct, frozen=True, kw_only=True):
    """Why something was not chosen."""

    label: str
    where: str
    """``ZONE:NODE``, or the zone if it is the same on several nodes; empty where the variant is out everywhere."""
    reason: str
    """``unit``, ``quality``, ``latency``, ``latency unknown``, ``memory``, ``device``, ``unmeasured``, ``no node``,
    ``published`` or ``more grams``."""
    words: str
    over: float | None = None
    """By how much a bound is missed, in its unit: seconds, gigabytes."""
    g_per_unit: float | None = None
    nodes: int = 1
    """Of how many nodes it is said."""


class Choice(Struct, frozen=True, kw_only=True):
    """The answer."""

    question: Question
    at_s: float
    chosen: Candidate | None
    runner_up: Candidate | None
    clear: bool
    """Whether the 90 % ranges of the two do not overlap."""
    against: list[Against] = []
    unmet: list[str] = []
    """Nothing was chosen: which bound is missed, and by how much."""


def choose(question: Question, costs: Costs, places: Sequence[PlaceNow], now_s: float) -> Choice:
    """Return the variant and node of the least grams per unit now.

    Raises:
        Failure: no such task, or its variants state different qualities and none is named.
    """
    good, against = candidates(question, costs, places)
    ranked = sorted(good, key=_rank)
    best = ranked[0] if ranked else None
    behind = [] if best is None else [_behind(one, best, nodes) for one, nodes in _heads(ranked[1:])]
    runner_up = ranked[1] if len(ranked) > 1 else None
    return Choice(
        question=question,
        at_s=now_s,
        chosen=best,
        runner_up=runner_up,
        clear=best is not None and (runner_up is None or best.high_g_per_unit < runner_up.low_g_per_unit),
        against=[*behind, *_together(against)],
        unmet=[] if best else unmet(question, against, costs.registry.of_task(question.task)),
    )


def candidates(question: Question, costs: Costs, places: Sequence[PlaceNow]) -> tuple[list[Candidate], list[Against]]:
    """Return all that meets the bounds, and why the rest does not.

    Raises:
        Failure: no such task, or its variants state different qualities and none is named.
    """
    variants = costs.registry.of_task(question.task)
    metric = which_metric(question.task, question.metric, question.min_quality, variants)
    asked = [place for place in places if place.alive and _asked(question.where, place)]
    found: list[Candidate] = []
    against: list[Against] = []
    unit = costs.registry.unit_of(question.task)
    for variant in variants:
        out = other_unit(variant, unit) or too_low(variant, question.min_quality, metric)
        if out is not None:
            against.append(Against(label=variant.label, where="", reason=out.reason, words=out.words, over=out.over))
        elif not asked:
            against.append(_no_node(variant, question, places))
        for place in asked if out is None else ():
            one = _judge(variant, place, question, costs)
            if isinstance(one, Candidate):
                found.append(one)
            else:
                against.append(one)
    return found, against


def _judge(variant: Variant, place: PlaceNow, question: Question, costs: Costs) -> Candidate | Against:
    kind = costs.kind_of(place.zone, place.node)
    cost = costs.cost(variant, place.zone, place.node)
    where = f"{place.zone}:{place.node}"
    misfit = unfit(variant, kind) or (unmeasured(variant) if cost is None else too_slow(cost, question.max_latency_s))
    if cost is not None and misfit is None:
        return _candidate(variant, place, cost, kind)
    why = misfit or unmeasured(variant)
    return Against(label=variant.label, where=where, reason=why.reason, words=why.words, over=why.over)


def _candidate(variant: Variant, place: PlaceNow, cost: Cost, kind: DeviceKind | None) -> Candidate:
    grams = cost.joules_per_unit / JOULES_PER_KWH * place.pue * place.intensity_g_per_kwh
    relative = hypot(cost.relative, INTENSITY[place.standing].relative)
    price = None
    if kind is not None and kind.price_per_h is not None and cost.units_per_s:
        price = kind.price_per_h / 3600 / cost.units_per_s
    return Candidate(
        label=variant.label,
        zone=place.zone,
        node=place.node,
        quality=variant.quality.value if variant.quality else None,
        metric=variant.quality.metric if variant.quality else "",
        better=variant.quality.better if variant.quality else "higher",
        unit=variant.unit,
        cost=cost,
        intensity_g_per_kwh=place.intensity_g_per_kwh,
        pue=place.pue,
        standing=place.standing,
        source=place.source,
        g_per_unit=grams,
        low_g_per_unit=max(0.0, grams * (1 - relative)),
        high_g_per_unit=grams * (1 + relative),
        price_per_unit=price,
    )


def _asked(where: tuple[str, ...], place: PlaceNow) -> bool:
    return not where or bool({place.zone, place.node, f"{place.zone}:{place.node}"} & set(where))


def _rank(one: Candidate) -> tuple[bool, float, float, str, str, str]:
    return (not one.cost.measured, one.g_per_unit, -one.goodness, one.label, one.zone, one.node)


def _heads(ranked: Sequence[Candidate]) -> list[tuple[Candidate, int]]:
    """Return the first of each variant in each zone, and of how many nodes there it is the best."""
    first: dict[tuple[str, str, bool], Candidate] = {}
    counts: Counter[tuple[str, str, bool]] = Counter()
    for one in ranked:
        key = (one.label, one.zone, one.cost.measured)
        first.setdefault(key, one)
        counts[key] += 1
    return [(one, counts[key]) for key, one in first.items()]


def _behind(one: Candidate, best: Candidate, nodes: int) -> Against:
    more = one.g_per_unit - best.g_per_unit
    reason, words = (
        "more grams",
        f"the same {mass(one.g_per_unit)} per {one.unit}; the better quality decides",
    )
    if best.cost.measured and not one.cost.measured:
        reason = "published"
        words = (
            f"{mass(abs(more))} {'less' if more < 0 else 'more'} per {one.unit} by a published figure, which does not "
            "stand before what was measured here; run it once to know"
        )
    elif more > 0:
        share = f" ({more / best.g_per_unit:+.0%})" if best.g_per_unit > 0 else ""
        words = f"{mass(one.g_per_unit)} per {one.unit}, {mass(more)} more{share}"
    if nodes > 1:
        words += f"; {nodes - 1} more node{'s' if nodes > 2 else ''} there weigh{'' if nodes > 2 else 's'} no less"
    return Against(label=one.label, where=one.where, reason=reason, words=words, g_per_unit=one.g_per_unit)


def _together(against: list[Against]) -> list[Against]:
    """Say once what is the same on several nodes of a zone."""
    found: dict[tuple[str, ...], list[Against]] = {}
    for one in against:
        found.setdefault((one.label, one.where.partition(":")[0], one.reason, one.words), []).append(one)
    return [
        ones[0] if len(ones) == 1 else replace(ones[0], where=zone, nodes=len(ones))
        for (_, zone, _, _), ones in found.items()
    ]


def _no_node(variant: Variant, question: Question, places: Sequence[PlaceNow]) -> Against:
    known = sorted({place.zone for place in places if place.alive})
    where = f" in {', '.join(question.where)}" if question.where else ""
    there = f"; nodes are heard in {', '.join(known)}" if known else ""
    return Against(label=variant.label, where="", reason="no node", words=f"no node is heard{where}{there}")
