"""What nodes may draw: accounts, their standings, and that no network makes a node draw more than counted."""

import random
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.control.accounts import Accounts, Standing
from tests.control.model import LeaseClock, Network
from tests.control.named import Grant


class One:
    """One node's account."""

    def __init__(self, cap_w=150.0):
        self.book = Accounts(1)
        self.book.arrive(np.array([0]), np.array([float(cap_w)]), np.array([50.0]))
        self.seq = 0

    def grant(self, cap_w, rest_w, now_s):
        self.seq += 1
        self.book.sent(np.array([0]), np.array([self.seq]), np.array([float(cap_w)]), np.array([float(rest_w)]), now_s)
        return self.seq

    def confirm(self, seq, after_w, now_s):
        after = np.nan if after_w is None else float(after_w)
        self.book.confirm(np.array([0]), np.array([seq]), np.array([after]), now_s)

    def out(self, now_s):
        return float(self.book.outstanding(now_s)[0])

    def standing(self, now_s):
        return self.book.standing(0, now_s)


def test_a_raise_counts_from_sending_and_a_decrease_from_its_acknowledgement():
    node = One()
    node.grant(300, 150, 0)
    assert node.out(0) == 300
    node.confirm(1, 300, 0.3)
    node.grant(100, 100, 1)
    assert node.out(1) == 300
    node.confirm(2, 100, 1.3)
    assert node.out(1.3) == 100
    assert node.book.rest_w[0] == 100


def test_unacknowledged_decrease_counts_as_the_old_lease_until_that_has_ended_and_ramped():
    node = One()
    node.grant(300, 150, 0)
    node.confirm(1, 300, 0.2)
    node.grant(100, 100, 1)
    assert node.out(10) == 300
    assert node.out(15.6) == 300  # received by 0.2, ttl 10, ramp 5, guard 0.5
    assert node.out(15.8) == 150  # it rests at one of the two fallbacks, nobody knows which
    assert node.out(100) == 150
    assert node.standing(100) is Standing.RESTING


def test_lost_raise_counts_until_it_cannot_be_alive():
    node = One()
    node.grant(400, 150, 0)
    assert node.standing(1) is Standing.OFFERED
    assert node.out(17.4) == 400
    assert node.standing(17.4) is Standing.ENDING
    assert node.out(17.6) == 150


def test_late_old_and_doubled_acknowledgements_change_nothing():
    node = One()
    node.grant(300, 150, 0)
    node.grant(200, 150, 1)
    node.confirm(2, 200, 1.2)
    for seq, after in ((1, 300), (2, 300), (77, 500)):
        node.confirm(seq, after, 1.3)
    assert node.out(1.4) == 200
    assert node.standing(1.4) is Standing.HELD


def test_acknowledgement_of_an_older_grant_leaves_the_newer_counting():
    node = One()
    node.grant(300, 150, 0)
    node.grant(400, 150, 0.5)
    node.confirm(1, 300, 0.6)
    assert node.out(0.6) == 400
    assert node.standing(0.6) is Standing.OFFERED


def test_a_renewal_of_the_same_cap_is_confirmed_by_the_answer_to_any_of_them():
    node = One()
    for sent_s in (0, 0.5, 1.0):
        node.grant(300, 150, sent_s)
    node.confirm(2, 300, 1.2)
    assert node.standing(1.2) is Standing.OFFERED  # the third may still be on its way, and makes it last longer
    node.confirm(3, 300, 1.4)
    assert node.standing(1.4) is Standing.HELD
    assert node.out(16.8) == 300
    assert node.out(17.0) == 150


def test_more_changes_than_entries_are_never_counted_too_low():
    node = One()
    caps = [400, 100, 350, 120, 90, 80]
    for at, cap in enumerate(caps):
        node.grant(cap, 80, 0.1 * at)
    assert node.out(1) == 400
    node.confirm(3, 350, 1.1)
    assert node.out(1.2) >= 350
    node.confirm(6, 80, 1.3)
    assert node.out(1.4) == 80


