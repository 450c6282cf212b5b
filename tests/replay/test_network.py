"""Messages of a simulated network are late, lost and doubled as often as asked, and never invented."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_cli.replay.network import Conditions, Pipe

DT_S = 0.05


@dataclass(frozen=True)
class Note:
    at: np.ndarray
    sent_k: int

    def part(self, rows):
        return Note(self.at[rows], self.sent_k)


def pipe(seed=1, **conditions):
    return Pipe(Conditions(**conditions), DT_S, [seed])


def carry(line, messages, rows, until=400):
    """Send one message a step; return (sent at, arrived at, row) of everything that arrived."""
    came = []
    for k in range(until):
        if k < messages:
            line.send(k, Note(np.arange(rows), k), rows)
        came += [(note.sent_k, k, int(row)) for note in line.arrived(k) for row in note.at]
    return came


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 0.5), st.floats(0.001, 0.5), st.floats(0, 2))
def test_nothing_is_invented_and_nothing_is_early_or_later_than_allowed(seed, loss, least_s, more_s):
    came = carry(pipe(seed, delay_s=(least_s, least_s + more_s), loss=loss), 50, 4)
    assert len(set(came)) == len(came)
    for sent, at, _ in came:
        assert least_s <= (at - sent) * DT_S + 1e-9
        assert (at - sent) * DT_S <= max(DT_S, least_s + more_s + DT_S) + 1e-9


def test_without_loss_all_arrive_once_and_with_it_the_asked_share():
    assert len(carry(pipe(), 100, 50)) == pytest.approx(5000, rel=0.01)
    assert len(carry(pipe(loss=0.0), 100, 50)) == 5000
    assert len(carry(pipe(loss=0.2), 100, 50)) == pytest.approx(4000, rel=0.05)
    assert len(carry(pipe(loss=0.0, double=0.3), 100, 50)) == pytest.approx(6500, rel=0.05)


def test_a_long_spread_of_delays_reorders():
    came = carry(pipe(delay_s=(0.0, 2.0), loss=0.0), 100, 1)
    assert any(later[0] < sooner[0] for sooner, later in pairwise(came))


def test_the_same_seed_gives_the_same_fate_and_an_absent_broker_takes_all():
    assert carry(pipe(3, loss=0.3), 50, 5) == carry(pipe(3, loss=0.3), 50, 5)
    line = pipe(loss=0.0, delay_s=(0.2, 0.2))
    line.send(0, Note(np.arange(3), 0), 3)
    line.up = False
    line.send(1, Note(np.arange(3), 1), 3)
    assert [list(line.arrived(k)) for k in range(6)] == [[]] * 6
    line.up = True
    assert [list(line.arrived(k)) for k in range(6, 20)] == [[]] * 14
