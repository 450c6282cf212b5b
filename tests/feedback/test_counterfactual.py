"""What would have been: by hand, and what must hold whatever the job."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.feedback.actual import Used, grams, used_by_runs, work_s
from evenwatt_collector.feedback.counterfactual import BY_PLACE, Facts, FullPower, counterfactual, intensity_g_per_kwh
from evenwatt_collector.feedback.errors import errors
from evenwatt_collector.jobs.model import JobState
from evenwatt_wire.jobs import RunState
from tests.feedback.made import HOUR, T0, came, decision, job, option, outcome, run

DAY = {"home": came(500, 400, 100, 100, pue=1.2)}


def of(record, intensities=None, facts=None):
    return counterfactual(record, used_by_runs(record), intensities or DAY, facts)


class Curve:
    """A cap saves a fifth and takes a quarter longer."""

    def full_power(self, cap_w):
        return FullPower(energy=1.25, low=1.2, high=1.35, time=0.8) if cap_w == 150 else None


def test_a_job_that_waited_for_clean_hours():
    found = of(job(run(2, 1, 10)))
    assert found.grams == pytest.approx(10 * 1.2 * 100)
    assert found.counterfactual_g == pytest.approx(10 * 1.2 * 500)
    assert found.saved_g == pytest.approx(4800)
    assert (found.counterfactual_how, found.counterfactual_energy_j) == ("same", pytest.approx(3.6e7))
    assert found.counterfactual_low_g == pytest.approx(0.95 * 6000)
    assert found.counterfactual_high_g == pytest.approx(1.05 * 6000)


def test_with_the_intensities_that_came_it_may_have_gone_worse():
    dirty = {"home": came(100, 100, 500, 500)}
    found = of(job(run(2, 1, 10)), dirty)
    assert found.saved_g == pytest.approx(10 * (100 - 500))


def test_a_job_that_ran_at_once_saved_nothing_and_that_is_sure():
    found = of(job(run(0, 1.5, 10)))
    assert found.saved_g == 0
    assert found.counterfactual_low_g == found.counterfactual_high_g == found.grams


def test_one_that_began_at_once_and_paused_did_something_else():
    record = job(run(0, 0.5, 5, state=RunState.STOPPED, kept=True), run(2, 0.5, 5))
    found = of(record)
    assert found.grams == pytest.approx(1.2 * (5 * 500 + 5 * 100))
    assert found.counterfactual_g == pytest.approx(1.2 * 10 * 500)


def test_a_cap_counts_by_the_learned_curve_or_not_at_all():
    record = job(run(0, 1, 8, cap_w=150.0))
    learned = of(record, facts=Facts(curve=Curve()))
    assert learned.counterfactual_how == "learned"
    assert learned.counterfactual_energy_j == pytest.approx(3.6e7)
    assert learned.counterfactual_g == pytest.approx(1.2 * 10 * 500)  # in 48 minutes of the dirty hour
    half = (learned.counterfactual_high_g - learned.counterfactual_low_g) / 2 / learned.counterfactual_g
    assert half == pytest.approx(math.hypot(0.05, 0.15 / 2 / 1.25))
    assert learned.length_s == pytest.approx(0.8 * HOUR)
    plain = of(record)
    assert plain.counterfactual_how == "same"
    assert plain.saved_g == pytest.approx(0)  # nothing is claimed for it
    assert plain.length_s == 0  # nor learned


def test_restarts_would_not_have_been_and_are_left_out():
    pieces = [run(2, 0.5, 5, state=RunState.STOPPED, kept=True), run(3, 0.5, 5)]
    found = of(job(*pieces, spec={"interruptible": True, "checkpoint_s": 360.0}))
    assert found.counterfactual_energy_j == pytest.approx(0.9 * 3.6e7)
    assert found.length_s == pytest.approx(0.9 * HOUR)


def test_slots_at_once_are_put_right_by_the_stated_speed_up():
    record = job(run(2, 1, 10), run(2, 1, 10), spec={"speedup": [1.0, 1.5]})
    found = of(record)
    assert found.counterfactual_how == "stated"
    assert found.counterfactual_energy_j == pytest.approx(0.75 * 2 * 3.6e7)
    assert found.length_s == pytest.approx(1.5 * HOUR)
    # An hour and a half at home from the start: an hour at 500, half an hour at 400.
    assert intensity_g_per_kwh(found) == pytest.approx(100)
    assert found.counterfactual_g == pytest.approx(15 * 1.2 * (2 * 500 + 400) / 3)


def test_another_place_by_what_was_foreseen_for_home():
    chosen, baseline = option(zone="edge", kwh=1.0 * 1.1 + 0.5), option(zone="home", kwh=2.0 * 1.2)
    record = job(run(0, 1, 10, zone="edge"), decision=decision(chosen, baseline))
    intensities = {**DAY, "edge": came(50, pue=1.1)}
    found = of(record, intensities, Facts(transfer_kwh=0.5))
    assert found.counterfactual_how == "foreseen"
    assert found.counterfactual_energy_j == pytest.approx(2 * 3.6e7)
    assert found.counterfactual_g == pytest.approx(20 * 1.2 * 500)
    assert found.grams == pytest.approx(10 * 1.1 * 50 + 0.5 * 50)
    half = (found.counterfactual_high_g - found.counterfactual_low_g) / 2 / found.counterfactual_g
    assert half == pytest.approx(math.hypot(0.05, BY_PLACE))


def test_energy_of_failed_runs_counts_and_their_time_teaches_nothing():
    record = job(run(2, 0.5, 5, state=RunState.FAILED), run(3, 1, 10))
    found = of(record)
    assert found.energy_j == pytest.approx(15 * 3.6e6)
    assert found.length_s == pytest.approx(HOUR)
    assert of(job(run(2, 1, 5, state=RunState.FAILED), state=JobState.FAILED)).length_s == 0


def test_lateness_of_both():
    record = job(run(2, 1, 10), deadline_s=T0 + 1.5 * HOUR)
    assert (of(record).late, of(record).counterfactual_late) == (True, False)
    record.deadline_s = T0 + 0.5 * HOUR
    assert of(record).counterfactual_late


@pytest.mark.parametrize(
    ("record", "intensities", "words"),
    [
        (job(run(2, 1, 10), ended_s=None), DAY, "has not ended"),
        (job(ended_s=T0), DAY, "used nothing"),
        (job(run(2, 1, 10, zone="moon")), DAY, "zones moon"),
    ],
)
def test_where_there_is_none_the_reason_is_said(record, intensities, words):
    with pytest.raises(ValueError, match=words):
        of(record, intensities)


amounts = st.floats(0.001, 1000)


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0.01, 3), amounts), min_size=1, max_size=6),
    st.lists(st.floats(0, 900), min_size=1, max_size=24),
    st.floats(1, 2),
)
def test_grams_are_sums_and_cutting_a_stretch_changes_nothing(runs, values, pue):
    intensities = {"home": came(*values, pue=pue)}
    used = [
        Used(zone="home", start_s=T0 + HOUR * at, end_s=T0 + HOUR * (at + hours), energy_j=3.6e6 * kwh)
        for at, hours, kwh in runs
    ]
    halves = [
        piece
        for one in used
        for middle in [(one.start_s + one.end_s) / 2]
        for piece in (
            Used(zone="home", start_s=one.start_s, end_s=middle, energy_j=one.energy_j / 2),
            Used(zone="home", start_s=middle, end_s=one.end_s, energy_j=one.energy_j / 2),
        )
    ]
    assert grams(halves, intensities) == pytest.approx(grams(used, intensities), rel=1e-9, abs=1e-9)
    record = job(*(run(*one) for one in runs))
    found = counterfactual(record, used_by_runs(record), intensities)
    kwh = sum(one[2] for one in runs)
    assert min(values) * pue * kwh <= found.grams * (1 + 1e-9) + 1e-9
    assert found.grams <= max(values) * pue * kwh * (1 + 1e-9) + 1e-9
    assert found.energy_j == pytest.approx(3.6e6 * kwh)
    assert found.counterfactual_low_g <= found.counterfactual_g <= found.counterfactual_high_g


@given(st.lists(st.floats(0, 900), min_size=1, max_size=24), st.floats(0, 12), st.floats(0.1, 4))
def test_on_a_grid_that_never_changes_waiting_saves_nothing(values, wait, hours):
    flat = {"home": came(*([values[0]] * 24))}
    found = of(job(run(wait, hours, 7.0)), flat)
    assert found.saved_g == pytest.approx(0, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 50)), min_size=1, max_size=8))
def test_without_speed_up_more_slots_are_as_fast_as_one(spans):
    whole = [(start, start + length) for start, length in spans]
    union = work_s(whole, [1.0])
    assert union <= sum(length for _, length in spans) + 1e-9
    slowing = [1.0, 1.7, 2.2]
    edges = sorted({moment for span in whole for moment in span})
    by_hand = 0.0
    for start, end in pairwise(edges):
        wide = sum(first <= start and last >= end for first, last in whole)
        by_hand += (end - start) * slowing[min(wide, 3) - 1] if wide else 0.0
    assert work_s(whole, slowing) == pytest.approx(by_hand)
    assert work_s(whole, [float(i + 1) for i in range(8)]) == pytest.approx(sum(length for _, length in spans))


@given(amounts, amounts, amounts, amounts, st.floats(1, 2), amounts, amounts)
def test_parts_of_an_error_multiply_to_the_whole(kwh, foreseen_kwh, g, foreseen_g, pue, length_s, foreseen_s):
    found = errors(
        outcome(
            grams=g,
            energy_j=3.6e6 * kwh,
            predicted_g=foreseen_g,
            predicted_energy_kwh=foreseen_kwh,
            pue=pue,
            length_s=length_s,
            predicted_length_s=foreseen_s,
        )
    )
    assert found.length + found.power + found.intensity == pytest.approx(found.grams, abs=1e-9)
    assert found.length + found.power == pytest.approx(found.energy, abs=1e-9)
    parts = {"length": found.length, "power": found.power, "intensity": found.intensity}
    assert abs(parts[found.worst]) == max(map(abs, parts.values()))