def test_clamped_to_a_higher_floor_counts_as_read_back_and_rests_there():
    node = One()
    node.grant(100, 80, 0)
    node.confirm(1, 120, 0.2)
    assert node.out(1) == 120
    assert node.out(40) == 120


def test_a_fallback_above_the_cap_counts_all_the_time():
    node = One()
    node.grant(100, 300, 0)
    assert node.out(0) == 300
    node.confirm(1, 100, 0.1)
    assert node.out(1) == 300


def test_devices_that_do_not_obey_are_unmanaged_until_they_answer_a_newer_grant():
    node = One()
    node.grant(300, 150, 0)
    node.book.refuse(0, 1)
    assert node.standing(1) is Standing.UNMANAGED
    node.grant(200, 150, 1)
    node.confirm(2, 200, 1.1)
    assert node.standing(1.2) is Standing.HELD
    node.book.refuse(0, 1)
    assert node.standing(1.3) is Standing.HELD


def test_what_fell_a_moment_ago_may_still_show_in_readings():
    node = One(400)
    node.grant(100, 100, 0)
    node.out(0.1)
    node.confirm(1, 100, 0.2)
    assert node.out(0.3) == 100
    assert node.book.lately_w(2.0)[0] == 400
    assert node.book.lately_w(3.5)[0] == 100


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32), loss=st.sampled_from([0, 0.05, 0.4, 0.9]), slowest=st.sampled_from([0.3, 1.9, 8.0]),
    nodes=st.integers(1, 6), hold=st.booleans(),
)  # fmt: skip
def test_no_node_ever_draws_more_than_counted_whatever_the_network_does(seed, loss, slowest, nodes, hold):
    """Random grants over a network that loses, delays, doubles and reorders; agents that restart."""
    rng = random.Random(seed)
    clocks = [LeaseClock(f"n{i}", 50, rng.uniform(20, 200)) for i in range(nodes)]
    book, down, up = Accounts(nodes), Network(rng, loss, (0, slowest), 0.2), Network(rng, loss, (0, slowest), 0.2)
    every = np.arange(nodes)
    book.arrive(every, np.array([c.cap_at(0) for c in clocks]), np.full(nodes, 50.0))
    seq, talking = 1, True
    for now in (tick / 20 for tick in range(2400)):
        for at, (grant, sent) in down.due(now):
            after = clocks[int(grant.node[1:])].receive(grant, sent, at)
            if after is not None:
                up.send(at, (int(grant.node[1:]), grant.seq, after))
        for _, (slot, acked, after) in up.due(now):
            book.confirm(np.array([slot]), np.array([acked]), np.array([after]), now)
        if rng.random() < (0.02 if talking else 0.003):  # now and then silent for long enough that leases end
            talking = not talking
        if talking and rng.random() < 0.2:
            at = np.array(sorted(rng.sample(range(nodes), rng.randint(1, nodes))))
            cap_w = np.array([rng.choice([60.0, 200.0, rng.uniform(50, 500)]) for _ in at])
            rest_w = cap_w if hold else np.minimum(cap_w, [clocks[i].fallback_w for i in at])
            seqs = np.arange(seq, seq + len(at))
            seq += len(at)
            book.sent(at, seqs, cap_w, rest_w, now)
            for row in zip(at, seqs, cap_w, rest_w, strict=True):
                down.send(now, (Grant(f"n{row[0]}", int(row[1]), float(row[2]), float(row[3]), 10.0, ""), now))
        if rng.random() < 0.01:
            rng.choice(clocks).restart(now)
        out_w = book.outstanding(now)
        for clock, most_w in zip(clocks, out_w, strict=True):
            assert clock.cap_at(now) <= most_w + 1e-6, f"seed {seed} at {now} s"


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(50, 500), st.booleans()), max_size=20))
def test_without_new_grants_outstanding_only_falls(sends):
    node, now = One(), 0.0
    for wait, cap, answered in sends:
        seq = node.grant(cap, min(cap, 150), now)
        if answered:
            node.confirm(seq, None, now + wait / 2)
        now += wait
    series = [node.out(now + tick / 4) for tick in range(100)]
    assert all(after <= before for before, after in pairwise(series))
    assert node.standing(now + 25) is Standing.RESTING
