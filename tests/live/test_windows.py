"""The cleanest window, against sums second by second."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.carbon.windows import Point, cleanest, mean, windows

START = 1_780_000_000


@st.composite
def forecasts(draw):
    """Contiguous points of uneven lengths, from one second upwards."""
    points, at_s = [], START
    for length_s, value in draw(st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1_200)), min_size=1, max_size=12)):
        points.append(Point(at_s, at_s + length_s, value))
        at_s += length_s
    return points


def second_by_second(points, start_s, length_s):
    """Return the mean over whole seconds, each looked up by itself."""
    values = [next(p.g_per_kwh for p in points if p.start_s <= s < p.end_s) for s in range(start_s, start_s + length_s)]
    return sum(values) / length_s


@settings(max_examples=300, deadline=None)
@given(forecasts(), st.integers(-10, 200), st.integers(1, 200), st.integers(1, 120))
def test_every_window_is_what_its_seconds_come_to(points, offset, span, length_s):
    start_s, end_s = START + offset, START + offset + span
    found = windows(points, start_s, end_s, length_s)
    tick_s = points[0].end_s - points[0].start_s
    first_s, last_s = max(start_s, points[0].start_s), min(end_s, points[-1].end_s)
    starts = list(range(int(first_s), int(last_s) - length_s + 1, int(tick_s)))
    assert [window.start_s for window in found] == starts
    for window in found:
        assert window.end_s - window.start_s == length_s
        expected = second_by_second(points, int(window.start_s), length_s)
        assert window.g_per_kwh == pytest.approx(expected, rel=1e-9, abs=1e-9)
    for best in cleanest(found):
        assert best.g_per_kwh == min(window.g_per_kwh for window in found)
    assert bool(cleanest(found)) == bool(found)


@settings(max_examples=200, deadline=None)
@given(forecasts(), st.integers(-10, 200), st.integers(1, 200))
def test_a_mean_is_what_its_known_seconds_come_to(points, offset, span):
    start_s, end_s = START + offset, START + offset + span
    seconds = [next((p.g_per_kwh for p in points if p.start_s <= s < p.end_s), None) for s in range(start_s, end_s)]
    known = [value for value in seconds if value is not None]
    value, share = mean(points, start_s, end_s)
    assert share == pytest.approx(len(known) / len(seconds))
    assert value is None if not known else value == pytest.approx(sum(known) / len(known), rel=1e-9, abs=1e-9)


@given(forecasts(), st.integers(-10, 200), st.integers(1, 200))
def test_without_a_window_it_is_the_points_that_lie_within(points, offset, span):
    found = windows(points, START + offset, START + offset + span, None)
    assert found == [p for p in points if p.end_s > START + offset and p.start_s < START + offset + span]


@pytest.mark.parametrize(
    ("ratings", "expected"),
    [
        ([10, 20, 30, 40, 5], [15, 25, 35, 22.5]),
        ([5, 55, 10, 10, 10], [30, 32.5, 10, 10]),
        ([12, 11, 10, 12, 13], [11.5, 10.5, 11, 12.5]),
    ],
)
def test_the_examples_of_the_sdk(ratings, expected):
    points = [Point(300.0 * i, 300.0 * (i + 1), value) for i, value in enumerate(ratings)]
    assert [window.g_per_kwh for window in windows(points, 0, 1_500, 600)] == expected


def test_what_does_not_fit_is_not_offered():
    points = [Point(0, 300, 1.0), Point(300, 600, 2.0)]
    assert windows(points, 0, 600, 601) == []
    assert windows(points, 250, 600, 351) == []
    assert windows([], 0, 600, 60) == []
    assert cleanest([]) == []


@pytest.mark.parametrize(
    ("points", "length_s"),
    [
        ([Point(0, 300, 1.0), Point(301, 600, 2.0)], 60),
        ([Point(300, 600, 1.0), Point(0, 300, 2.0)], None),
        ([Point(0, 300, 1.0)], 0),
        ([Point(0, 0, 1.0)], 60),
        ([Point(0, 1, 1.0), Point(1, 400_000, 1.0)], 60),
    ],
)
def test_what_is_no_forecast_is_refused(points, length_s):
    with pytest.raises(ValueError):
        windows(points, 0, 500_000, length_s)
