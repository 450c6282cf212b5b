"""A day ends within its grams, whatever the grid does; plans are exact water-filling where nothing else binds."""

import itertools
import random
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.carbon.loop import RAMP, CarbonLoop, Intensities, Need, ZoneNeed, plan

DAY = datetime(2026, 1, 14, tzinfo=UTC).timestamp()
MOST_W = 9000.0

grams = st.floats(-1e3, 1e6)
series = st.lists(st.floats(0, 2000), min_size=1, max_size=60)
zones = st.tuples(st.floats(0, MOST_W), st.floats(1, 3)).map(lambda z: ZoneNeed(floors_w=z[0], most_w=MOST_W, pue=z[1]))
befores = st.floats(0, MOST_W)


def planned(left_g, zone, before_w, intensity, interval_s=300.0):
    intensity = np.array(intensity, dtype=float)
    need = Need(left_g=left_g, zone=zone, before_w=before_w)
    return plan(need, np.full(len(intensity), interval_s), intensity)


def weigh(path_w, intensity, zone, interval_s=300.0):
    return float(np.dot(path_w, intensity)) * interval_s * zone.pue / 3.6e6


@given(grams, zones, befores, series)
def test_within_what_is_left_whenever_that_is_possible(left_g, zone, before_w, intensity):
    made = planned(left_g, zone, before_w, intensity)
    assert made.grams == pytest.approx(weigh(made.budget_w, intensity, zone))
    highest_w = max(before_w, zone.floors_w)
    least_w = [max(zone.floors_w, highest_w - RAMP * MOST_W * (k + 1)) for k in range(len(intensity))]
    least_g = weigh(least_w, intensity, zone)
    if least_g <= left_g - 1e-6:
        assert made.feasible
    elif least_g > max(0.0, left_g) + 1e-6:
        assert not made.feasible
        assert made.grams == pytest.approx(least_g)
    assert made.feasible == (made.grams <= max(0.0, left_g))


@given(grams, zones, befores, series)
def test_between_floors_and_the_most_and_no_faster_than_the_ramp(left_g, zone, before_w, intensity):
    path_w = planned(left_g, zone, before_w, intensity).budget_w
    assert np.all(path_w >= zone.floors_w - 1e-6)
    assert np.all(path_w <= MOST_W + 1e-6)
    steps_w = np.abs(np.diff([max(before_w, zone.floors_w), *path_w]))
    assert np.all(steps_w <= RAMP * MOST_W + 1e-6)


@given(grams, st.floats(0, 1e5), zones, befores, series)
def test_more_grams_never_mean_less_power(left_g, more_g, zone, before_w, intensity):
    less = planned(left_g, zone, before_w, intensity).budget_w
    more = planned(left_g + more_g, zone, before_w, intensity).budget_w
    assert np.all(more >= less - 1e-6)


@given(grams, zones, befores, series)
def test_nothing_is_left_over_that_could_be_used(left_g, zone, before_w, intensity):
    made = planned(left_g, zone, before_w, intensity)
    if made.bound and made.feasible:
        assert made.grams >= left_g * (1 - 1e-6) - 1e-6 * weigh([MOST_W] * len(intensity), intensity, zone)


def test_without_clipping_it_is_the_formula():
    intensity = [300.0, 310, 320, 315, 305]
    zone = ZoneNeed(floors_w=0, most_w=MOST_W, pue=1.2)
    made = planned(800.0, zone, 5000.0, intensity)
    assert made.budget_w == pytest.approx([3.6e6 * 800 / (5 * 300 * 1.2 * i) for i in intensity])


def test_what_clipping_leaves_over_goes_to_the_others():
    """Against levels tried one by one: intensity changes slowly, so that the ramp does not bind."""
    intensity = np.concatenate((np.linspace(100, 700, 100), np.linspace(700, 100, 100)))
    zone = ZoneNeed(floors_w=1500, most_w=MOST_W, pue=1.0)
    made = planned(20_000.0, zone, MOST_W, intensity)
    candidates = np.linspace(0, 700 * MOST_W, 50_001)
    best = max(c for c in candidates if weigh(np.clip(c / intensity, 1500, MOST_W), intensity, zone) <= 20_000.0)
    assert made.budget_w == pytest.approx(np.clip(best / intensity, 1500, MOST_W), rel=1e-3)


def test_a_grid_without_emissions_holds_nothing_back():
    made = planned(0.0, ZoneNeed(floors_w=0, most_w=MOST_W, pue=1), MOST_W, [0.0, 0.0])
    assert made.budget_w.tolist() == [MOST_W, MOST_W]
    assert made.feasible
    assert not made.bound


@pytest.mark.parametrize(("length_s", "intensity"), [([], []), ([0.0], [1.0]), ([1.0, 1.0], [1.0])])
def test_no_plan_for_no_time(length_s, intensity):
    need = Need(left_g=1, zone=ZoneNeed(floors_w=0, most_w=1, pue=1), before_w=1)
    with pytest.raises(ValueError, match="at least one interval"):
        plan(need, np.array(length_s), np.array(intensity))


