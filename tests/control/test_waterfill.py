from math import fsum, inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.control import ZoneSpec, ZoneTree
from evenwatt_collector.control.waterfill import SURPLUS, Claims, allot, fill

watts = st.floats(0, 1e6)
claim = st.tuples(watts, watts, watts, watts, watts, st.floats(1e-3, 1e3), st.integers(0, 9)).map(
    lambda c: (*sorted(c[:5]), c[5], c[6])
)
claims_lists = st.lists(claim, min_size=1, max_size=30)
FLAT = ZoneTree.of([ZoneSpec("z")])
NEST = ZoneTree.of(
    [ZoneSpec("site"), ZoneSpec("a", "site"), ZoneSpec("b", "site"), ZoneSpec("rack", "a"), ZoneSpec("other")]
)


def claims_of(rows) -> Claims:
    """Rows of floor, essential, recent, full, ceiling, weight and class; without an essential part it is the floor."""
    rows = [row if len(row) == 7 else (row[0], *row) for row in rows]
    columns = [np.array(column, dtype=float) for column in zip(*rows, strict=True)]
    return Claims(*columns[:6], columns[6].astype(np.int64))


def shared(rows, available, *, braking=False):
    claims = claims_of(rows)
    return allot(
        FLAT, np.zeros(len(rows), dtype=np.int64), claims, np.array([float(available)]), np.array([braking]),
        claims.demand_w,
    )  # fmt: skip


def filled(low, high, weight, total):
    arrays = [np.array(values, dtype=float) for values in (low, high, weight)]
    share, level = fill(*arrays, np.zeros(len(low), dtype=np.int64), np.array([float(total)]))
    return share.tolist(), level[0]


def test_level_is_shared_by_weight():
    shares, level = filled([10, 10, 10], [500, 500, 40], [1, 2, 1], 340)
    assert shares == pytest.approx([100, 200, 40])
    assert level == pytest.approx(100)


def test_groups_are_filled_side_by_side():
    share, level = fill(
        np.array([0.0, 0, 10, 10]), np.array([100.0, 100, 50, 90]), np.ones(4), np.array([0, 0, 1, 1]),
        np.array([60.0, 100.0]),
    )  # fmt: skip
    assert share.tolist() == pytest.approx([30, 30, 50, 50])
    assert level.tolist() == pytest.approx([30, 50])


def test_floors_and_tops():
    assert filled([5, 6], [9, 9], [1, 1], 3)[0] == pytest.approx([5, 6])
    assert filled([5, 6], [9, 9], [1, 1], 30)[0] == pytest.approx([9, 9])


def test_higher_class_is_served_first():
    rows = [(50, 300, 300, 500, 1, 1), (50, 300, 300, 500, 1, 9), (50, 300, 300, 500, 1, 1)]
    allotment = shared(rows, 500)
    assert allotment.share_w == pytest.approx([100, 300, 100])
    assert (allotment.stage[0], allotment.level[0]) == (10 + 2 * 8, pytest.approx(100))


def test_the_essential_part_of_the_lowest_class_goes_before_the_last_watts_of_the_highest():
    rows = [(50, 200, 300, 300, 500, 1, 9), (50, 200, 300, 300, 500, 1, 0)]
    assert shared(rows, 350).share_w == pytest.approx([200, 150])
    assert shared(rows, 450).share_w == pytest.approx([250, 200])
    assert shared(rows, 550).share_w == pytest.approx([300, 250])


def test_surplus_lifts_the_low_first_and_stops_at_ceilings():
    rows = [(50, 100, 100, 500, 1, 5), (50, 400, 400, 500, 1, 5), (50, 60, 60, 120, 1, 0)]
    assert shared(rows, 800).share_w == pytest.approx([280, 400, 120])
    assert shared(rows, 5000).share_w.tolist() == [500, 500, 120]
    assert shared(rows, 5000).stage[0] > SURPLUS
    assert shared(rows, 5000).bound.tolist() == [-1, -1, -1]


def test_floors_that_do_not_fit_are_given_and_said():
    allotment = shared([(100, 200, 200, 300, 1, 5)] * 3, 250)
    assert allotment.share_w.tolist() == [100] * 3
    assert allotment.stage[0] == -1
    assert shared([(100, 200, 200, 300, 1, 5)] * 3, 300).stage[0] >= 0


def test_what_is_done_now_goes_before_what_was_done_before():
    rows = [(50, 400, 400, 500, 1, 5), (50, 100, 400, 500, 1, 5), (50, 100, 400, 500, 1, 5)]
    assert shared(rows, 700).share_w == pytest.approx([400, 150, 150])
    assert shared(rows, 400).share_w == pytest.approx([200, 100, 100])


def test_the_brake_takes_from_the_lowest_class_first_and_from_its_largest_users():
    rows = [(50, 300, 300, 900, 3, 0), (50, 100, 100, 900, 1, 0), (50, 400, 400, 900, 1, 9), (50, 50, 50, 900, 1, 9)]
    assert shared(rows, 700, braking=True).share_w == pytest.approx([150, 100, 400, 50])
    assert shared(rows, 5000, braking=True).share_w == pytest.approx([300, 100, 400, 50]), "nothing rises"


