"""What an answer of the collector means for work that waits."""

from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_cli.advice import Advice, Wish, as_document, describe, judge, read_advice
from evenwatt_collector.jobs.check import check
from evenwatt_collector.jobs.known import Known
from evenwatt_collector.jobs.reading import read

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
HOUR = 3600.0


def wish(**changes):
    return Wish(
        **{"name": "backup", "length_s": 2 * HOUR, "deadline_s": NOW + 12 * HOUR, "zones": ("here",), **changes}
    )


def advice(start_s=NOW + 3 * HOUR, **changes):
    values = {
        "start_s": start_s, "end_s": None if start_s is None else start_s + 2 * HOUR, "zone": "here", "grams": 170.0,
        "low_g": 140.0, "high_g": 210.0, "now_g": 290.0, "why": "", "rests_on": "ours, issued 07:00",
    }  # fmt: skip
    return Advice(**{**values, **changes})


def test_waiting_says_until_when_and_what_it_is_worth():
    verdict = judge(wish(), advice(), NOW, margin_s=300)
    assert not verdict.start
    assert describe(wish(), verdict, NOW, UTC).splitlines() == [
        "start at 11:00 (in 3 h): saves 41 %, 120 g of 290 g",
        "  expected 170 g (140 g to 210 g), now it would be 290 g; estimated from ours, issued 07:00",
    ]


def test_now_says_so_and_what_is_expected():
    verdict = judge(wish(), advice(NOW + 30), NOW, margin_s=300)
    assert verdict.start
    assert describe(wish(), verdict, NOW, UTC).splitlines()[0] == "start now"


@pytest.mark.parametrize(
    ("changes", "said", "start", "note"),
    [
        ({"deadline_s": NOW + 2 * HOUR + 200}, advice(), True, "could be too late"),
        ({"deadline_s": NOW + 2 * HOUR}, advice(), True, "the latest start"),
        ({"deadline_s": NOW + HOUR}, advice(), True, "1 h late"),
        ({"deadline_s": NOW + HOUR}, None, True, "1 h late"),
        ({}, None, True, "nobody advised"),
        ({}, advice(None, why="the deadline is too near"), True, "too near"),
        ({}, advice(NOW + 11 * HOUR), False, "its deadline asks"),
        ({"earliest_s": NOW + HOUR}, advice(NOW), False, "earliest"),
        ({"earliest_s": NOW + HOUR}, None, False, "earliest"),
    ],
)
def test_work_comes_first(changes, said, start, note):
    verdict = judge(wish(**changes), said, NOW, margin_s=300)
    assert verdict.start is start
    assert note in verdict.note
    assert note in describe(wish(**changes), verdict, NOW, UTC)


@pytest.mark.parametrize(
    ("said", "note"),
    [
        (advice(grams=288.0), "less than 1 %"),
        (advice(grams=300.0), "less than 1 %"),
        (advice(now_g=0.0, grams=0.0), "less than 1 %"),
        (advice(rests_on="here: DE by ours (full), known for 1h 30m"), "forecast for 1 h 30 min only"),
        (advice(rests_on="here: DE: yearly mean, a fallback"), "for no hour"),
        (advice(rests_on="here: DE by ours (full), known for 2h"), ""),
    ],
)
def test_what_is_hardly_worth_it_or_hardly_known_is_not_waited_for(said, note):
    verdict = judge(wish(), said, NOW, margin_s=300)
    assert verdict.start is bool(note)
    assert note in describe(wish(), verdict, NOW, UTC)


def test_a_day_is_named_where_the_hour_alone_could_be_misread():
    far = wish(deadline_s=NOW + 90 * HOUR)
    assert "Sat 16 Jan 14:00" in describe(far, judge(far, advice(NOW + 30 * HOUR), NOW, margin_s=300), NOW, UTC)


def test_where_is_said_where_there_is_a_choice():
    either = wish(zones=("here", "there"))
    line = describe(either, judge(either, advice(zone="there"), NOW, margin_s=300), NOW, UTC)
    assert line.startswith("start at 11:00 (in 3 h) in there: saves 41 %")


@given(
    length=st.floats(60, 40 * HOUR), slack=st.floats(-10 * HOUR, 90 * HOUR), margin=st.floats(0, 3600),
    start=st.none() | st.floats(-5 * HOUR, 95 * HOUR), advised=st.booleans(),
)  # fmt: skip
def test_nothing_ever_waits_beyond_its_latest_start(length, slack, margin, start, advised):
    some = wish(length_s=length, deadline_s=NOW + length + slack)
    said = advice(None if start is None else NOW + start) if advised else None
    verdict = judge(some, said, NOW, margin_s=margin)
    if not verdict.start:
        assert NOW < verdict.at_s <= some.latest_start_s
        assert NOW + margin <= some.latest_start_s
        assert as_document(some, verdict, NOW)["wait_s"] == verdict.at_s - NOW


@given(
    length=st.floats(1, 40 * HOUR), slack=st.floats(2, 90 * HOUR), earliest=st.none() | st.floats(0, 1),
    interruptible=st.booleans(), power=st.none() | st.floats(0.001, 1e6),
)  # fmt: skip
def test_the_collector_takes_every_job_that_is_asked_about(length, slack, earliest, interruptible, power):
    import json

    some = wish(
        length_s=length, deadline_s=NOW + length + slack, interruptible=interruptible, power_w=power,
        earliest_s=None if earliest is None else NOW + earliest * max(0.0, slack - 2),
    )  # fmt: skip
    found = read(json.dumps(some.job()).encode(), "json", lambda: "0" * 12)
    assert not found.problems
    assert not check(found.entries[0].spec, Known(now_s=NOW, zones=frozenset({"here"})))


@pytest.mark.parametrize(
    "document",
    [
        None, [], {}, {"decision": {}}, {"chosen": 1, "baseline": 2},
        {"chosen": {"start_s": "soon", "end_s": 1, "zone": "", "grams": 1, "low_g": 1, "high_g": 1},
         "baseline": {"grams": 1}},
        {"chosen": {"start_s": 1, "end_s": 1, "zone": "", "grams": float("nan"), "low_g": 1, "high_g": 1},
         "baseline": {"grams": 1}},
    ],
)  # fmt: skip
def test_what_is_no_decision_is_no_advice(document):
    with pytest.raises(ValueError, match="no decision"):
        read_advice(document)


def test_a_grid_without_emissions_has_no_share():
    assert advice(now_g=0.0, grams=0.0).saved_pct is None
