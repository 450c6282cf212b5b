"""Periods as people write them: calendars, clocks that change, and errors that say what to write instead."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.report import periods
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.model import By
from evenwatt_daemon import Failure

BERLIN = ZoneInfo("Europe/Berlin")


def at(text, tz=BERLIN):
    return datetime.fromisoformat(text).replace(tzinfo=tz).timestamp()


NOW = at("2026-11-25T15:30")  # a Wednesday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-01", "2026-11-01T00:00"),
        ("2026-11-01T12:00", "2026-11-01T12:00"),
        ("2026-11-01 12:00:30", "2026-11-01T12:00:30"),
        ("2028-02-29", "2028-02-29T00:00"),
        ("9:05", "2026-11-25T09:05"),
        ("today", "2026-11-25T00:00"),
        ("Yesterday", "2026-11-24T00:00"),
        ("this  week", "2026-11-23T00:00"),
        ("last week", "2026-11-16T00:00"),
        ("this month", "2026-11-01T00:00"),
        ("last month", "2026-10-01T00:00"),
        ("7d ago", "2026-11-18T15:30"),
        ("2w ago", "2026-11-11T15:30"),
        ("90m ago", "2026-11-25T14:00"),
        ("now", "2026-11-25T15:30"),
    ],
)
def test_a_moment_is_what_it_says(text, expected):
    assert periods.moment(text, NOW, BERLIN, "--from") == at(expected)


def test_an_offset_is_taken_as_written():
    assert periods.moment("2026-11-01T12:00+05:30", NOW, BERLIN, "--from") == at(
        "2026-11-01T12:00", ZoneInfo("Asia/Kolkata")
    )


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-01", 24)])
def test_a_day_has_the_hours_that_it_has(day, hours):
    now_s = at(f"{day}T12:00") + 86_400
    found = periods.period("yesterday", None, now_s, BERLIN)
    assert found.end_s - found.start_s == hours * 3600


def test_days_back_keep_the_time_of_the_day_when_the_clocks_change():
    assert periods.moment("7d ago", at("2026-10-28T15:30"), BERLIN, "--from") == at("2026-10-21T15:30")


def test_a_day_whose_midnight_the_clocks_skip_begins_when_they_do():
    cairo = ZoneInfo("Africa/Cairo")  # 2026-04-24 begins at 01:00
    start_s = periods.moment("2026-04-24", NOW, cairo, "--from")
    assert datetime.fromtimestamp(start_s, cairo).isoformat() == "2026-04-24T01:00:00+03:00"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, ("2026-11-18T15:30", "2026-11-25T15:30")),
        (None, "2026-11-08", ("2026-11-01T00:00", "2026-11-08T00:00")),
        ("yesterday", None, ("2026-11-24T00:00", "2026-11-25T00:00")),
        ("last month", None, ("2026-10-01T00:00", "2026-11-01T00:00")),
        ("this week", None, ("2026-11-23T00:00", "2026-11-25T15:30")),
        ("last month", "this month", ("2026-10-01T00:00", "2026-11-01T00:00")),
        ("2026-11-01", None, ("2026-11-01T00:00", "2026-11-25T15:30")),
    ],
)
def test_a_period_by_its_ends(start, end, expected):
    found = periods.period(start, end, NOW, BERLIN)
    assert (found.start_s, found.end_s) == tuple(at(text) for text in expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("previous", ("2026-11-16T00:00", "2026-11-23T00:00")),
        ("last month", ("2026-10-01T00:00", "2026-11-01T00:00")),
        ("2026-10-01..2026-10-08", ("2026-10-01T00:00", "2026-10-08T00:00")),
    ],
)
def test_what_a_period_is_compared_with(text, expected):
    week = periods.Period(at("2026-11-23T00:00"), at("2026-11-30T00:00"))
    found = periods.compared(text, week, NOW, BERLIN)
    assert (found.start_s, found.end_s) == tuple(at(said) for said in expected)


def test_the_previous_week_is_seven_days_also_when_one_has_25_hours():
    week = periods.Period(at("2026-10-26T00:00"), at("2026-11-02T00:00"))
    assert periods.compared("previous", week, NOW, BERLIN).start_s == at("2026-10-19T00:00")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("2026-02-29", None), ["--from", "2026-02-29", "day is out of range", "expected"]),
        (("fortnight", None), ["--from", "'fortnight'", "'last week'"]),
        (("2026-10-25T02:30", None), ["happens twice in Europe/Berlin", "write the offset"]),
        (("2026-03-29T02:30", None), ["does not happen in Europe/Berlin"]),
        (("2026-11-08", "2026-11-01"), ["expected an end after its start"]),
        (("2027-01-01", "2027-02-01"), ["still to come"]),
        (("1e9d ago", None), ["--from"]),
        (("99999999d ago", None), ["days back", "at most"]),
        (("today", "soon"), ["--to", "'soon'"]),
    ],
)
def test_what_cannot_be_meant_is_said(call, words):
    with pytest.raises(Failure) as raised:
        periods.period(*call, NOW, BERLIN)
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize("text", ["", "last", "a..b..c", "2026-11-01", "2026-11-08..2026-11-01"])
def test_a_comparison_with_no_period_is_said(text):
    with pytest.raises(Failure):
        periods.compared(text, periods.Period(0, 1), NOW, BERLIN)


@pytest.mark.parametrize("name", ["Berlin", "", "../../etc/passwd", "Europe/"])
def test_an_unknown_time_zone_is_said(name):
    with pytest.raises(Failure, match="expected an IANA name"):
        periods.zone(name)


@given(st.text(max_size=40))
def test_no_text_does_anything_but_name_a_moment_or_fail(text):
    try:
        said = periods.moment(text, NOW, BERLIN, "--from")
    except Failure as failure:
        said = str(failure)
    assert isinstance(said, float) or "--from" in said


@given(
    by=st.sampled_from(By),
    times=st.tuples(st.floats(0, 4e9), st.floats(0, 4e9)).filter(lambda pair: pair[0] < pair[1]),
    known=st.none() | st.floats(0, 4e9),
    names=st.tuples(*[st.none() | st.text(max_size=9)] * 3),
)
def test_a_question_survives_its_url(by, times, known, names):
    query = ReportQuery(
        by=by, start_s=times[0], end_s=times[1], timezone="Europe/Berlin", known_at_s=known,
        zone=names[0], node=names[1], workload=names[2],
    )  # fmt: skip
    assert ReportQuery.from_parameters(query.parameters(), NOW) == query


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, ["from: missing"]),
        ({"from": "nan"}, ["from: found 'nan'"]),
        ({"from": "1e99"}, ["from: found '1e99'"]),
        ({"from": "5", "to": "5"}, ["from: found 5, expected less than to"]),
        ({"from": "5", "by": "cat"}, ["by: found 'cat', expected one of zone, node"]),
        ({"from": "5", "tz": "Mars"}, ["tz: 'Mars'"]),
        ({"from": "5", "colour": "red"}, ["colour: no such parameter"]),
    ],
)
def test_wrong_parameters_are_named(said, words):
    with pytest.raises(Failure) as raised:
        ReportQuery.from_parameters(said, NOW)
    for word in words:
        assert word in str(raised.value)
