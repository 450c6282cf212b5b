"""A cap is a lease: it ends by itself, in the fallback, never in nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.leases import CONTROLLER, RAMP_S, Lease, LeaseBook, PauseBook
from evenwatt_agent.split import Claim, split_cap
from evenwatt_wire.messages import LeaseState


def lease(cap_w, expires_s, fallback_w=None, seq=1):
    return Lease(cap_w, cap_w if fallback_w is None else fallback_w, expires_s, 1, seq)


def test_a_controlled_node_starts_in_its_fallback_and_another_is_left_alone():
    assert LeaseBook(200, managed=True).target(0).cap_w == 200
    assert LeaseBook(200, managed=False).target(0).cap_w is None


def test_the_end_of_a_lease_is_a_ramp_to_the_fallback():
    book = LeaseBook(200, managed=True)
    book.grant(CONTROLLER, lease(400, 10, fallback_w=150))
    assert book.target(9.9).cap_w == 400
    half = book.target(10 + RAMP_S / 2)
    assert (half.state, half.cap_w) == (LeaseState.RAMPING, pytest.approx(275))
    end = book.target(10 + RAMP_S)
    assert (end.state, end.cap_w) == (LeaseState.FALLBACK, 150)
    assert book.target(1e9).cap_w == 150


def test_a_renewal_in_the_ramp_takes_over():
    book = LeaseBook(200, managed=True)
    book.grant(CONTROLLER, lease(400, 10))
    book.target(12)
    book.grant(CONTROLLER, lease(300, 22))
    assert book.target(12).state is LeaseState.LEASED
    assert book.target(12).cap_w == 300


def test_a_lease_goes_on_with_its_zones_only_while_it_lives_and_was_granted_before_in_the_same_epoch():
    book = LeaseBook(200, managed=True)
    assert not book.renew(1, 10, 0, 10)  # there is none
    book.grant(CONTROLLER, lease(400, 10, fallback_w=150, seq=5))
    assert not book.renew(2, 10, 1, 10)
    assert not book.renew(1, 5, 1, 10)  # the lease is newer than the renewal
    assert book.target(1).remaining_s == 9
    assert book.renew(1, 6, 8, 10)
    assert book.renew(1, 6, 8, 1)  # a shorter one takes nothing away
    assert (book.target(8).cap_w, book.target(8).remaining_s, book.target(8).seq) == (400, 10, 5)
    assert not book.renew(1, 6, 18, 10)  # it has just ended
    assert book.target(18 + RAMP_S).cap_w == 150


def test_a_renewal_keeps_nobody_elses_lease():
    book = LeaseBook(200, managed=True)
    book.grant("operator", lease(150, 10, seq=1))
    assert not book.renew(1, 9, 1, 60)
    book.grant(CONTROLLER, lease(300, 10, seq=2))
    assert book.renew(1, 9, 1, 60)
    assert book.target(2).cap_w == 150
    assert book.target(10 + RAMP_S).cap_w == 300


def test_the_operator_can_only_tighten():
    book = LeaseBook(200, managed=True)
    book.grant(CONTROLLER, lease(300, 10))
    book.grant("operator", lease(500, 60))
    assert book.target(1).cap_w == 300
    book.grant("operator", lease(250, 60))
    assert book.target(1).cap_w == 250
    assert book.release("operator", 2) is LeaseState.LEASED
    assert book.target(2).cap_w == 300


def test_an_operator_cannot_outlast_the_controllers_fallback():
    """The zone's budget counts on the fallback of the last lease, whoever else still holds one."""
    book = LeaseBook(400, managed=True)
    book.grant(CONTROLLER, lease(300, 10, fallback_w=150))
    book.grant("operator", lease(390, 600, fallback_w=390))
    assert book.target(10 + RAMP_S).cap_w == 150
    assert book.fallback_w == 150
    assert book.release("operator", 20) is LeaseState.FALLBACK
    assert book.target(21).cap_w == 150
    assert book.release(CONTROLLER, 22) is LeaseState.UNMANAGED


