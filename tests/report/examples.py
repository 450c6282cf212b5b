"""Reports for tests: one made by hand, and a strategy that makes any."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import strategies as st

from evenwatt_collector.carbon.series import Basis, Kind, Standing
from evenwatt_collector.report.model import By, DeviceFactor, Figures, Moment, Report, Row, SiteFactor, Used
from evenwatt_collector.report.totals import added

MIDNIGHT = 1_792_879_200.0  # 2026-10-25T00:00+02:00 in Berlin: the day has 25 hours
DAY_S = 25 * 3600.0
NASTY = '=cmd|"/c calc"!A1<script>alert(1)</script>, [bold]&'


def figures(kwh, idle_kwh, *, pue=1.25, g_per_kwh=320.0, units=None, node=False):
    """Figures that hang together, in round numbers."""
    energy_j, idle_j = 3.6e6 * kwh, 3.6e6 * idle_kwh
    grams = kwh * pue * g_per_kwh
    return Figures(
        energy_j=energy_j,
        dynamic_j=energy_j - idle_j,
        idle_j=idle_j,
        site_j=energy_j * pue,
        location_g=grams,
        location_dynamic_g=grams * (kwh - idle_kwh) / kwh if kwh else 0.0,
        market_g=kwh * pue * 25.0,
        marginal_g=0.9 * kwh * pue * 500.0,
        marginal_j=0.9 * energy_j,
        embodied_g=40.0 * kwh,
        water_l=1.8 * kwh,
        measured_j=0.75 * energy_j,
        integrated_j=0.125 * energy_j,
        estimated_j=0.125 * energy_j,
        by_standing_j={Standing.MEASURED: 0.5 * energy_j, Standing.FALLBACK: 0.5 * energy_j},
        covered_s=2 * DAY_S - 3600 if node else 0.0,
        missing_s=3600.0 if node else 0.0,
        units=units or {},
        duration_s=7200.0 if units else 0.0,
    )


ROWS = (
    Row(name="resnet", figures=figures(16, 4, units={"epoch": 8.0, "image": 1_024_000.0})),
    Row(name="llm-serve", figures=figures(8, 2, g_per_kwh=256.0, units={"request": 40_000.0})),
    Row(name=NASTY, figures=figures(2, 1)),
    Row(name="(idle)", residual=True, figures=figures(6, 6)),
    Row(name="(system)", residual=True, figures=figures(1, 0)),
)
TOTAL = replace(added(row.figures for row in ROWS), covered_s=2 * DAY_S - 3600, missing_s=3600.0)
EXAMPLE = Report(
    by=By.WORKLOAD,
    start_s=MIDNIGHT,
    end_s=MIDNIGHT + DAY_S,
    timezone="Europe/Berlin",
    known_at_s=MIDNIGHT + 3 * 86_400,
    made_s=MIDNIGHT + 3 * 86_400,
    version="0.1.0",
    fleet="lab",
    rows=ROWS,
    total=TOTAL,
    used=(
        Used(
            grid="DE",
            zones=("hall-1", "hall-2"),
            kind=Kind.AVERAGE,
            basis=Basis.LIFECYCLE,
            source="electricity-maps",
            standing=Standing.MEASURED,
            mean_g_per_kwh=290.0,
            least_g_per_kwh=181.0,
            most_g_per_kwh=412.0,
            energy_j=TOTAL.energy_j / 2,
            detail="ODbL",
        ),
        Used(
            grid="DE",
            zones=("hall-1", "hall-2"),
            kind=Kind.AVERAGE,
            basis=Basis.LIFECYCLE,
            source="annual",
            standing=Standing.FALLBACK,
            mean_g_per_kwh=334.0,
            least_g_per_kwh=334.0,
            most_g_per_kwh=334.0,
            energy_j=TOTAL.energy_j / 2,
            detail="2025, Ember via Our World in Data, CC BY 4.0",
        ),
    ),
    sites=(
        SiteFactor(
            zone="hall-1",
            start_s=MIDNIGHT,
            end_s=MIDNIGHT + DAY_S,
            pue=1.25,
            market_g_per_kwh=25.0,
            market_detail="wind contract",
            wue_l_per_kwh=1.8,
        ),
    ),
    devices=(
        DeviceFactor(node="node-1", embodied_g=1.2e6, lifetime_s=5 * 31_557_600.0, detail="vendor's declaration"),
    ),
    line=tuple(
        Moment(
            start_s=MIDNIGHT + 3600.0 * hour,
            end_s=MIDNIGHT + 3600.0 * (hour + 1),
            energy_j=0.0 if hour in {9, 10} else 3.6e6 * (1.2 + math.sin(hour / 4)),
            location_g=0.0 if hour in {9, 10} else 1.25 * (1.2 + math.sin(hour / 4)) * (300 + 8 * hour),
        )
        for hour in range(25)
    ),
    notes=("half of the energy is weighed by an annual average: electricity-maps was silent from 12:00",),
)

amounts = st.floats(0, 1e12, allow_subnormal=False)
parts = st.floats(0, 1)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def any_figures(draw):
    energy_j, idle, measured = draw(amounts), draw(parts), draw(parts)
    pue, intensity = draw(st.floats(1, 3)), draw(st.floats(0, 2000))
    grams = energy_j / 3.6e6 * pue * intensity
    rest_j = energy_j * (1 - measured)
    return Figures(
        energy_j=energy_j,
        dynamic_j=energy_j * (1 - idle),
        idle_j=energy_j * idle,
        site_j=energy_j * pue,
        location_g=grams,
        location_dynamic_g=grams * (1 - idle),
        market_g=draw(st.none() | amounts),
        marginal_g=draw(st.none() | amounts),
        marginal_j=energy_j * draw(parts),
        embodied_g=draw(st.none() | amounts),
        water_l=draw(st.none() | amounts),
        measured_j=energy_j * measured,
        integrated_j=rest_j * 0.5,
        estimated_j=rest_j * 0.25,
        unknown_j=rest_j * 0.25,
        by_standing_j={draw(st.sampled_from(Standing)): energy_j} if energy_j else {},
        units=draw(st.dictionaries(st.sampled_from(["request", "token", "epoch"]), st.floats(0.001, 1e9), max_size=2)),
        covered_s=draw(st.floats(0, 1e9)),
        missing_s=draw(st.just(0.0) | st.floats(0, 1e9)),
        duration_s=draw(st.floats(0, 1e9)),
    )


@st.composite
def any_report(draw):
    rows = [
        Row(name=name, residual=residual, zone=zone, node=zone and "node", figures=f)
        for name, residual, zone, f in draw(
            st.lists(st.tuples(names, st.booleans(), st.sampled_from(["", "z"]), any_figures()), max_size=6)
        )
    ]
    rows.sort(key=lambda row: row.residual)
    return replace(
        EXAMPLE,
        by=draw(st.sampled_from(By)),
        rows=tuple(rows),
        total=added(row.figures for row in rows),
        fleet=draw(names),
        notes=tuple(draw(st.lists(names, max_size=2))),
        line=draw(st.sampled_from([(), EXAMPLE.line])),
        timezone=draw(st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"])),
    )
