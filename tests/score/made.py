"""Periods of a made-up fleet, in round numbers."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.report.model import Figures
from evenwatt_collector.report.totals import OPTIONAL, PLAIN, TABLES, added
from evenwatt_collector.score.material import Material, Part, Place

T0 = 1_793_577_600.0
WEEK = 7 * 86_400.0
MEANS = {"north": 120.0, "south": 480.0}


def figures(kwh, idle_kwh=0.0, g_per_kwh=300.0, units=None, embodied=20.0, covered=1.0, pue=1.2):
    """g_per_kwh is of the site's energy; covered is the share of the time with records."""
    energy_j = 3.6e6 * kwh
    return Figures(
        energy_j=energy_j,
        dynamic_j=energy_j - 3.6e6 * idle_kwh,
        idle_j=3.6e6 * idle_kwh,
        site_j=pue * energy_j,
        location_g=kwh * pue * g_per_kwh,
        embodied_g=None if embodied is None else embodied * kwh,
        measured_j=energy_j,
        by_standing_j={Standing.MEASURED: energy_j},
        covered_s=1e6 * covered,
        missing_s=1e6 * (1 - covered),
        units=units or {},
    )


def material(parts, idle=None, covered=1.0, **more):
    """parts: by name, by zone: figures. idle: by zone, what belongs to nobody."""
    zones = sorted({zone for by_zone in parts.values() for zone in by_zone} | set(idle or {}))
    places = {}
    for zone in zones:
        inside = [by_zone[zone] for by_zone in parts.values() if zone in by_zone]
        rest = [(idle or {})[zone]] if zone in (idle or {}) else []
        total = replace(added([*inside, *rest]), covered_s=1e6 * covered, missing_s=1e6 * (1 - covered))
        places[zone] = Place(mean_g_per_kwh=MEANS.get(zone, 300.0), total=total)
    base = {"by": "workload", "start_s": T0, "end_s": T0 + WEEK, "known_at_s": T0 + WEEK, "made_s": T0 + WEEK,
            "version": "1", "fleet": "lab", "factors": ("DE by file (lifecycle, measured)",)}  # fmt: skip
    return Material(
        **base | more, parts=tuple(Part(name=n, by_zone=z) for n, z in sorted(parts.items())), places=places
    )


def scaled(whole, share):
    """The same figures, a share of them; units and time too."""
    return replace(
        whole,
        **{name: getattr(whole, name) * share for name in PLAIN},
        **{name: None if (v := getattr(whole, name)) is None else v * share for name in OPTIONAL},
        **{name: {key: v * share for key, v in getattr(whole, name).items()} for name in TABLES},
    )


kwhs = st.floats(0.01, 1e4)


@st.composite
def some_figures(draw, unit="image"):
    kwh = draw(kwhs)
    return figures(
        kwh,
        kwh * draw(st.floats(0, 0.9)),
        draw(st.floats(5, 900)),
        {unit: draw(st.floats(0.1, 1e6))},
        draw(st.none() | st.floats(0, 200)),
        pue=draw(st.floats(1, 2)),
    )


@st.composite
def some_zones(draw, unit="image"):
    zones = draw(st.lists(st.sampled_from(sorted(MEANS)), min_size=1, max_size=2, unique=True))
    return {zone: draw(some_figures(unit)) for zone in zones}