def test_an_operators_wish_without_a_controller_ends_in_the_nodes_own_fallback():
    book = LeaseBook(200, managed=True)
    book.grant("operator", lease(300, 10))
    assert book.target(5).cap_w == 300
    assert book.target(10 + RAMP_S / 2).cap_w == pytest.approx(250)
    assert book.target(10 + RAMP_S).cap_w == 200


def test_only_a_release_of_the_last_lease_gives_the_machine_back():
    book = LeaseBook(200, managed=True)
    book.grant("operator", lease(250, 60))
    assert book.release("operator", 1) is LeaseState.UNMANAGED
    assert book.target(1).cap_w is None


def test_the_local_fallback_is_not_loosened_from_outside():
    book = LeaseBook(200, managed=True)
    book.grant(CONTROLLER, lease(400, 10, fallback_w=390))
    assert book.target(100).cap_w == 200


def test_a_restart_keeps_the_tighter_fallback():
    assert LeaseBook(200, managed=True, last_fallback_w=120).target(0).cap_w == 120
    assert LeaseBook(200, managed=True, last_fallback_w=900).target(0).cap_w == 200


events = st.lists(
    st.tuples(
        st.floats(0, 5),
        st.sampled_from([f"grant {CONTROLLER}", "grant b", "release b", f"release {CONTROLLER}", "look"]),
        st.floats(50, 500),
        st.floats(50, 500),
        st.floats(0.1, 12),
    ),
    max_size=40,
)


@given(events)
def test_whatever_happens_the_cap_is_bounded_and_never_lost(schedule):
    """Under any schedule: a managed, unreleased node always has a cap, within the leases and fallbacks ever seen."""
    book = LeaseBook(200, managed=True)
    now, seen, released, promised = 0.0, [200.0], False, None
    for wait, what, cap, fallback, ttl in schedule:
        now += wait
        verb, _, holder = what.partition(" ")
        if verb == "grant":
            book.grant(holder, lease(cap, now + ttl, fallback))
            seen += [cap, min(200.0, fallback)]
            released = False
            promised = fallback if holder == CONTROLLER else promised
        elif verb == "release":
            released = book.release(holder, now) is LeaseState.UNMANAGED
            promised = None if holder == CONTROLLER else promised
        target = book.target(now)
        assert (target.cap_w is None) == released
        if target.cap_w is not None:
            assert min(seen) - 1e-9 <= target.cap_w <= max(seen) + 1e-9
    if not released:
        last = book.target(now + 1_000)
        assert last.state is LeaseState.FALLBACK
        assert last.cap_w == min(200, 200 if promised is None else promised)


def test_pauses_end():
    book = PauseBook()
    book.pause("batch", 10)
    assert book.paused == ["batch"]
    assert book.expired(9.9) == []
    assert book.expired(10) == ["batch"]
    book.resume("batch")
    assert book.paused == []


claims = st.lists(
    st.tuples(st.floats(10, 100), st.floats(0, 300), st.floats(0, 500)).map(lambda t: Claim(t[0], t[0] + t[1], t[2])),
    min_size=1,
    max_size=12,
)


@given(claims, st.floats(0, 4_000), st.floats(0, 200))
def test_a_split_adds_up_within_floors_and_ceilings(rows, cap_w, fixed_w):
    limits = split_cap(cap_w, fixed_w, rows)
    for limit, claim in zip(limits, rows, strict=True):
        assert claim.floor_w - 1e-6 <= limit <= claim.ceiling_w + 1e-6
    floors, ceilings = sum(c.floor_w for c in rows), sum(c.ceiling_w for c in rows)
    expected = min(ceilings, max(floors, cap_w - fixed_w))
    assert sum(limits) == pytest.approx(expected, abs=1e-6)


def test_a_busy_package_gets_what_an_idle_one_leaves():
    idle, busy = Claim(40, 200, 20), Claim(40, 200, 200)
    assert split_cap(240, 0, [idle, busy]) == pytest.approx([40, 200])


def test_equal_wants_are_met_equally():
    assert split_cap(300, 20, [Claim(40, 200, 200)] * 2) == pytest.approx([140, 140])
