"""What drivers say of processes, made weights, and whose they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.attribution import IDLE, SYSTEM, Owner, Pool, attribute
from evenwatt_agent.gpu_use import BoardUse, by_owner, weigh

A, B = Owner("task", "a"), Owner("unit", "b")
OWNERS = {7: A, 8: A, 9: B}


def test_the_latest_possible_sample_of_each_process_counts():
    rows = [(7, 10, 50), (7, 20, 30), (7, 15, 90), (8, 10, 100), (0, 30, 40), (9, 5, 0), (9, 6, 101), (9, 3, 50)]
    assert weigh(rows, 3) == ({7: 30, 8: 100}, 20)


def test_impossible_rows_do_not_move_the_time_from_which_the_next_look_asks():
    assert weigh([(0, 2**63, 50), (7, 2**63, 2**32 - 1)], 12) == ({}, 12)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.integers(0, 2**32 - 1))), st.integers(0, 50))
def test_weights_are_possible_whatever_comes(rows, since_us):
    weights, until_us = weigh(rows, since_us)
    assert all(0 < weight <= 100 for weight in weights.values())
    assert weights.keys() <= {pid for pid, _, _ in rows} - {0}
    assert until_us >= since_us


def test_processes_of_one_owner_are_added_and_one_that_has_ended_is_in_the_whole():
    share = by_owner(BoardUse({7: 30, 8: 20, 9: 10, 99: 40}, frozenset({7, 8, 9})), OWNERS.get)
    assert (share.use, share.whole, share.alone) == ({A: 50, B: 10}, 100, {})


def test_who_has_a_board_alone_carries_its_idle_energy():
    share = by_owner(BoardUse({7: 30}, frozenset({7, 8})), OWNERS.get)
    assert share.alone == {A: 1.0}
    parts = attribute([Pool(500, 200, share.use, share.whole, share.alone, gpu=True)])
    assert (parts.keys(), parts[A].gpu_uj, parts[A].idle_uj) == ({A}, 300, 200)


def test_a_board_is_nobodys_alone_when_others_have_it_or_may_have_it():
    for holders in (frozenset({7, 9}), frozenset({7, 99}), frozenset[int](), None):
        use = {7: 30} if holders is None else {}
        share = by_owner(BoardUse(use, holders), OWNERS.get)
        assert share.alone == {}
        parts = attribute([Pool(500, 200, share.use, share.whole, share.alone, gpu=True)])
        assert parts[IDLE].idle_uj == 200
        assert parts[A if use else SYSTEM].gpu_uj == 300
