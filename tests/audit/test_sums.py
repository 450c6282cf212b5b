"""Renewals are counted: no number is lost or doubled, and every change is an entry of its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evenwatt_daemon.audit_sums import Sums

steps = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([100.0, 200.0]), st.floats(0, 90)), min_size=1, max_size=60
)


@given(steps)
def test_every_one_is_entered_once_by_itself_or_in_a_sum(rows):
    sums, now_s, entered = Sums(period_s=60.0, most=2), 0.0, []
    for seq, (stream, cap_w, later_s) in enumerate(rows):
        now_s += later_s
        entered += [(row["key"], row["cap_w"], row["count"]) for row in sums.due(now_s)]
        alone, before = sums.take(stream, {"key": stream, "cap_w": cap_w}, seq, seq, now_s)
        entered += [(row["key"], row["cap_w"], row["count"]) for row in before]
        entered += [(stream, cap_w, 1)] if alone else []
    entered += [(row["key"], row["cap_w"], row["count"]) for row in sums.flush()]
    asked = [(stream, cap_w) for stream, cap_w, _ in rows]
    for pair in set(asked):
        assert sum(count for *what, count in entered if tuple(what) == pair) == asked.count(pair)


@given(steps)
def test_a_change_is_never_only_counted(rows):
    sums, last = Sums(most=100), {}
    for seq, (stream, cap_w, _) in enumerate(rows):
        alone, _ = sums.take(stream, {"cap_w": cap_w}, seq, seq, 0.0)
        assert alone is (last.get(stream) != cap_w)
        last[stream] = cap_w


def test_a_sum_says_from_where_to_where():
    sums = Sums(period_s=60.0)
    for seq in range(10, 41):
        sums.take("node", {"cap_w": 300.0}, seq, 1_000 * seq, 2.0 * seq)
    assert sums.due(80.0) == []
    assert sums.due(82.0) == [
        {"cap_w": 300.0, "count": 30, "first_seq": 11, "last_seq": 40, "first_ms": 11_000, "last_ms": 40_000}
    ]
    assert sums.due(1e9) == sums.flush() == []
    assert sums.end("node") == []
    assert sums.take("node", {"cap_w": 300.0}, 41, 1, 1.0) == (True, [])


def test_streams_are_bounded():
    sums = Sums(most=3)
    for name in range(100):
        sums.take(name, {"name": name}, 1, 1, 0.0)
        sums.take(name, {"name": name}, 2, 2, 0.0)
    assert len(sums._streams) == 3
