"""Who may draw what: accounts, their states, and the invariant under an unreliable network."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.control.accounts import Happening, Standing, next_standing
from evenwatt_collector.control.grants import GrantBook, OvercommitmentError
from tests.control.model import LeaseClock, Network


def book_with(*caps, available=10_000):
    book = GrantBook()
    for number, cap in enumerate(caps):
        book.arrive(f"n{number}", cap, 50)
    book.balance(available, book.total_w(0))
    return book, [book.account(f"n{number}") for number in range(len(caps))]


def test_a_raise_counts_from_sending_and_a_decrease_from_its_acknowledgement():
    book, (node,) = book_with(150)
    book.grant(node, 300, 150, "", 0)
    assert node.outstanding(0) == 300
    book.acknowledged("n0", 1, 300, 0.3)
    book.grant(node, 100, 150, "", 1)
    assert node.outstanding(1) == 300
    book.acknowledged("n0", 2, 100, 1.3)
    assert node.outstanding(1.3) == 100
    assert node.rest_w == 100


def test_unacknowledged_decrease_counts_as_the_old_lease_until_that_has_ended_and_ramped():
    book, (node,) = book_with(150)
    book.grant(node, 300, 150, "", 0)
    book.acknowledged("n0", 1, 300, 0.2)
    book.grant(node, 100, 100, "", 1)
    assert node.outstanding(10) == 300
    assert node.outstanding(15.6) == 300  # received by 0.2, ttl 10, ramp 5, guard 0.5
    assert node.outstanding(15.8) == 150  # it rests at one of the two fallbacks, nobody knows which
    assert node.outstanding(100) == 150
    assert node.standing is Standing.RESTING


def test_lost_raise_counts_until_it_cannot_be_alive():
    book, (node,) = book_with(150)
    book.grant(node, 400, 150, "", 0)
    assert node.outstanding(17.4) == 400
    assert node.standing is Standing.ENDING
    assert node.outstanding(17.6) == 150


def test_late_old_and_doubled_acknowledgements_change_nothing():
    book, (node,) = book_with(150)
    book.grant(node, 300, 150, "", 0)
    book.grant(node, 200, 150, "", 1)
    book.acknowledged("n0", 2, 200, 1.2)
    book.acknowledged("n0", 1, 300, 1.3)
    book.acknowledged("n0", 77, 500, 1.3)
    book.acknowledged("nobody", 1, 500, 1.3)
    assert node.outstanding(1.4) == 200


def test_acknowledgement_of_an_older_grant_leaves_the_newer_counting():
    book, (node,) = book_with(150)
    book.grant(node, 300, 150, "", 0)
    book.grant(node, 400, 150, "", 0.5)
    book.acknowledged("n0", 1, 300, 0.6)
    assert node.outstanding(0.6) == 400
    assert node.standing is Standing.OFFERED


def test_clamped_to_a_higher_floor_counts_as_read_back_and_rests_there():
    book, (node,) = book_with(150)
    book.grant(node, 100, 80, "", 0)
    book.answered("n0", 1, "clamped", 120, 0.2)
    assert node.outstanding(1) == 120
    assert node.outstanding(40) == 120


def test_refusals_keep_counting_and_locked_devices_are_unmanaged():
    book, (node,) = book_with(150)
    book.grant(node, 300, 150, "", 0)
    book.answered("n0", 1, "rejected", None, 0.1)
    assert node.outstanding(1) == 300
    book.answered("n0", 1, "locked", None, 0.1)
    assert node.standing is Standing.UNMANAGED


def test_no_room_no_raise():
    book, (first, second) = book_with(200, 200, available=450)
    assert book.affordable_w(first, 300, 0) == 250
    with pytest.raises(OvercommitmentError, match=r"50\.000 W left"):
        book.grant(first, 300, 150, "", 0)
    book.grant(first, 250, 150, "", 0)
    assert book.affordable_w(second, 300, 0) == 200
    book.balance(400, book.total_w(0))
    assert book.affordable_w(first, 240, 0) == 240
    book.grant(first, 100, 100, "", 1)
    assert book.affordable_w(first, 240, 1) == 100, "over budget, commands only go down"


def test_a_node_that_left_is_counted_until_its_leases_have_ended():
    book, (node,) = book_with(150)
    book.grant(node, 300, 150, "", 0)
    assert book.left(1, 10) == 300
    assert book.left(1, 17.6) == 0
    assert len(book) == 0


def test_standings_move_only_as_drawn():
    assert next_standing(Standing.RESTING, Happening.SENT) is Standing.OFFERED
    assert next_standing(Standing.RESTING, Happening.ENDED) is Standing.RESTING
    assert next_standing(Standing.HELD, Happening.RAMPED) is Standing.HELD
    for standing in Standing:
        assert next_standing(standing, Happening.REFUSED) is Standing.UNMANAGED


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32), loss=st.sampled_from([0, 0.05, 0.4, 0.9]), slowest=st.sampled_from([0.3, 1.9, 8.0]),
    nodes=st.integers(1, 6),
)  # fmt: skip
def test_real_caps_never_exceed_the_budget_whatever_the_network_does(seed, loss, slowest, nodes):
    """Random grants as the book allows them; every node is at most at its account, so the sum is in the budget."""
    rng = random.Random(seed)
    clocks = {f"n{i}": LeaseClock(f"n{i}", 50, rng.uniform(20, 200)) for i in range(nodes)}
    budget = sum(clock.cap_at(0) for clock in clocks.values()) + rng.uniform(0, 600)
    book, down, up = GrantBook(), Network(rng, loss, (0, slowest), 0.2), Network(rng, loss, (0, slowest), 0.2)
    for clock in clocks.values():
        book.arrive(clock.name, clock.cap_at(0), clock.floor_w)
    talking = True
    for now in (tick / 20 for tick in range(2400)):
        _deliver(now, clocks, book, down, up)
        if rng.random() < (0.02 if talking else 0.003):  # now and then silent for long enough that leases end
            talking = not talking
        if talking and rng.random() < 0.1:
            _grant_at_random(now, rng, clocks, book, down, budget)
        if rng.random() < 0.01:
            rng.choice(list(clocks.values())).restart(now)
        for clock in clocks.values():
            assert clock.cap_at(now) <= book.account(clock.name).outstanding(now) + 1e-6, f"seed {seed} at {now} s"
        assert sum(clock.cap_at(now) for clock in clocks.values()) <= budget + 1e-6, f"seed {seed} at {now} s"


def _deliver(now, clocks, book, down, up):
    for at, (grant, sent) in down.due(now):
        after = clocks[grant.node].receive(grant, sent, at)
        up.send(at, (grant.node, grant.seq, "rejected" if after is None else "applied", after))
    for _, (node, seq, code, after) in up.due(now):
        book.answered(node, seq, code, after, now)


def _grant_at_random(now, rng, clocks, book, down, budget):
    book.balance(budget, book.total_w(now))
    for clock in rng.sample(list(clocks.values()), rng.randint(1, len(clocks))):
        account = book.account(clock.name)
        cap = book.affordable_w(account, rng.uniform(50, 500), now)
        down.send(now, (book.grant(account, cap, clock.fallback_w, "", now), now))


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(50, 500), st.booleans()), max_size=20))
def test_without_new_grants_outstanding_only_falls(sends):
    book, (node,) = book_with(150)
    now = 0.0
    for wait, cap, answered in sends:
        grant = book.grant(node, cap, 150, "", now)
        if answered:
            book.acknowledged("n0", grant.seq, None, now + wait / 2)
        now += wait
    series = [node.outstanding(now + tick / 4) for tick in range(100)]
    assert all(after <= before for before, after in pairwise(series))
    assert node.standing is Standing.RESTING
