"""Which variant a service runs, as its grid goes dirty and clean: a state machine for each service. Pure.

::

              dirty, and the dwell is over                       BEST: the best quality within the bounds
       BEST --------------------------------> LEAN                LEAN: fewer grams, never below min_quality
            <--------------------------------
              clean, and the dwell is over

With ``max_g_per_unit`` a moment is dirty if a unit of the variant that runs weighs more than that; then the best
variant that keeps within it runs, or the leanest. It is clean for a better variant once that one keeps 5 % below.
Without, the zone's intensity decides against its next 24 hours: dirty above their 75 % quantile (and more than 5 %
above the median: an even day gives no reason), clean below their median, and in between all stays as it is.

A service changes at most once in ``dwell_s``, unless what runs breaks a bound or its node is gone. It moves to another
node only if a unit weighs at least 10 % less there. An owner who states no ``min_quality`` has allowed nothing: such a
service keeps its best variant.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evenwatt_collector.jobs.times import duration_s
from evenwatt_collector.models.amounts import mass
from evenwatt_collector.models.choice import Candidate, Question, candidates
from evenwatt_collector.models.rules import Verdict, by_budget, by_day
from evenwatt_daemon import Failure
from evenwatt_wire.messages import Deployment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evenwatt_collector.jobs.spec import JobSpec
    from evenwatt_collector.models.choice import PlaceNow
    from evenwatt_collector.models.costs import Costs
    from evenwatt_collector.models.rules import Ahead

DWELL_S: Final = 1800.0
"""Our default: loading a model costs about as much as minutes of serving, and grids publish each half hour or so."""
MOVE_AT: Final = 0.9
"""A service moves where a unit weighs at most this share."""
_WHY: Final = 400
"""Characters that a deployment has for its reason."""


class Service(Struct, frozen=True, kw_only=True):
    """A service and what its owner asks for."""

    name: str
    """An id of the wire: ``[a-z0-9-]``."""
    task: str
    min_quality: float | None = None
    max_latency_s: float | None = None
    metric: str = ""
    zones: tuple[str, ...] = ()
    """Where it may run; empty: everywhere."""
    nodes: tuple[str, ...] = ()
    """Patterns of node names; empty: every node."""
    max_g_per_unit: float | None = None
    unit: str = ""
    """What the budget is of; empty: what the task is counted in."""
    dwell_s: float = DWELL_S

    @property
    def question(self) -> Question:
        """What is asked of the registry."""
        return Question(
            task=self.task,
            min_quality=self.min_quality,
            max_latency_s=self.max_latency_s,
            metric=self.metric,
        )

    def allows(self, place: PlaceNow) -> bool:
        """Return whether it may run on a node."""
        named = not self.nodes or any(fnmatchcase(place.node, pattern) for pattern in self.nodes)
        return named and (not self.zones or place.zone in self.zones)


class Held(Struct, kw_only=True):
    """What a service runs; storable."""

    label: str
    zone: str
    node: str
    since_s: float
    """When this variant and node were decided, Unix time."""
    lowered: bool = False
    """Whether the grid made it leaner than the best."""


class Change(Struct, frozen=True, kw_only=True):
    """One change that a step made."""

    service: str
    before: str | None
    """Variant and place, ``LABEL at ZONE:NODE``; None: it is new."""
    after: str
    why: str


class VariantController:
    """All services. ``step`` may be called as often as one likes; equal inputs give equal answers."""

    def __init__(self, held: Mapping[str, Held] | None = None) -> None:
        self._held = dict(held or {})
        self.troubles: dict[str, str] = {}
        """Why a service runs nothing that meets its bounds."""
        self.changes: list[Change] = []
        """Of the last step."""

    def state(self) -> dict[str, Held]:
        """Return what has to be remembered over a restart."""
        return dict(self._held)

    def step(
        self,
        now_s: float,
        services: Sequence[Service],
        places: Sequence[PlaceNow],
        ahead: Mapping[str, Ahead],
        costs: Costs,
    ) -> list[Deployment]:
        """Decide for each service.

        Args:
            now_s: Unix time.
            services: What is asked for.
            places: Nodes and what their grids are now.
            ahead: Intensities of the next 24 hours, by zone.
            costs: What variants cost.
        """
        self.troubles, self.changes = {}, []
        for name in set(self._held) - {service.name for service in services}:
            del self._held[name]
        once = {service.name: service for service in reversed(services)}
        found = [self._decide(now_s, service, places, ahead, costs) for service in reversed(once.values())]
        if len(once) < len(services):
            names = [service.name for service in services]
            for name in once:
                if names.count(name) > 1:
                    self.troubles[name] = f"{names.count(name)} services have the id {name}; only the first is followed"
        return [deployment for deployment in found if deployment is not None]

    def _decide(
        self,
        now_s: float,
        service: Service,
        places: Sequence[PlaceNow],
        ahead: Mapping[str, Ahead],
        costs: Costs,
    ) -> Deployment | None:
        options = self._options(service, places, costs)
        if not options:
            return None
        held = self._held.get(service.name)
        running = None if held is None else next((one for one in options if _same(one, held)), None)
        if held is None or running is None:
            return self._begin(now_s, service, options, ahead)
        verdict = _verdict(service, held, running, _by_label(options, held), ahead.get(running.zone))
        why = f"{_moved(running, verdict.target)}{verdict.why}; {verdict.would_change}"
        if not _same(verdict.target, held):
            wait_s = held.since_s + service.dwell_s - now_s
            if wait_s <= 0:
                return self._change(now_s, service, verdict, why)
            target = f"{verdict.target.label} at {verdict.target.where}"
            why = f"{target} follows in {max(1.0, wait_s / 60):.0f} min, since it changed lately: {why}"
            return _deployment(service, held, running, why)
        held.lowered = verdict.lowered
        return _deployment(service, held, running, why)

    def _options(self, service: Service, places: Sequence[PlaceNow], costs: Costs) -> list[Candidate]:
        """Return what the service may run now; nothing, and the trouble, if nothing will do."""
        try:
            good, against = candidates(service.question, costs, [place for place in places if service.allows(place)])
        except Failure as error:
            self.troubles[service.name] = str(error)
            return []
        if not good:
            self.troubles[service.name] = "; ".join(f"{one.label}: {one.words}" for one in against[:3])
        elif service.unit not in {"", good[0].unit}:
            counted = f"{service.task} is counted in {good[0].unit}"
            self.troubles[service.name] = f"its budget is per {service.unit}, and {counted}"
            return []
        return _may_run(service, good)

    def _begin(
        self, now_s: float, service: Service, options: list[Candidate], ahead: Mapping[str, Ahead]
    ) -> Deployment:
        """Take the best variant, or what the grid calls for; what ran, if anything, is no longer possible."""
        best = min(options, key=lambda one: (-one.goodness, one.g_per_unit, one.label, one.where))
        fresh = Held(label=best.label, zone=best.zone, node=best.node, since_s=now_s)
        verdict = _verdict(service, fresh, best, _by_label(options, fresh), ahead.get(best.zone))
        held = self._held.get(service.name)
        gone = "" if held is None else f"{held.label} at {held.zone}:{held.node} is no longer possible; "
        return self._change(now_s, service, verdict, f"{gone}{verdict.why}; {verdict.would_change}")

    def _change(self, now_s: float, service: Service, verdict: Verdict, why: str) -> Deployment:
        was, target = self._held.get(service.name), verdict.target
        words = None if was is None else f"{was.label} at {was.zone}:{was.node}"
        self.changes.append(
            Change(service=service.name, before=words, after=f"{target.label} at {target.where}", why=why)
        )
        held = self._held[service.name] = Held(
            label=target.label, zone=target.zone, node=target.node, since_s=now_s, lowered=verdict.lowered
        )
        return _deployment(service, held, target, why)


def services_of(specs: Iterable[JobSpec]) -> list[Service]:
    """Return the services among jobs."""
    return [
        Service(
            name=service_id(spec.name),
            task=spec.service.task,
            min_quality=spec.slo.min_quality,
            max_latency_s=spec.slo.max_latency_s,
            zones=tuple(spec.zones),
            nodes=tuple(spec.nodes),
            max_g_per_unit=spec.service.max_g_per_unit,
            unit=spec.service.unit if spec.service.max_g_per_unit is not None else "",
            dwell_s=_dwell_s(spec.service.dwell),
        )
        for spec in specs
        if spec.service is not None
    ]


def service_id(name: str) -> str:
    """Return a name as an id of the wire."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].rstrip("-") or "service"


