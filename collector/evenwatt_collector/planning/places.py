"""Zones and nodes as plans see them, out of what the collector knows now."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from evenwatt_collector.jobs.book import active
from evenwatt_collector.jobs.hosts import Host, slots, suits
from evenwatt_collector.planning.problems import MARGIN, PlaceNow

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from evenwatt_collector.jobs.model import JobRecord
    from evenwatt_collector.planning.surroundings import Surroundings


def hosts(around: Surroundings, now_s: float) -> list[Host]:
    """Return every node that offers to run work, whether it can just now or not; ``now_s`` is monotonic."""
    return [
        Host(
            zone=zone,
            node=node.name,
            templates={template.name: template for template in node.birth.templates},
            slots=node.birth.job_slots,
            live=node.present and not node.silent(now_s) and around.reachable(zone),
        )
        for zone in around.fleet.zones
        for node in around.fleet.in_zone(zone)
        if node.birth is not None and node.birth.templates
    ]


def places(
    around: Surroundings, known: Iterable[Host], records: Iterable[JobRecord], wall_s: float
) -> dict[str, PlaceNow]:
    """Return every zone with its grid and its room."""
    found = list(known)
    bands = {(said["kind"], said["name"]): said for said in around.emissions.forecasting.documents()}
    running = list(records)
    return {
        zone: PlaceNow(
            name=zone,
            facts=facts,
            steps=around.emissions.grids.steps(facts.grid, wall_s),
            band=bands.get(("grid", facts.grid)),
            slots=sum(host.slots for host in found if host.zone == zone and host.live),
            power_free_w=_power_free_w(around, zone, running),
            price_per_kwh=_price(around, zone),
        )
        for zone in around.zones()
        for facts in (around.emissions.facts(zone),)
    }


class Offers:
    """Where jobs may run, worked out once for all that ask for the same.

    Args:
        known: Nodes that offer to run work.
        zones: Names of all zones.
    """

    def __init__(self, known: Iterable[Host], zones: Iterable[str]) -> None:
        self._known, self._zones = list(known), list(zones)
        self._found: dict[Hashable, tuple[list[str], int]] = {}

    def of(self, record: JobRecord) -> tuple[list[str], int]:
        """Return the zones in which a job may run, its home first, and how many slots of a node a run of it takes.

        Zones with a node for its template; for work that others run, in no slot of ours, all that its owner names.
        """
        spec = record.spec
        key = (spec.template, tuple(spec.values), tuple(spec.zones), tuple(spec.nodes), spec.home)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._look(record)
        return found

    def _look(self, record: JobRecord) -> tuple[list[str], int]:
        spec = record.spec
        hosts = [host for host in self._known if suits(host, record)] if spec.template else []
        zones = {host.zone for host in hosts} if spec.template else set(spec.zones or self._zones)
        home = spec.home or (spec.zones[0] if spec.zones else "")
        ordered = sorted(zones & set(self._zones), key=lambda zone: (zone != home, zone))
        return ordered, max((slots(host, record) for host in hosts), default=0)


def _price(around: Surroundings, zone: str) -> float | None:
    own = around.settings.zone(zone).price_per_kwh
    return own if own is not None else around.settings.jobs.price_per_kwh or None


def _power_free_w(around: Surroundings, zone: str, records: Iterable[JobRecord]) -> float:
    """Return what is left of a zone's budget for jobs: beside what is drawn now by everything that is no job."""
    view = around.steering.zone(zone)
    if view is None or view.budget_w is None:
        return inf
    jobs_w = sum(len([run for run in active(record) if run.zone == zone]) * record.power_w for record in records)
    return max(0.0, (1 - MARGIN) * view.budget_w - max(0.0, view.power_w - jobs_w))