class TestIntensities:
    def test_a_value_stands_for_an_hour_then_caution(self):
        known = Intensities([(DAY, 100.0), (DAY + 300, 200.0)], 400.0)
        now_s = DAY + 600
        assert known.at(DAY + 299, now_s) == (100.0, "measured")
        assert known.at(DAY + 3900, now_s) == (200.0, "measured")
        assert known.at(DAY + 3901, now_s) == (pytest.approx(195.0), "95th percentile of what was seen")
        assert known.at(DAY - 1, now_s)[0] == pytest.approx(195.0)

    def test_a_forecast_is_used_and_is_not_what_was_seen(self):
        known = Intensities([(DAY, 100.0), (DAY + 7200, 900.0)], 400.0)
        assert known.at(DAY + 7300, DAY) == (900.0, "forecast")
        assert known.cautious(DAY) == (100.0, "95th percentile of what was seen")

    def test_nothing_at_all(self):
        assert Intensities([], 400.0).at(DAY, DAY) == (600.0, "1.5 times the annual average")

    @pytest.mark.parametrize("point", [(DAY, -1.0), (DAY, float("nan")), (float("inf"), 1.0)])
    def test_nonsense_is_refused(self, point):
        with pytest.raises(ValueError, match="expected a finite time and 0 or more"):
            Intensities([point], 400.0)

    @given(st.lists(st.tuples(st.floats(0, 9e4), st.floats(0, 900))), st.lists(st.floats(0, 9e4), min_size=1))
    def test_many_at_once_are_each_of_them(self, points, moments):
        known = Intensities(points, 400.0)
        assert known.over(np.array(moments), 5e4).tolist() == [known.at(moment, 5e4)[0] for moment in moments]


def grid(seed, days=3):
    """A grid with days and weather: hourly values, some of them missing."""
    rng = random.Random(seed)
    weather = 0.0
    for hour in range(24 * days):
        weather = 0.9 * weather + rng.gauss(0, 25)
        value = 380 - 130 * np.cos((hour % 24 - 3) / 24 * 2 * np.pi) + weather
        if rng.random() > 0.05:
            yield DAY - 86_400 + 3600 * hour, max(20.0, float(value))


@pytest.mark.parametrize(("seed", "share"), [*itertools.product(range(6), (0.4, 0.6, 0.8))])
def test_days_end_within_their_grams_with_only_the_past_known(seed, share):
    points = list(grid(seed))
    zone = ZoneNeed(floors_w=2000, most_w=MOST_W, pue=1.2)
    allowed_g = share * MOST_W * 24 * 0.38 * 1.2
    loop, rng, said = CarbonLoop(allowed_g, 300, "UTC"), random.Random(seed), True
    truth = Intensities(points, 380.0)
    used_g, before_w = 0.0, None
    for wall_s in np.arange(DAY, DAY + 86_400, 300.0).tolist():
        assert loop.due(wall_s)
        known = Intensities([point for point in points if point[0] <= wall_s], 380.0)
        made = loop.step(wall_s, used_g, zone, known)
        assert not loop.due(wall_s + 299)
        said &= made.feasible
        drawn_w = made.budget_w[0] * rng.uniform(0.97, 1.0)
        assert before_w is None or abs(made.budget_w[0] - before_w) <= RAMP * MOST_W + 1e-6
        before_w = made.budget_w[0]
        used_g += drawn_w * 300 * 1.2 / 3.6e6 * truth.at(wall_s, wall_s)[0]
    assert said
    assert used_g <= allowed_g
    assert used_g >= 0.9 * min(allowed_g, MOST_W * 24 * 0.3 * 1.2 * 0.97)


def test_a_day_that_cannot_be_kept_is_said_from_the_start():
    zone = ZoneNeed(floors_w=5000, most_w=MOST_W, pue=1.0)
    made = CarbonLoop(1000, 300, "UTC").step(DAY, 0.0, zone, Intensities([(DAY, 300.0)], 300.0))
    assert not made.feasible
    assert made.grams > 1000


def test_days_of_23_and_25_hours():
    loop = CarbonLoop(1000, 3600, "Europe/Berlin")
    zone = ZoneNeed(floors_w=0, most_w=MOST_W, pue=1.0)
    for midnight, hours in (("2026-03-29T00:00:00+01:00", 23), ("2026-10-25T00:00:00+02:00", 25)):
        wall_s = datetime.fromisoformat(midnight).timestamp()
        begin_s, end_s = loop.day(wall_s + 7200)
        assert (begin_s, end_s - begin_s) == (wall_s, hours * 3600)
        assert len(loop.step(wall_s, 0.0, zone, Intensities([], 300.0)).budget_w) == hours


def test_a_start_in_the_middle_of_an_interval_and_a_clock_set_back():
    loop = CarbonLoop(1e5, 300, "UTC")
    zone = ZoneNeed(floors_w=0, most_w=MOST_W, pue=1.0)
    made = loop.step(DAY + 86_400 - 400, 0.0, zone, Intensities([], 300.0))
    assert len(made.budget_w) == 2
    assert loop.due(DAY + 86_400 - 300)
    assert not loop.due(DAY + 86_400 - 301)
    assert loop.due(DAY + 43_200)