def _dwell_s(text: str | None) -> float:
    try:
        return DWELL_S if text is None else duration_s(text)
    except ValueError:  # such a job is refused when it is submitted
        return DWELL_S


def _may_run(service: Service, good: list[Candidate]) -> list[Candidate]:
    """Return what may run: measured before published, and without a bound on quality the best only."""
    options = [one for one in good if one.cost.measured] or good
    if service.min_quality is not None or not options:
        return options
    best = max(one.goodness for one in options)
    return [one for one in options if one.goodness == best]


def _same(one: Candidate, held: Held) -> bool:
    return (one.label, one.zone, one.node) == (held.label, held.zone, held.node)


def _by_label(options: Iterable[Candidate], held: Held) -> list[Candidate]:
    """Return each variant where it would run: where the service is, unless it is far better elsewhere."""
    by_label: dict[str, list[Candidate]] = {}
    for one in options:
        by_label.setdefault(one.label, []).append(one)
    found = []
    for _, ones in sorted(by_label.items()):
        least = min(ones, key=lambda one: (one.g_per_unit, one.where))
        here = next((one for one in ones if (one.zone, one.node) == (held.zone, held.node)), None)
        found.append(least if here is None or least.g_per_unit <= MOVE_AT * here.g_per_unit else here)
    return found


def _verdict(
    service: Service, held: Held, running: Candidate, options: list[Candidate], ahead: Ahead | None
) -> Verdict:
    if service.max_g_per_unit is not None:
        return by_budget(service.max_g_per_unit, running, options)
    return by_day(running, options, ahead, lowered=held.lowered, bound=service.min_quality)


def _deployment(service: Service, held: Held, one: Candidate, why: str) -> Deployment:
    published = "" if one.cost.measured else "published figures, not measured here; "
    return Deployment(
        service=service.name,
        variant=one.label,
        zone=one.zone,
        node=one.node,
        since_wall_ms=max(0, int(held.since_s * 1000)),
        g_per_unit=one.g_per_unit,
        unit=one.unit,
        why=f"{published}{why}"[:_WHY],
    )


def _moved(running: Candidate, target: Candidate) -> str:
    if target.label != running.label or target.where == running.where:
        return ""
    return f"moved from {running.where}, where it weighs {mass(running.g_per_unit)} per {running.unit}; "
