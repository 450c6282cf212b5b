"""docs/reports.md names every option, column, field and constant."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from evenwatt_cli import main
from evenwatt_cli.report import Format
from evenwatt_cli.reporting import flat
from evenwatt_cli.reporting.words import digits
from evenwatt_collector.report.document import Derived
from evenwatt_collector.report.model import By, Report, Used
from evenwatt_collector.report.uncertainty import EMBODIED, INTENSITY, OVERHEAD, QUALITY, Spread

TEXT = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()


OPTIONS = [
    option
    for parameter in typer.main.get_command(main.app).commands["report"].params
    for option in parameter.opts
    if option.startswith("--") and option != "--help"
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_described(option):
    assert f"`{option}" in TEXT or f"{option}`" in TEXT


@pytest.mark.parametrize(
    "name", [*flat.COLUMNS, *By, *Format, *(f.name for kind in (Report, Used, Derived, Spread) for f in fields(kind))]
)
def test_every_column_field_group_and_format_is_described(name):
    assert re.search(rf"[`*]{name}(\[\])?[`*]", TEXT)


@pytest.mark.parametrize(
    ("term", "half"),
    [
        *((f"energy, {name}", half) for name, half in QUALITY.items()),
        *((f"intensity, {name}", half) for name, half in INTENSITY.items()),
        ("what PUE adds", OVERHEAD),
        ("embodied", EMBODIED),
    ],
)
def test_every_constant_is_what_is_described(term, half):
    assert f"| {term} | {float(digits(100 * half.relative)):g} % |" in TEXT
