"""The rate follows what happens; the sampler follows the rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.pacing import Pace, Pacer
from evenwatt_agent.sampler import Sampler
from tests.agent.builders import probe


def steady(pacer, bins, power_w=100.0, now_s=0.0):
    for i in range(bins):
        pacer.observe(now_s + i / 10, power_w)
    return pacer.rate_hz


def test_ten_steady_seconds_make_it_quiet_and_one_moving_bin_ends_that():
    pacer = Pacer(100, 10, 500)
    assert steady(pacer, 99) == 100
    assert steady(pacer, 1, now_s=9.9) == 10
    assert pacer.observe(10.0, 102.9) == 10
    assert pacer.observe(10.1, 104.0) == 100
    assert pacer.state is Pace.FULL


def test_what_is_expected_is_read_fast_for_two_seconds():
    pacer = Pacer(100, 10, 500)
    steady(pacer, 200)
    assert pacer.expect(20.0) == 500
    assert pacer.observe(21.9, 100.0) == 500
    assert pacer.observe(22.0, 100.0) == 100


@given(st.lists(st.floats(0, 2000, allow_nan=False), max_size=300))
def test_it_is_quiet_only_after_ten_seconds_within_a_band(powers):
    pacer = Pacer(100, 10, 100)
    for i, power_w in enumerate(powers):
        pacer.observe(i / 10, power_w)
        if pacer.state is Pace.QUIET:
            last = powers[i - 99 : i + 1]
            assert i >= 99
            assert max(last) - min(last) <= 2 * max(2.0, 0.03 * max(last))


def test_the_sampler_takes_the_new_rate_with_the_next_bin():
    sampler = Sampler([probe("package-0")], 1 / 100, lambda _batch: None, "test")
    first, deadline = sampler.take_bin(0)
    sampler.set_rate(10)
    second, deadline = sampler.take_bin(deadline)
    sampler.set_rate(1000)
    third, _ = sampler.take_bin(deadline)
    assert [len(batch.readings["package-0"]) for batch in (first, second, third)] == [10, 1, 100]


def test_a_cap_that_changes_is_expected_to_move_power_and_its_renewal_is_not():
    pacer = Pacer(100, 10, 500)
    assert pacer.observe(0.0, 100.0, None) == 100
    assert pacer.observe(0.1, 100.0, 200.0) == 500
    assert pacer.observe(2.2, 100.0, 203.0) == 100
    assert pacer.observe(2.3, 100.0, 190.0) == 500
    assert pacer.observe(9.0, 100.0, None) == 500
