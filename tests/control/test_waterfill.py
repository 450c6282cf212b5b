from math import fsum, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.control.waterfill import Claims, allot, cut, fill

watts = st.floats(0, 1e6)
claim = st.tuples(watts, watts, watts, watts, st.floats(1e-3, 1e3), st.integers(0, 9)).map(
    lambda c: (*sorted(c[:4]), c[4], c[5])
)
claims_lists = st.lists(claim, min_size=1, max_size=30)


def claims_of(rows) -> Claims:
    return Claims(*map(list, zip(*rows, strict=True)))


def test_level_is_shared_by_weight():
    shares, level = fill([10, 10, 10], [500, 500, 40], [1, 2, 1], 340)
    assert shares == pytest.approx([100, 200, 40])
    assert level == pytest.approx(100)


def test_floors_and_tops():
    assert fill([5, 6], [9, 9], [1, 1], 3) == ([5, 6], 0.0)
    assert fill([5, 6], [9, 9], [1, 1], 30) == ([9, 9], inf)
    assert fill([], [], [], 10) == ([], inf)


def test_higher_class_is_served_first():
    rows = [(50, 300, 300, 500, 1, 1), (50, 300, 300, 500, 1, 9), (50, 300, 300, 500, 1, 1)]
    allotment = allot(claims_of(rows), 500)
    assert allotment.shares_w == pytest.approx([100, 300, 100])
    assert allotment.levels_w == {9: inf, 1: pytest.approx(100)}


def test_surplus_lifts_the_low_first_and_stops_at_ceilings():
    rows = [(50, 100, 100, 500, 1, 5), (50, 400, 400, 500, 1, 5), (50, 60, 60, 120, 1, 0)]
    assert allot(claims_of(rows), 800).shares_w == pytest.approx([280, 400, 120])
    assert allot(claims_of(rows), 5000).shares_w == [500, 500, 120]


def test_floors_that_do_not_fit_are_given_and_said():
    allotment = allot(claims_of([(100, 200, 200, 300, 1, 5)] * 3), 250)
    assert allotment.shares_w == [100] * 3
    assert not allotment.feasible
    assert allot(claims_of([(100, 200, 200, 300, 1, 5)] * 3), 300).feasible


def test_what_is_done_now_goes_before_what_was_done_before():
    rows = [(50, 400, 400, 500, 1, 5), (50, 100, 400, 500, 1, 5), (50, 100, 400, 500, 1, 5)]
    assert allot(claims_of(rows), 700).shares_w == pytest.approx([400, 150, 150])
    assert allot(claims_of(rows), 400).shares_w == pytest.approx([200, 100, 100])


def test_cut_takes_the_lowest_class_first_and_its_largest_users():
    allotment = cut([50, 50, 50, 50], [300, 100, 400, 30], [0, 0, 9, 9], 700)
    assert allotment.shares_w == pytest.approx([150, 100, 400, 50])
    assert cut([50, 50], [300, 300], [0, 9], 250).shares_w == pytest.approx([50, 200])


@given(claims_lists, st.floats(0, 3e7))
def test_allot_keeps_its_promises(rows, available):
    claims = claims_of(rows)
    allotment = allot(claims, available)
    floors = fsum(claims.floor_w)
    for share, low, high in zip(allotment.shares_w, claims.floor_w, claims.ceiling_w, strict=True):
        assert low <= share <= high
    if floors <= available:
        assert allotment.feasible
        total = fsum(allotment.shares_w)
        assert total <= available * (1 + 1e-12) + 1e-9
        assert total == pytest.approx(min(available, fsum(claims.ceiling_w)), rel=1e-9, abs=1e-6)


@given(claims_lists, st.floats(0, 3e7), st.floats(0, 1e7))
def test_more_budget_takes_from_nobody(rows, available, more):
    claims = claims_of(rows)
    for before, after in zip(allot(claims, available).shares_w, allot(claims, available + more).shares_w, strict=True):
        assert after >= before - 1e-6 * (1 + before)


@given(claims_lists, st.floats(0, 3e7), st.randoms())
def test_the_order_of_nodes_does_not_matter(rows, available, rng):
    order = list(range(len(rows)))
    rng.shuffle(order)
    straight = allot(claims_of(rows), available).shares_w
    shuffled = allot(claims_of([rows[i] for i in order]), available).shares_w
    assert shuffled == pytest.approx([straight[i] for i in order], rel=1e-9, abs=1e-6)


@given(claims_lists, st.floats(0, 3e7))
def test_within_a_class_nobody_has_more_while_another_wants(rows, available):
    """Max-min: whoever stands above its floor and its class's level per weight could not be there."""
    claims = claims_of(rows)
    allotment = allot(claims, available)
    for i, share in enumerate(allotment.shares_w):
        level = allotment.levels_w[claims.priority[i]]
        if level != inf and allotment.feasible:
            second = all(
                other >= recent * (1 - 1e-9) - 1e-9
                for other, recent, p in zip(allotment.shares_w, claims.recent_w, claims.priority, strict=True)
                if p == claims.priority[i]
            )
            low = claims.recent_w[i] if second else claims.floor_w[i]
            high = claims.demand_w[i] if second else claims.recent_w[i]
            assert share <= max(low, level * claims.weight[i]) * (1 + 1e-9) + 1e-9
            assert share >= min(high, level * claims.weight[i]) * (1 - 1e-6) - 1e-6


@given(claims_lists, st.floats(0, 3e7))
def test_cut_never_raises_and_fits(rows, available):
    claims = claims_of(rows)
    shares = cut(claims.floor_w, claims.demand_w, claims.priority, available).shares_w
    for share, low, use in zip(shares, claims.floor_w, claims.demand_w, strict=True):
        assert low <= share <= max(low, use)
    assert fsum(shares) <= max(available, fsum(claims.floor_w)) * (1 + 1e-9) + 1e-6
