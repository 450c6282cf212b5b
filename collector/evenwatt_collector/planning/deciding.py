"""From what the collector knows to a problem, and from a plan to a decision as it is kept. It only looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenwatt_collector.jobs.book import active
from evenwatt_collector.jobs.model import Decision
from evenwatt_collector.jobs.times import in_words
from evenwatt_collector.plan.problem import Objective
from evenwatt_collector.planning.places import Offers
from evenwatt_collector.planning.problems import make_clock, make_job, make_problem, option

if TYPE_CHECKING:
    from evenwatt_collector.jobs.hosts import Host
    from evenwatt_collector.jobs.model import JobRecord
    from evenwatt_collector.plan.problem import Explained, Planned, Problem
    from evenwatt_collector.planning.capping import Capping
    from evenwatt_collector.planning.closing import Closing
    from evenwatt_collector.planning.problems import PlaceNow
    from evenwatt_collector.planning.surroundings import Surroundings


class Deciding:
    """What plans are made from, and what they come to.

    Args:
        around: What it looks at.
        closing: Knows how much longer jobs take than said.
        capping: Knows how much slower they are under their caps.
    """

    def __init__(self, around: Surroundings, closing: Closing, capping: Capping) -> None:
        self._around, self._settings = around, around.settings.jobs
        self._closing, self._capping = closing, capping
        self.objective = Objective(
            price_per_g=self._settings.price_per_g, risk=self._settings.risk, least_gain=self._settings.least_gain
        )

    def problem(
        self, records: list[JobRecord], known: list[Host], now: dict[str, PlaceNow], wall_s: float
    ) -> tuple[Problem, dict[str, str]]:
        """Return the problem, and the jobs that no place can take, with the reason."""
        settings = self._settings
        clock = make_clock(wall_s, settings.slot_s, settings.horizon_s)
        jobs, unplaced, offers = [], {}, Offers(known, now)
        for record in records:
            if record.spec.service is not None or record.cancelling:
                continue
            zones, taken = offers.of(record)
            zones = zones or [run.zone for run in active(record) if run.zone in now][:1]
            if not zones:
                unplaced[record.id] = _no_place(record)
                continue
            reserve = (1 + self._closing.reserve(record)) * (1 + self._capping.slower(record)) - 1
            job = make_job(record, zones, wall_s, settings.kwh_per_gb, settings.mb_per_s / 1000, reserve, taken)
            jobs.append(job)
        return make_problem(clock, now.values(), jobs, self.objective), unplaced

    def decision(self, record: JobRecord, explained: Explained, problem: Problem) -> Decision:
        """Return a decision as it is kept."""
        return Decision(
            job=record.id,
            made_s=problem.clock.now_s,
            policy="carbon",
            chosen=option(explained.chosen, "chosen", feasible=not explained.chosen.late, why=explained.chosen.why),
            baseline=option(
                explained.baseline, "now", feasible=not explained.baseline.late, why=explained.baseline.why
            ),
            alternatives=[
                option(other.planned, other.name, feasible=other.feasible, why=other.why)
                for other in explained.alternatives
            ],
            would_change=list(explained.would_change),
            rests_on=self.rests_on(problem, explained.chosen),
        )

    def rests_on(self, problem: Problem, planned: Planned) -> str:
        """Return which forecast a plan rests on, in words."""
        zones = dict.fromkeys(part.place for part in planned.segments)
        return "; ".join(f"{zone}: {self.source(zone, problem)}" for zone in zones)

    def source(self, zone: str, problem: Problem) -> str:
        """Return what is known of a zone's intensity, by whom, and how far ahead."""
        facts = self._around.emissions.facts(zone)
        ahead = self._around.emissions.grids.forecast(facts.grid, problem.clock.now_s)
        known_s = min(problem.places[zone].known_slots, problem.clock.slots) * problem.clock.slot_s
        if not ahead or known_s <= 0:
            return f"{facts.grid}: {facts.fallback_detail}, a fallback"
        return f"{facts.grid} by {ahead[-1].source} ({ahead[-1].standing.value}), known for {in_words(known_s)}"


def _no_place(record: JobRecord) -> str:
    spec = record.spec
    if spec.template:
        where = f" in {', '.join(spec.zones)}" if spec.zones else ""
        return f"no node{where} offers template {spec.template!r} to it; templates are allow-listed on the nodes"
    return f"none of its zones is known: {', '.join(spec.zones)}"
