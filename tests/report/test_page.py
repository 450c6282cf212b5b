"""The page: harmless whatever the names are, self-contained, whole, and its rows add up."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

from evenwatt_cli.plots import Frame, polyline, round_step
from evenwatt_cli.reporting.page import MOST_ROWS, as_page, folded
from evenwatt_cli.reporting.timeline import time_line
from evenwatt_collector.report.compare import compare
from evenwatt_collector.report.document import derive
from evenwatt_collector.report.model import Figures, Moment, Row
from evenwatt_collector.report.sci import Per
from evenwatt_collector.report.totals import added
from evenwatt_collector.report.uncertainty import EMBODIED, INTENSITY, OVERHEAD, QUALITY
from tests.report.examples import EXAMPLE, NASTY, any_report, figures

VOID = {"meta", "br", "path", "polyline"}
NAMES = ("resnet", NASTY, "(idle)")


class Reader(HTMLParser):
    """Reads a page as a browser would: which elements there are, whether they are closed, what is shown."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.attributes, self.texts, self.values = [], [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        row = tag == "data" and "tr" in self.open and "tbody" in self.open
        if row:
            self.values.append(float(dict(attrs)["value"]))

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def read(report, **more):
    page = as_page(report, derive(report, **more))
    reader = Reader(page)
    assert reader.open == []
    return reader


def test_a_script_in_a_name_is_a_name():
    reader = read(replace(EXAMPLE, fleet=NASTY, notes=(NASTY,)), per=Per(unit="epoch"))
    assert "script" not in reader.tags
    assert reader.text.count("<script>alert(1)</script>") >= 5


@settings(max_examples=40, deadline=None)
@given(any_report())
def test_no_name_becomes_an_element_or_an_attribute(report):
    reader = read(report, per=Per(unit="token"), comparison=compare(report, report))
    plain = read(replace(report, rows=(), fleet="", notes=()))
    assert set(reader.tags) <= {*plain.tags, "svg", "path", "polyline", "figure", "figcaption", "data", "i", "tr", "td",
                                "ul", "li", "div", "table", "strong", "span", "h3", "b", "code", "thead", "th", "tbody",
                                "tfoot"}  # fmt: skip
    assert {name for name, _ in reader.attributes} <= {
        "lang", "charset", "name", "content", "http-equiv", "class", "style", "title", "value", "aria-hidden",
        "aria-label", "role", "viewbox", "preserveaspectratio", "d", "fill", "points",
    }  # fmt: skip


def test_nothing_is_fetched_and_nothing_runs():
    page = as_page(EXAMPLE, derive(EXAMPLE))
    reader = Reader(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page


def test_the_methods_say_everything_that_went_into_it():
    reader = read(EXAMPLE, per=Per(unit="epoch"), comparison=compare(EXAMPLE, EXAMPLE, "epoch"))
    for used in EXAMPLE.used:
        for said in (used.grid, used.source, used.standing.value, used.basis.value, used.detail):
            assert said in reader.text
    for half in (*QUALITY.values(), *INTENSITY.values(), OVERHEAD, EMBODIED):
        assert " ".join(half.source.split()) in reader.text
    for said in (
        "wind contract",
        "PUE 1.25",
        "vendor's declaration",
        "5.00 years",
        "measured 75.0 %",
        "1.00 h is missing (2.00 %)",
        "As known at 2026-10-27 23:00:00+01:00",
        "90 %: 8.88 kg to 16.6 kg",
        "ISO/IEC 21031:2024",
        "ISO/IEC TR 20226, which is an overview and no score",
        EXAMPLE.notes[0],
    ):
        assert said in reader.text, said


def test_an_empty_report_is_not_zero_emissions():
    empty = replace(EXAMPLE, rows=(), total=Figures(), used=(), sites=(), devices=(), line=(), notes=())
    text = read(empty, per=Per(unit="epoch"), comparison=compare(empty, empty)).text
    assert "Operational, location-based not known nothing was recorded" in text
    assert "There is none, since no epoch was reported" in text
    assert "There is no comparison, since" in text


def test_doubts_about_a_comparison_are_on_the_page():
    open_ = replace(EXAMPLE, known_at_s=EXAMPLE.end_s - 60)
    assert (
        "These periods are not comparable the later period was not over"
        in read(open_, comparison=compare(EXAMPLE, open_)).text
    )


@settings(max_examples=30, deadline=None)
@given(any_report())
def test_rows_of_the_page_add_up_to_its_total(report):
    values = read(report).values
    whole = sum(values[i * 4 + 2] for i in range(len(report.rows)))
    assert whole == pytest.approx(report.total.location_g, rel=1e-9, abs=1e-9)


def test_a_page_folds_what_nobody_reads_and_loses_nothing():
    rows = (*(Row(name=f"w{i}", figures=figures(1 + i, 0)) for i in range(MOST_ROWS + 20)), EXAMPLE.rows[3])
    few = folded(rows, MOST_ROWS)
    assert len(few) == MOST_ROWS + 1
    assert [row.name for row in few[-2:]] == ["(21 others)", "(idle)"]
    assert added(r.figures for r in few).location_g == pytest.approx(added(r.figures for r in rows).location_g)


def test_what_is_not_drawn_is_said():
    rows = tuple(Row(name=f"w{i}", figures=figures(10, 0)) for i in range(20))
    many = replace(EXAMPLE, rows=(*rows, EXAMPLE.rows[3]), total=added(row.figures for row in rows))
    assert "Not drawn: 8 more with 35.2 kg together" in read(many).text  # 10 kWh x (1.25 x 320 + 40) g/kWh each
    assert "Not drawn" not in read(EXAMPLE).text


def test_a_gap_in_time_is_a_gap_in_the_plots():
    plots = time_line(EXAMPLE)
    energy, grams, intensity = (str(panel.drawing) for panel in plots.panels)
    assert energy.count("V100z") == grams.count("V100z") == 23
    assert intensity.count("<polyline") == 2
    assert plots.slot == "hour"
    assert plots.moments[0].text == "25 Oct 00:00"


def test_days_of_23_to_25_hours_are_days():
    line = [Moment(start_s=at, end_s=at + hours * 3600, energy_j=1.0, location_g=0.0)
            for at, hours in ((0, 24), (86_400, 23), (169_200, 24))]  # fmt: skip
    assert time_line(replace(EXAMPLE, line=tuple(line))).slot == "day"


@pytest.mark.parametrize(("top", "step"), [(1, 0.25), (2.2, 1), (956, 250), (4, 1), (4.1, 2), (1e-9, 2.5e-10)])
def test_steps_of_an_axis_are_round(top, step):
    assert round_step(top) == pytest.approx(step)


def test_a_line_goes_where_its_values_are():
    drawn = polyline(Frame(100, 50), [(0, 0), (0.5, 5), (1, 10)], 10, 'class="x"')
    assert drawn == '<polyline fill="none" class="x" points="0.0,50.0 50.0,25.0 100.0,0.0"/>'
