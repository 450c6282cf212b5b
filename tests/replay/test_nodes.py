"""Nodes in arrays keep leases as the agent's own book does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_agent.leases import CONTROLLER, Lease, LeaseBook
from evenwatt_cli.replay.nodes import EXPIRY_S, RAMP_S, NodeLeases

FLOOR_W, CEILING_W, OWN_W, TTL_S = 150.0, 500.0, 300.0, 10.0


class OneNode:
    """The agent's rules for one node: what reaches its lease book, and what the book makes of it."""

    def __init__(self):
        self.book = LeaseBook(OWN_W, managed=True)
        self.mark = -1

    def receive(self, seq, cap_w, fallback_w, sent_s, now_s):
        if seq <= self.mark or abs(now_s - sent_s) > EXPIRY_S:
            return False
        self.mark = seq
        cap_w = min(CEILING_W, max(FLOOR_W, cap_w))
        self.book.grant(CONTROLLER, Lease(cap_w, max(FLOOR_W, fallback_w), now_s + TTL_S, 1, seq))
        return True

    def renew(self, below_seq, sent_s, now_s):
        if abs(now_s - sent_s) <= EXPIRY_S:
            self.book.renew(1, below_seq, now_s, TTL_S)

    def restart(self):
        self.book = LeaseBook(OWN_W, managed=True, last_fallback_w=self.book.controller_fallback_w)


def nodes(count=1):
    return NodeLeases(np.full(count, FLOOR_W), np.full(count, CEILING_W), np.full(count, OWN_W))


EVENTS = st.lists(
    st.tuples(
        st.floats(0.0, 8.0), st.sampled_from(("grant", "grant", "renew", "renew", "look", "restart")),
        st.integers(0, 30),
        st.floats(0.0, 700.0), st.floats(0.0, 400.0), st.floats(-2.5, 2.5),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_they_equal_the_lease_book_step_by_step(events):
    many, one, now_s = nodes(), OneNode(), 0.0
    for wait_s, kind, seq, cap_w, fallback_w, age_s in events:
        now_s += wait_s
        if kind == "grant":
            taken = many.receive(
                np.array([0]), np.array([seq]), np.array([cap_w]), np.array([fallback_w]), TTL_S, now_s - age_s, now_s
            )
            assert bool(taken[0]) == one.receive(seq, cap_w, fallback_w, now_s - age_s, now_s)
        elif kind == "renew":
            many.renew(np.array([0]), (0, seq), TTL_S, now_s - age_s, now_s)
            one.renew(seq, now_s - age_s, now_s)
        elif kind == "restart":
            many.restart(np.array([0]), now_s)
            one.restart()
        assert many.cap_at(now_s)[0] == pytest.approx(one.book.target(now_s).cap_w, rel=1e-12)


def test_a_grant_that_queued_for_long_or_comes_twice_changes_nothing():
    many = nodes(3)
    at, cap_w = np.arange(3), np.full(3, 400.0)
    assert many.receive(at, np.array([5, 5, 5]), cap_w, cap_w, TTL_S, 0.0, 1.9).all()
    assert not many.receive(at, np.array([6, 6, 6]), cap_w, cap_w, TTL_S, 0.0, 2.1).any()
    again = many.receive(at, np.array([5, 6, 4]), np.full(3, 200.0), cap_w, TTL_S, 3.0, 3.1)
    assert again.tolist() == [False, True, False]
    assert many.cap_at(3.1).tolist() == [400.0, 200.0, 400.0]


def test_a_wall_clock_that_jumped_refuses_grants_but_leases_run_on_the_other_clock():
    many = nodes(2)
    at, cap_w = np.arange(2), np.full(2, 400.0)
    many.receive(at, np.array([1, 1]), cap_w, np.full(2, 250.0), TTL_S, 0.0, 0.0)
    many.skew_s[1] = 3600.0
    assert many.receive(at, np.array([2, 2]), cap_w, cap_w, TTL_S, 5.0, 5.0).tolist() == [True, False]
    assert many.cap_at(9.9).tolist() == [400.0, 400.0]
    assert many.cap_at(TTL_S + RAMP_S / 2)[1] == pytest.approx(325.0)  # half of the ramp from 400 to 250 W
    assert many.cap_at(15.0).tolist() == [400.0, 250.0]
