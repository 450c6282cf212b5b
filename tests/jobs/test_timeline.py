"""The plan as text: fits its width, bars where pieces are, and says what is late."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from evenwatt_cli.jobs.timeline import legend, timeline
from evenwatt_collector.jobs.desk import PlaceView, PlannedView, PlanView
from evenwatt_collector.jobs.model import JobState, Piece
from tests.jobs.made import HOUR, NOW_S


def place(zone="hall", slots=48, known=48, curve=None):
    values = curve or [float(i) for i in range(slots)]
    return PlaceView(zone=zone, intensity_g_per_kwh=values, low_g_per_kwh=values, high_g_per_kwh=values,
                     known_slots=known, slots_free=[4.0] * slots, power_free_w=[1200.0] * slots)  # fmt: skip


def job(name="nightly", *spans, state=JobState.WAITING, **keys):
    pieces = [Piece(zone="hall", start_s=NOW_S + a * HOUR, end_s=NOW_S + b * HOUR) for a, b in spans]
    fields = {"grams": 41.2, "low_g": 30.0, "high_g": 60.0} | keys
    return PlannedView(job="0123456789ab", name=name, state=state, pieces=pieces, **fields)


def plan(*jobs, places=None, slots=48, **keys):
    fields = {"made_s": NOW_S, "now_s": NOW_S + 90, "start_s": NOW_S, "slot_s": 1800.0, "slots": slots,
              "dispatching": True, "solver": "exact"} | keys  # fmt: skip
    return PlanView(places=places or [place()], jobs=list(jobs), **fields)


def drawn(view, width=80, **how):
    return [line.plain for line in timeline(view, width, **how)]


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_day_with_two_jobs_at_80_columns():
    lines = drawn(plan(job("nightly", (0, 6)), job("train", (6, 9), (12, 24), state=JobState.RUNNING)))
    assert lines == [
        "plan made 1m 30s ago (exact), 2 jobs",
        "                  now 00:01 06:00      12:00      18:00",
        "hall              ▁▁▁▁▁▁▂▂▂▂▂▃▃▃▃▃▄▄▄▄▄▄▅▅▅▅▅▆▆▆▆▆▇▇▇▇▇██████ 0-47 g/kWh",
        "  now 0 g/kWh; 4 slots free; 1200 W free; forecast for 1d",
        "nightly           ███████████                                 41.2 g waiting",
        "train                       ▌█████▌    ▌█████████████████████ 41.2 g running",
    ]


def test_at_60_columns_names_are_cut_in_their_middle_and_the_state_stays():
    view = plan(job("clean-render-10", (0, 6)), job("clean-render-19", (0, 6), late=True, why="no room"))
    lines = drawn(view, 60, ascii_only=True)
    assert all(len(line) <= 60 for line in lines)
    assert lines[4].startswith("clea..er-10 ####")
    assert lines[4].endswith("waiting")
    assert lines[5].startswith("clea..er-19 ####")
    assert lines[5].endswith("late")


def test_short_slots_have_times_as_well_and_now_is_named():
    view = plan(job("x", (0, 0.01)), slot_s=12.0, now_s=NOW_S + 70)
    times = drawn(view)[1]
    assert times.split() == ["Mon", "02", "now", "00:01", "00:02"]
    assert times.index("now") == 18 + int(70 / (144 / 43))
    assert drawn(view, 160)[1].split() == ["Mon", "02", "00:00:30", "now", "00:01:10", "00:01:30", "00:02:00"]


@given(st.floats(5, 7200), st.integers(1, 200), st.integers(0, 86400), st.sampled_from([40, 60, 80, 160]))
def test_times_stand_in_order_and_apart(slot_s, slots, into_s, width):
    view = plan(places=[place(slots=slots)], slots=slots, slot_s=slot_s, start_s=NOW_S + into_s, now_s=NOW_S + into_s)
    times = drawn(view, width)[1]
    assert times.strip().startswith("now")
    words = times.split()
    assert all(re.fullmatch(r"now|Mon|Tue|Wed|Thu|Fri|Sat|Sun|[0-9]{2}(:[0-9]{2}){0,2}", word) for word in words), words


def test_a_service_is_what_it_serves():
    reader = job("reader", state=JobState.RUNNING, why="fits its budget")
    lines = drawn(plan(reader), serving={reader.job: "reader:large on serve-1"})
    assert lines[-1] == "reader            serving reader:large on serve-1"


def test_the_legend_fits_a_narrow_terminal():
    assert legend(ascii_only=True).plain == "# planned  + in part  % runs now  | deadline  : no forecast"
    assert cell_len(legend().plain) <= 60


@given(
    st.lists(st.tuples(st.floats(0, 90), st.floats(0.01, 30)), max_size=6),
    st.sampled_from([40, 60, 80, 120]),
    st.booleans(),
    st.floats(0, 5000),
    st.integers(0, 192),
)
def test_it_fits_its_width_whatever_is_planned(spans, width, ascii_only, most, known):
    jobs = [job(f"a job with a long name {i}", (start, start + length), deadline_s=NOW_S + 50 * HOUR)
            for i, (start, length) in enumerate(spans)]  # fmt: skip
    curve = [most * (i % 48) / 48 for i in range(192)]
    view = plan(*jobs, places=[place(curve=curve, known=known, slots=192), place("edge", 192, known)], slots=192)
    for line in drawn(view, width, ascii_only=ascii_only):
        assert cell_len(line) <= max(width, 80 if line.startswith(("!", "No job")) else 64), line
        assert not ascii_only or line.isascii()


@given(st.floats(0, 20), st.floats(0.5, 4))
def test_a_bar_is_as_long_as_its_piece(start, length):
    line = next(line for line in drawn(plan(job("x", (start, start + length))), 80, hours=24) if line.startswith("x "))
    bar = line[18 : 18 + 43]
    hours = 24 / 43
    filled = [i for i, sign in enumerate(bar) if sign in "█▌"]
    assert filled == list(range(filled[0], filled[-1] + 1))
    assert filled[0] * hours <= start + 1e-6 < (filled[0] + 1) * hours + 1e-6
    assert abs(len(filled) * hours - length) <= 2 * hours


def test_where_no_forecast_reaches_the_curve_is_dotted():
    lines = drawn(plan(places=[place(known=24)]), hours=24)
    assert lines[2][18:61].count("·") in {21, 22}
    assert "no forecast" in "".join(drawn(plan(places=[place(known=0)])))


def test_what_is_late_or_not_planned_is_said():
    lines = drawn(plan(job("a", (0, 2), late=True, why="no room before 04:00"), job("b", why="no node offers it")))
    assert "! a (01234567): no room before 04:00" in lines
    assert "! b (01234567): no node offers it" in lines
    assert any("late" in line for line in lines if line.startswith("a "))


def test_a_flat_curve_has_one_figure():
    (line,) = (line for line in drawn(plan(places=[place(curve=[330.2] * 48)])) if line.startswith("hall"))
    assert line.endswith("▁ 330 g/kWh")


def test_an_empty_plan_and_one_that_starts_nothing():
    empty = drawn(plan(slots=0, places=[], dispatching=False, notes=["no plan has been made yet"]))
    assert empty == [
        "plan made 1m 30s ago (exact), 0 jobs; nothing is started here: jobs are planned and advised only",
        "No job is open. Submit one with `evenwatt submit`.",
        "! no plan has been made yet",
    ]


def test_more_jobs_than_asked_for_are_counted():
    view = plan(*(msgspec.structs.replace(job(f"j{i}", (i, i + 1)), job=f"{i:012x}") for i in range(9)))
    lines = drawn(view, limit=3)
    assert "and 6 more; --limit shows them" in lines
    assert [line[:2] for line in lines if line.startswith("j")] == ["j0", "j1", "j2"]