def test_a_child_obeys_the_smaller_of_its_own_limit_and_its_parents():
    zone = np.array([3, 3, 2, 2, 4])
    claims = claims_of([(50, 400, 400, 500, 1, 5)] * 5)
    available = np.array([900.0, inf, 600.0, 300.0, inf])
    found = allot(NEST, zone, claims, available, np.zeros(5, dtype=bool), claims.demand_w)
    assert found.share_w == pytest.approx([150, 150, 300, 300, 500])
    assert found.bound.tolist() == [3, 3, 2, 2, -1]
    tight = allot(NEST, zone, claims, np.array([700.0, inf, 600, 200, inf]), np.zeros(5, dtype=bool), claims.demand_w)
    assert tight.share_w == pytest.approx([100, 100, 250, 250, 500])
    assert tight.bound.tolist() == [3, 3, 0, 0, -1], "the outermost zone that took something"


@given(claims_lists, st.floats(0, 3e7))
def test_allot_keeps_its_promises(rows, available):
    claims, found = claims_of(rows), shared(rows, available)
    assert np.all(found.share_w >= claims.floor_w * (1 - 1e-12))
    assert np.all(found.share_w <= claims.ceiling_w * (1 + 1e-12))
    if fsum(claims.floor_w) <= available:
        total = fsum(found.share_w)
        assert total <= available * (1 + 1e-11) + 1e-9
        assert total == pytest.approx(min(available, fsum(claims.ceiling_w)), rel=1e-9, abs=1e-6)


@given(claims_lists, st.floats(0, 3e7), st.floats(0, 1e7))
def test_more_budget_takes_from_nobody(rows, available, more):
    before, after = shared(rows, available).share_w, shared(rows, available + more).share_w
    assert np.all(after >= before - 1e-6 * (1 + before))


@given(claims_lists, st.floats(0, 3e7), st.randoms())
def test_the_order_of_nodes_does_not_matter(rows, available, rng):
    order = list(range(len(rows)))
    rng.shuffle(order)
    straight, shuffled = shared(rows, available).share_w, shared([rows[i] for i in order], available).share_w
    assert shuffled == pytest.approx(straight[order], rel=1e-8, abs=1e-6)


@given(claims_lists, st.floats(0, 3e7))
def test_nobody_has_more_than_the_level_while_another_wants(rows, available):
    """Max-min: in the stage where the watts run out, a share is the level by weight, between its marks."""
    claims, found = claims_of(rows), shared(rows, available)
    stage, level = int(found.stage[0]), float(found.level[0])
    rank = 9 - claims.priority
    first = 10 + 2 * rank
    for low, high, here in (
        (claims.floor_w, claims.essential_w, stage == rank),
        (claims.essential_w, claims.recent_w, stage == first),
        (claims.recent_w, claims.demand_w, stage == first + 1),
        (claims.demand_w, claims.ceiling_w, np.full(len(rows), stage == SURPLUS)),
    ):
        wanted = np.clip(level * claims.weight, low, high)
        assert found.share_w[here] == pytest.approx(wanted[here], rel=1e-6, abs=1e-6)
    for mark, served in (
        (claims.essential_w, rank < stage), (claims.recent_w, first < stage), (claims.demand_w, first + 1 < stage),
    ):  # fmt: skip
        assert np.all(found.share_w[served] >= mark[served] * (1 - 1e-9))


@settings(max_examples=200)
@given(
    st.lists(st.tuples(claim, st.integers(0, 4)), min_size=1, max_size=40),
    st.lists(st.one_of(st.floats(0, 2e7), st.just(inf)), min_size=5, max_size=5),
    st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_every_zone_of_a_tree_keeps_to_its_watts(nodes, limits, braking):
    claims = claims_of([row for row, _ in nodes])
    zone = np.array([z for _, z in nodes])
    available, use = np.array(limits), claims.recent_w
    found = allot(NEST, zone, claims, available, np.array(braking), use)
    sums, floors = NEST.totals(zone, found.share_w), NEST.totals(zone, claims.floor_w)
    assert np.all(found.share_w >= claims.floor_w * (1 - 1e-12))
    assert np.all(sums <= np.maximum(available, floors) * (1 + 1e-9) + 1e-6)
    # Watts that are left over stay so only where every node under them is served in full or a zone inside is short.
    full = sums >= available * (1 - 1e-9) - 1e-6
    for z in range(5):
        if any(full[around] for around in NEST.path(z)[:-1]):
            continue  # what an outer zone takes, an inner one has left
        inside = (NEST.around == z).any(axis=0)[zone]
        if np.isfinite(available[z]) and sums[z] < available[z] * (1 - 1e-9) - 1e-6 and not any(braking):
            free = inside & (found.bound == z)
            assert not free.any()
