r"""Write the table of cloud regions that the collector carries, from the Green Software Foundation's metadata.

    curl -LO https://raw.githubusercontent.com/Green-Software-Foundation/real-time-cloud/\
06796bf1de940150754a6a68979a3414a4833781/Cloud_Region_Metadata.csv
    python packaging/cloud_regions.py Cloud_Region_Metadata.csv \
        > collector/evenwatt_collector/carbon/data/cloud_regions.csv

A region's grid zones come from its newest row; PUE and WUE each from the newest row that has them, with that row's
year. Estimates of the current year, which the foundation extrapolates, are not taken. ``annual`` is the row of our
table of annual averages: state or province where there is one. What the metadata have wrong is put right below, each
with its reason.
"""

from __future__ import annotations

import csv
import sys
from typing import Any, NamedTuple

SOURCE = "Green Software Foundation, real-time-cloud, Cloud_Region_Metadata.csv"
LICENCE = "facts published by the cloud provider, cited"

PROVIDERS = {
    "Amazon Web Services": "aws",
    "Google Cloud": "gcp",
    "Microsoft Azure": "azure",
    "Oracle Cloud Infrastructure": "oci",
}

SKIPPED = {
    ("azure", "northeurope", "Finland"),  # North Europe is Ireland, which has a row of its own
    ("azure", "asiapacific", "Indonesia"),  # not the name of a region
    ("gcp", "us-east2", "Georgia"),  # not open to customers
}
RENAMED = {("azure", "westus"): "westus2"}  # its coordinates are Quincy, Washington: West US 2; West US is California
ZONES = {
    ("gcp", "me-central1"): "QA",  # Doha is in Qatar, not in the Emirates
    ("gcp", "europe-west10"): "DE",  # Berlin; the row has no zone
    ("gcp", "europe-north2"): "SE-SE3",  # Stockholm; the row has no zone
    ("gcp", "northamerica-south1"): "MX",  # the row has no zone
    ("aws", "ca-west-1"): "CA-AB",  # Calgary; the row has no zone
}
COUNTRIES = {
    ("aws", "cn-north-1"): "CN",
    ("aws", "cn-northwest-1"): "CN",
    ("azure", "westcentralus"): "US",
    ("azure", "westus3"): "US",
}
"""Of regions without an Electricity Maps zone, whose first part is the country."""

STATES = {
    "Virginia": "US-VA",
    "Ohio": "US-OH",
    "Columbus": "US-OH",
    "N. California": "US-CA",
    "Los Angeles": "US-CA",
    ", CA": "US-CA",
    "Oregon": "US-OR",
    "Washington": "US-WA",
    "Iowa": "US-IA",
    "Illinois": "US-IL",
    ", IL": "US-IL",
    "South Carolina": "US-SC",
    "Georgia": "US-GA",
    "Texas": "US-TX",
    "Dallas": "US-TX",
    "Salt Lake": "US-UT",
    "Las Vegas": "US-NV",
    "Wyoming": "US-WY",
    "Arizona": "US-AZ",
    ", AZ": "US-AZ",
    ", VA": "US-VA",
    "Beijing": "CN-BJ",
    "Ningxia": "CN-NX",
}
"""A part of the location's name -> row of the annual table."""


class Region(NamedTuple):
    """One line of the table."""

    provider: str
    region: str
    location: str
    country: str
    annual: str
    electricity_maps_zone: str
    watttime_region: str
    pue: str
    pue_year: str
    wue_l_per_kwh: str
    wue_year: str
    year: str
    source: str
    licence: str


def main(path: str) -> None:
    """Print the table."""
    with open(path, encoding="utf-8", newline="") as lines:  # noqa: PTH123  (a script with one argument)
        rows = sorted(csv.DictReader(lines), key=lambda row: row["year"], reverse=True)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        provider = PROVIDERS.get(row["cloud-provider"])
        name = row["cloud-region"].strip()
        if provider is not None and (provider, name, row["location"].strip()) not in SKIPPED:
            found.setdefault((provider, RENAMED.get((provider, name), name)), []).append(row)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(Region._fields)
    writer.writerows(_region(*key, found[key]) for key in sorted(found))


def _region(provider: str, name: str, rows: list[dict[str, Any]]) -> Region:
    newest = rows[0]
    location = newest["location"].strip().replace("ā", "ã")
    zone = ZONES.get((provider, name), newest["em-zone-id"].strip())
    country = COUNTRIES.get((provider, name)) or zone.partition("-")[0]
    annual = next((row for part, row in STATES.items() if part in location and row.startswith(country)), country)
    pue, pue_year = _newest(rows, "power-usage-effectiveness")
    wue, wue_year = _newest(rows, "water-usage-effectiveness")
    watttime = newest["wt-region-id"].strip()
    return Region(
        provider, name, location, country, annual, zone, watttime, pue, pue_year, wue, wue_year, newest["year"],
        SOURCE, LICENCE,
    )  # fmt: skip


def _newest(rows: list[dict[str, Any]], column: str) -> tuple[str, str]:
    row = next((row for row in rows if row[column].strip()), None)
    return ("", "") if row is None else (f"{float(row[column]):g}", row["year"])


if __name__ == "__main__":
    main(sys.argv[1])
