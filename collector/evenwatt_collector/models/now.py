"""Nodes and grids of the moment, as choices take them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_collector.models.choice import PlaceNow
from evenwatt_collector.models.rules import DAY_S, Ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from evenwatt_collector.carbon import Factor
    from evenwatt_collector.carbon.series import Reading
    from evenwatt_collector.fleet import Fleet

STEP_S: Final = 1800.0
"""As fine as any grid's forecast that is worth following with a model."""
GONE_S: Final = 60.0
"""A service is not moved because a node has not spoken for a few seconds; after a minute it has."""


def places_now(fleet: Fleet, factor: Callable[[str], Factor], now_s: float) -> list[PlaceNow]:
    """Return every node that was heard of, with what a joule weighs there now; ``now_s`` is monotonic."""
    found = []
    for zone in fleet.zones:
        weight = factor(zone)
        found += [
            PlaceNow(
                zone=zone,
                node=node.name,
                intensity_g_per_kwh=weight.intensity_g_per_kwh,
                pue=weight.pue,
                standing=weight.standing,
                source=weight.source,
                alive=node.present and node.live is not None and node.age_s(now_s) < GONE_S,
            )
            for node in fleet.in_zone(zone)
        ]
    return found


def ahead_of(forecast: Sequence[Reading], now_s: float) -> Ahead | None:
    """Return the next 24 hours out of a forecast in order and without gaps, Unix time; None if there is none."""
    if not forecast:
        return None
    start_s, end_s = max(now_s, forecast[0].start_s), min(forecast[-1].end_s, now_s + DAY_S)
    return Ahead(STEP_S, tuple(_sampled(forecast, start_s, end_s))) if end_s > start_s else None


def _sampled(forecast: Sequence[Reading], start_s: float, end_s: float) -> Iterable[float]:
    i, at_s = 0, start_s
    while at_s < end_s:
        while forecast[i].end_s <= at_s:
            i += 1
        yield forecast[i].g_per_kwh
        at_s += STEP_S
