"""What drivers say of processes, made weights."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.gpu_use import weigh


def test_the_latest_possible_sample_of_each_process_counts():
    rows = [(7, 10, 50), (7, 20, 30), (7, 15, 90), (8, 10, 100), (0, 30, 40), (9, 5, 0), (9, 6, 101)]
    assert weigh(rows) == {7: 30, 8: 100}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.integers(0, 2**32 - 1))))
def test_weights_are_possible_whatever_comes(rows):
    weights = weigh(rows)
    assert all(0 < weight <= 100 for weight in weights.values())
    assert weights.keys() <= {pid for pid, _, _ in rows} - {0}
