"""What a report rests on besides energy: facts of sites, devices, and who has to be named beside an intensity. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.site import device_line, held_at
from evenwatt_collector.report.model import DeviceFactor, SiteFactor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evenwatt_collector.carbon.site import Devices, SiteFacts
    from evenwatt_collector.carbon.weigh import Use

    Line = Sequence[tuple[float, SiteFacts]]

ATTRIBUTION: Final = {
    "electricity-maps": "Electricity Maps, by contract with it",
    "watttime": "WattTime v3, by contract with it",
    "neso": "National Energy System Operator, Carbon Intensity API, CC BY 4.0",
    "entsoe": "ENTSO-E Transparency Platform, generation mix; fuel factors: docs/intensity.md",
    "eia": "US Energy Information Administration, generation mix, public domain; fuel factors: docs/intensity.md",
    "carbon-aware-sdk": "Carbon Aware SDK WebAPI; ask its operator for its source",
}
"""Who has to be named beside a figure; docs/intensity.md."""


def site_factors(zone: str, line: Line, start_s: float, end_s: float) -> list[SiteFactor]:
    """Return what held for a zone over [start, end), one entry for each stretch."""
    edges = [*(since for since, _ in line), float("inf")]
    stretches = [
        (max(edges[i], start_s), min(edges[i + 1], end_s), facts)
        for i, (_, facts) in enumerate(line)
        if max(edges[i], start_s) < min(edges[i + 1], end_s)
    ]
    return [_site_factor(zone, *stretch) for stretch in stretches]


def device_factors(zone: str, nodes: Iterable[str], lines: Mapping[str, Devices], at_s: float) -> list[DeviceFactor]:
    """Return what the nodes of a zone weigh that have a device, by name."""
    found = []
    for name in sorted(nodes):
        line = device_line(zone, name, lines)
        if line:
            facts = held_at(line, at_s)
            found.append(
                DeviceFactor(node=name, embodied_g=facts.embodied_g, lifetime_s=facts.lifetime_s, detail=facts.detail)
            )
    return found


def detail_of(use: Use, lines: Iterable[Line]) -> str:
    """Return year, licence and attribution of a source."""
    for line in lines:
        for _, facts in line:
            if (facts.grid, facts.fallback_source) == (use.grid, use.source):
                return facts.fallback_detail
    return ATTRIBUTION.get(use.source, "")


def _site_factor(zone: str, start_s: float, end_s: float, facts: SiteFacts) -> SiteFactor:
    contract = facts.contract
    words = ""
    if contract is not None:
        rest = contract.rest_g_per_kwh
        other = "the grid's average" if rest is None else f"a residual mix of {rest:g} g/kWh"
        words = f"{contract.share:.0%} of the energy by contract, the rest by {other}"
        words += f"; {contract.detail}" if contract.detail else ""
    return SiteFactor(
        zone=zone,
        start_s=start_s,
        end_s=end_s,
        pue=facts.pue,
        market_g_per_kwh=None if contract is None else contract.g_per_kwh,
        market_detail=words,
        wue_l_per_kwh=facts.wue_l_per_kwh,
        grid_water_l_per_kwh=facts.grid_water_l_per_kwh,
    )
