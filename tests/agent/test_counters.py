"""Joules are never negative, never invented, never lost without saying so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.counters import Baseline, EnergyCounter, PowerIntegrator
from evenwatt_wire import Quality

RANGE = 262_143_328_850  # a 61 uJ package, kernel's max_energy_range_uj
DRAM_RANGE = 65_712_999_613
S = 1_000_000_000


def feed(counter, readings):
    return [step for step in (counter.update(t, raw) for t, raw in readings) if step is not None]


@given(
    st.integers(0, RANGE - 1),
    st.lists(st.tuples(st.integers(1, 2_000), st.integers(0, 400)), min_size=1, max_size=200),
)
def test_energy_over_any_number_of_wraps_is_exact(start, steps):
    """Steps of up to 2 s at up to 400 W: the sum equals what the hardware counted, to the microjoule."""
    counter = EnergyCounter(RANGE, max_power_w=2_000)
    t, true = 0, start
    counter.update(t, true % RANGE)
    total = 0
    for milliseconds, watts in steps:
        t += milliseconds * 1_000_000
        true += watts * milliseconds * 1_000
        step = counter.update(t, true % RANGE)
        assert step is not None
        assert step.reason == ""
        total += step.energy_uj
    assert total == true - start


@given(
    st.sampled_from([RANGE, DRAM_RANGE, 0]),
    st.lists(st.tuples(st.integers(1, 500_000), st.integers(-10, RANGE * 2)), min_size=2, max_size=60),
)
def test_whatever_a_counter_says_energy_is_bounded_and_time_is_covered_once(range_uj, readings):
    """Random nonsense: never negative, over no stretch more than the domain can draw and half a second of it, intervals
    touch and do not overlap."""
    counter = EnergyCounter(range_uj, max_power_w=1_000)
    t, last_end, spare_uj = 0, None, 500e6
    for milliseconds, raw in readings:
        t += milliseconds * 1_000_000
        step = counter.update(t, raw)
        if step is None:
            continue
        spare_uj += 1_000 * (step.end_ns - step.start_ns) / 1e3
        assert 0 <= step.energy_uj <= spare_uj
        spare_uj = min(500e6, spare_uj - step.energy_uj)
        assert last_end is None or step.start_ns == last_end
        assert (step.quality is Quality.UNKNOWN) == bool(step.reason)
        assert not (step.reason and step.energy_uj)
        last_end = step.end_ns


def test_a_wrap_is_not_a_reset():
    steps = feed(EnergyCounter(RANGE, 1_000), [(0, RANGE - 500_000), (S, 500_000)])
    assert [(s.energy_uj, s.reason) for s in steps] == [(1_000_000, "")]


def test_a_reset_is_a_gap_and_counting_goes_on_from_there():
    steps = feed(EnergyCounter(RANGE, 1_000), [(0, 90_000_000), (S, 5), (2 * S, 100_000_005)])
    assert steps[0].quality is Quality.UNKNOWN
    assert steps[0].energy_uj == 0
    assert "reset" in steps[0].reason
    assert (steps[1].energy_uj, steps[1].reason) == (100_000_000, "")


@given(
    st.integers(0, RANGE - 1),
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 450)), min_size=2, max_size=300),
    st.data(),
)
def test_readings_that_come_late_lose_and_double_nothing(start, steps, data):
    """The number is up to 0.4 s older or younger than its time says, and so that it even goes back: no joule is off."""
    max_w, t, drawn, moments = 500, 0, start, [start]
    for milliseconds, watts in steps:
        t += milliseconds * 1_000_000
        drawn += watts * milliseconds * 1_000
        moments.append(drawn)
    counter, total, t = EnergyCounter(RANGE, max_w), 0, 0
    counter.update(t, start % RANGE)
    for index, (milliseconds, _) in enumerate(steps, 1):
        t += milliseconds * 1_000_000
        off = data.draw(st.integers(-10, 10)) if index < len(steps) else 0
        shown = moments[min(max(index + off, 0), len(steps))]
        step = counter.update(t, shown % RANGE)
        assert step is None or step.reason == ""
        total += step.energy_uj if step else 0
    assert total == drawn - start


def test_a_counter_that_stood_still_on_a_busy_machine_and_then_jumps_has_lost_nothing():
    """A twin that got no processor for 0.4 s: 135 W come in one reading, a millisecond after the one before."""
    readings = [(i * 10_000_000, 0) for i in range(41)] + [(401_000_000, 54_135_000)]
    steps = feed(EnergyCounter(RANGE, 2_000), readings)
    assert [step.reason for step in steps if step.reason] == []
    assert sum(step.energy_uj for step in steps) == 54_135_000


def test_two_readers_whose_readings_cross_count_nothing_twice():
    """One was held up for 100 ms between looking at the clock and reading; the other read meanwhile."""
    counter = EnergyCounter(RANGE, 2_000)
    steps = feed(counter, [(0, 0), (10_000_000, 15_000_000), (11_000_000, 1_500_000), (200_000_000, 27_000_000)])
    assert [(step.energy_uj, step.reason) for step in steps] == [(15_000_000, ""), (12_000_000, "")]


def test_a_counter_that_stays_lower_was_reset():
    counter = EnergyCounter(RANGE, 2_000)
    steps = feed(counter, [(0, 0), (S, 300_000_000), (S + 10_000_000, 5), (2 * S, 90_000_000), (3 * S, 100_000_000)])
    assert [(step.energy_uj, bool(step.reason)) for step in steps] == [
        (300_000_000, False),
        (0, True),
        (10_000_000, False),
    ]
    assert steps[1].start_ns == S


def test_a_counter_that_runs_too_fast_is_found_out():
    """Twice what its domain can draw: what comes late is counted once, not again and again."""
    steps = feed(EnergyCounter(RANGE, 1_000), [(i * 10_000_000, i * 20_000_000) for i in range(1_000)])
    assert any(step.reason for step in steps)
    assert sum(step.energy_uj for step in steps) <= 1_000 * 9.99e6 + 500e6


def test_too_long_a_silence_is_unknown_even_if_the_counter_looks_fine():
    """At 1 kW this counter wraps in 262 s; after 300 s the number of wraps cannot be known."""
    (step,) = feed(EnergyCounter(RANGE, 1_000), [(0, 1_000), (300 * S, 2_000_000)])
    assert step.quality is Quality.UNKNOWN
    assert "wrapped" in step.reason


def test_an_unknown_range_makes_a_fall_a_gap_and_a_rise_energy():
    steps = feed(EnergyCounter(0, 1_000), [(0, 1_000_000), (S, 2_000_000), (2 * S, 100)])
    assert [(s.energy_uj, bool(s.reason)) for s in steps] == [(1_000_000, False), (0, True)]


def test_time_that_stands_still_or_goes_back_adds_nothing():
    counter = EnergyCounter(RANGE, 1_000)
    counter.update(S, 1_000)
    assert counter.update(S, 2_000) is None
    assert counter.update(S - 1, 3_000) is None
    step = counter.update(2 * S, 4_000)
    assert step is not None
    assert step.energy_uj == 3_000


def test_a_restarted_agent_counts_on_from_where_it_was():
    (step,) = feed(EnergyCounter(RANGE, 1_000, Baseline(1_000_000, 5 * S)), [(35 * S, 3_001_000_000)])
    assert (step.energy_uj, step.start_ns, step.end_ns) == (3_000_000_000, 5 * S, 35 * S)


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 500_000_000)), min_size=2, max_size=100))
def test_integration_is_the_trapezoid_without_losing_remainders(steps):
    integrator = PowerIntegrator(1_000, Quality.INTEGRATED)
    t, previous, doubled = 0, None, 0
    total = 0
    for milliseconds, power_uw in steps:
        t += milliseconds * 1_000_000
        if previous is not None:
            doubled += (previous + power_uw) * milliseconds * 1_000_000
        step = integrator.update(t, power_uw)
        total += step.energy_uj if step else 0
        previous = power_uw
    assert total == doubled // 2_000_000_000


@pytest.mark.parametrize("raw", [-1, 10**18])
def test_an_impossible_power_is_a_gap(raw):
    """10^12 W has been seen in the field."""
    integrator = PowerIntegrator(1_000, Quality.INTEGRATED)
    integrator.update(0, 100_000_000)
    step = integrator.update(S, raw)
    assert step is not None
    assert step.quality is Quality.UNKNOWN
    assert integrator.update(2 * S, 100_000_000) is None, "the next good reading is a new beginning"


def test_power_is_not_integrated_over_a_long_silence():
    integrator = PowerIntegrator(1_000, Quality.INTEGRATED)
    integrator.update(0, 100_000_000)
    step = integrator.update(60 * S, 100_000_000)
    assert step is not None
    assert (step.energy_uj, step.quality) == (0, Quality.UNKNOWN)
