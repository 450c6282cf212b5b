"""Formats: what is written reads back as the same report, and its parts add up to its total. Golden files per format.

To make the golden files anew: ``EVENWATT_GOLDEN=write pytest tests/report/test_formats.py``; then look at the diff.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import fields, replace
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_cli.reporting import codecarbon, flat, words
from evenwatt_cli.reporting.codecarbon import as_codecarbon
from evenwatt_cli.reporting.flat import as_csv
from evenwatt_cli.reporting.parquet import DOCUMENT_KEY, as_parquet
from evenwatt_cli.reporting.table import as_text
from evenwatt_collector.report.compare import compare
from evenwatt_collector.report.document import derive, from_document, to_document
from evenwatt_collector.report.model import By, Figures
from evenwatt_collector.report.sci import Per
from evenwatt_collector.report.totals import OPTIONAL, PLAIN, TABLES
from evenwatt_daemon import Failure
from tests.report.examples import EXAMPLE, NASTY, any_report

GOLDEN = Path(__file__).parent / "golden"
DERIVED = derive(EXAMPLE, Per(unit="epoch"), compare(EXAMPLE, EXAMPLE, "epoch"))
SUMMED = ("energy_j", "dynamic_j", "idle_j", "site_j", "location_g", "location_dynamic_g")
# The names of the fields of codecarbon 3.3.2's EmissionsData, in their order (output_methods/emissions_data.py).
CODECARBON = """timestamp project_name run_id experiment_id duration emissions emissions_rate cpu_power gpu_power
ram_power cpu_energy gpu_energy ram_energy energy_consumed water_consumed country_name country_iso_code region
cloud_provider cloud_region os python_version codecarbon_version cpu_count cpu_model gpu_count gpu_model longitude
latitude ram_total_size tracking_mode cpu_utilization_percent gpu_utilization_percent ram_utilization_percent
ram_used_gb on_cloud pue wue""".split()  # noqa: SIM905


def golden(name, text):
    path = GOLDEN / name
    if os.environ.get("EVENWATT_GOLDEN") == "write":
        path.write_bytes(text.encode())
    assert text.encode() == path.read_bytes(), f"{name} differs; see this module's docstring"


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def total(report, name):
    return pytest.approx(getattr(report.total, name), rel=1e-9, abs=1e-9)


def test_no_figure_is_forgotten_where_figures_are_added():
    assert {*PLAIN, *OPTIONAL, *TABLES} == {field.name for field in fields(Figures)}


def test_the_formats_are_what_they_were():
    golden("report.csv", as_csv(EXAMPLE, DERIVED))
    golden("emissions.csv", as_codecarbon(EXAMPLE))
    golden("report.json", json.dumps(to_document(EXAMPLE, DERIVED), indent=1) + "\n")
    for width in (80, 60, 40):
        golden(f"table-{width}.txt", as_text(EXAMPLE, DERIVED, width=width))
    golden("table-dynamic.txt", as_text(EXAMPLE, DERIVED, dynamic=True, width=100))


@given(any_report())
def test_a_document_reads_back_as_the_same_report(report):
    assert from_document(json.loads(json.dumps(to_document(report)))) == report
    assert from_document(msgspec.to_builtins(report)) == report


@pytest.mark.parametrize("document", [None, [], {}, {"by": "cat"}, "text", {**to_document(EXAMPLE), "rows": [{}]}])
def test_what_is_no_report_is_said(document):
    with pytest.raises(Failure, match="this is no report"):
        from_document(document)


def test_a_document_has_what_follows_from_it():
    derived = to_document(EXAMPLE, DERIVED)["derived"]
    assert derived["confidence"] == 0.9
    assert derived["total"]["low_g"] < EXAMPLE.total.location_g < derived["total"]["high_g"]
    assert len(derived["rows"]) == len(EXAMPLE.rows) == len(derived["sci_rows"])
    assert derived["sci"]["units"] == 8.0
    assert "no epoch was reported" in derived["sci_rows"][1]["why"]
    assert derived["comparison"]["ratio"] == 1.0


@given(any_report())
def test_csv_reads_back_and_adds_up(report):
    rows = rows_of(as_csv(report, derive(report, Per(unit="token"))))
    assert len(rows) == len(report.rows)
    for name in SUMMED:
        assert [float(row[name]) for row in rows] == [getattr(row.figures, name) for row in report.rows]
        assert sum(float(row[name]) for row in rows) == total(report, name)
    assert sum(float(row[f"intensity_{s}_j"]) for row in rows for s in ("measured", "estimated", "forecast", "fallback")) == total(report, "energy_j")  # fmt: skip  # noqa: E501


def test_csv_names_are_no_formulae_and_unknown_is_empty():
    report = replace(EXAMPLE, rows=(replace(EXAMPLE.rows[2], figures=replace(EXAMPLE.rows[2].figures, market_g=None)),))
    (row,) = rows_of(as_csv(report, derive(report)))
    assert row["name"] == f"'{NASTY}"
    assert row["market_g"] == row["sci_g_per_unit"] == ""
    assert row["start"] == "2026-10-24T22:00:00Z"


@settings(max_examples=25)
@given(any_report())
def test_parquet_reads_back_and_adds_up(report):
    table = pq.read_table(io.BytesIO(as_parquet(report, derive(report))))
    assert table.column_names == list(flat.COLUMNS)
    assert table.column("name").to_pylist() == [row.name for row in report.rows]
    assert table.column("residual").to_pylist() == [row.residual for row in report.rows]
    for name in SUMMED:
        assert sum(table.column(name).to_pylist()) == total(report, name)
    assert [dict(units) for units in table.column("units").to_pylist()] == [row.figures.units for row in report.rows]
    document = json.loads(table.schema.metadata[DOCUMENT_KEY])
    assert from_document({**document, "rows": []}).total == report.total


def test_parquet_is_typed():
    schema = pq.read_schema(io.BytesIO(as_parquet(EXAMPLE, DERIVED)))
    assert str(schema.field("start").type) == "timestamp[us, tz=UTC]"
    assert str(schema.field("location_g").type) == "double"
    assert str(schema.field("residual").type) == "bool"
    assert str(schema.field("units").type).startswith("map<string, double")


def test_codecarbon_has_its_columns_in_its_order():
    assert list(codecarbon.COLUMNS) == CODECARBON
    assert as_codecarbon(EXAMPLE).splitlines()[0] == ",".join(CODECARBON)


def test_codecarbon_itself_has_these_columns():
    data = pytest.importorskip("codecarbon.output_methods.emissions_data", reason="needs codecarbon==3.3.2")
    assert [field.name for field in fields(data.EmissionsData)] == CODECARBON


@given(any_report())
def test_codecarbon_reads_back_and_adds_up_in_its_units(report):
    rows = rows_of(as_codecarbon(report))
    assert 1e3 * sum(float(row["emissions"]) for row in rows) == total(report, "location_g")
    assert 3.6e6 * sum(float(row["energy_consumed"]) for row in rows) == total(report, "site_j")
    for row in rows:
        if row["duration"]:
            rate = float(row["emissions"]) / float(row["duration"])
            assert float(row["emissions_rate"]) == pytest.approx(rate, rel=1e-9)
        assert row["cpu_energy"] == row["cpu_model"] == row["country_name"] == row["on_cloud"] == ""


def test_codecarbon_runs_have_the_same_ids_when_a_report_is_made_again():
    ids = [row["run_id"] for row in rows_of(as_codecarbon(EXAMPLE))]
    again = [row["run_id"] for row in rows_of(as_codecarbon(replace(EXAMPLE, made_s=EXAMPLE.made_s + 60)))]
    assert ids == again
    assert len(set(ids)) == len(ids)


@settings(max_examples=40, deadline=None)
@given(any_report(), st.sampled_from([34, 40, 52, 80, 132]), st.booleans())
def test_no_line_of_the_table_is_wider_than_the_terminal(report, width, dynamic):
    text = as_text(report, derive(report), dynamic=dynamic, width=width)
    assert max(map(len, text.splitlines())) <= width


def test_rows_of_the_table_add_up_to_what_its_total_says():
    lines = as_text(EXAMPLE, DERIVED, width=120).splitlines()
    parsed = {}
    for line in lines[2 : 3 + len(EXAMPLE.rows)]:
        name, value, unit = re.match(r"(.+?)\s+[\d.,]+ [kM]?Wh\s+([\d.,]+) (g|kg|t)\b", line).groups()
        parsed[name] = float(value.replace(",", "")) * {"g": 1, "kg": 1e3, "t": 1e6}[unit]
    whole = parsed.pop("total")
    assert len(parsed) == len(EXAMPLE.rows)
    assert sum(parsed.values()) == pytest.approx(whole, rel=0.01)  # three digits are shown
    assert [name for name in parsed if name.startswith("* ")] == ["* (idle)", "* (system)"]


def test_names_from_outside_are_no_markup_in_the_table():
    assert "[bold]" in as_text(EXAMPLE, DERIVED, width=200)


@pytest.mark.parametrize("by", [By.NODE, By.TASK])
def test_where_names_repeat_the_zone_is_said(by):
    row = replace(EXAMPLE.rows[0], zone="hall-1")
    assert "hall-1:resnet" in as_text(replace(EXAMPLE, by=by, rows=(row,)), derive(EXAMPLE), width=120)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.energy(0.0), "0 Wh"),
        (words.energy(3.6e3), "1.00 Wh"),
        (words.energy(3_599_900.0), "1.00 kWh"),
        (words.energy(1.5e13), "4.17 GWh"),
        (words.energy(0.001), "0.000278 mWh"),
        (words.mass(999.6), "1.00 kg"),
        (words.mass(0.0123), "12.3 mg"),
        (words.mass(-250.0), "-250 g"),
        (words.mass(None), "-"),
        (words.mass(5e9), "5.00 kt"),
        (words.share(0.0), "0 %"),
        (words.share(1e-9), "<0.1 %"),
        (words.share(0.99999), ">99.9 %"),
        (words.share(1.0), "100 %"),
        (words.share(None), "-"),
        (words.span(5_400), "1.50 h"),
        (words.digits(1_024_000), "1,020,000"),
        (words.digits(float("nan")), "-"),
    ],
)
def test_figures_for_people(said, expected):
    assert said == expected
