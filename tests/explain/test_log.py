"""The log keeps what a reader looks for and never more than it may."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.explain import Cause, Log, NodeReason
from evenwatt_collector.explain.log import KEPT_LEAST, KEPT_S

BASE = NodeReason(
    wall_s=0.0, node="n", zone="z", cause=Cause.FREE, cap_w=500.0, power_w=100.0, floor_w=50.0, ceiling_w=500.0,
    demand_w=110.0, demand_hidden=False, kind="", priority=5, short=None, waiting_w=0.0,
)  # fmt: skip


def test_small_moves_are_one_decision_and_a_new_cause_is_another():
    log = Log()
    for second, cap_w in enumerate((500.0, 510.0, 495.0, 480.0)):
        log.note(replace(BASE, wall_s=float(second), cap_w=cap_w))
    assert len(log) == 1
    log.note(replace(BASE, wall_s=4.0, cap_w=440.0))
    log.note(replace(BASE, wall_s=5.0, cap_w=440.0, cause=Cause.LEVEL))
    assert len(log) == 3
    assert log.at("z:n", 3.5).last.cap_w == 480.0
    assert log.at("z:n", 3.5).since_s == 0.0
    assert log.at("z:n", 2.0).at(2.0).cap_w == 500.0, "the newest numbers are later than that moment"
    assert log.at("z:n", 9.0).first.cause is Cause.LEVEL
    assert log.at("z:n", -1.0) is None
    assert log.at("z:m", 1.0) is None


def test_a_slow_drift_is_seen_in_the_end():
    log = Log()
    for second in range(100):
        log.note(replace(BASE, wall_s=float(second), cap_w=500.0 - 2 * second))
    assert 3 <= len(log) <= 6


def test_a_clock_that_is_set_back_begins_a_new_past():
    log = Log()
    for second, cap_w in ((10.0, 500.0), (20.0, 300.0), (15.0, 200.0)):
        log.note(replace(BASE, wall_s=second, cap_w=cap_w))
    assert [spell.since_s for spell in log.before("z:n", 99.0, 9)] == [15.0, 10.0]


def test_what_ended_a_day_ago_is_forgotten():
    log = Log()
    for k in range(10):
        log.note(replace(BASE, wall_s=k * KEPT_S / 4, cap_w=100.0 * (1 + k % 2)))
    assert log.begins_s("z:n") >= 9 * KEPT_S / 4 - KEPT_S


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=600), st.integers(1, 20), st.integers(1, 300))
def test_bounded_in_all_and_each_keeps_its_latest(notes, each, in_all):
    log = Log(each, in_all)
    latest = {}
    for second, (name, high) in enumerate(notes):
        reason = replace(BASE, wall_s=float(second), node=f"n{name}", cap_w=400.0 if high else 100.0)
        log.note(reason)
        latest[reason.name] = reason
    assert len(log) <= max(2 * in_all, KEPT_LEAST * len(latest))
    assert all(log.at(name, 1e9).last == reason for name, reason in latest.items())


@given(st.lists(st.tuples(st.floats(0, 8e4), st.floats(50, 900)), min_size=1, max_size=80), st.floats(0, 8e4))
def test_what_held_at_a_moment_is_what_was_noted_then(notes, asked_s):
    log = Log()
    notes = sorted(dict(notes).items())
    for wall_s, cap_w in notes:
        log.note(replace(BASE, wall_s=wall_s, cap_w=cap_w))
    noted_w = [cap_w for wall_s, cap_w in notes if wall_s <= asked_s]
    spell = log.at("z:n", asked_s)
    assert (spell is None) == (not noted_w)
    if spell is not None:
        assert abs(spell.first.cap_w - noted_w[-1]) <= max(20.0, 0.1 * spell.first.cap_w)


def test_memory_of_many_nodes_is_that_of_the_bound():
    log = Log(kept_each=500, kept_in_all=5_000)
    for second in range(40):
        for node in range(500):
            log.note(replace(BASE, wall_s=float(second), node=f"n{node}", cap_w=100.0 + 300 * (second % 2)))
    assert len(log) == pytest.approx(5_000, rel=0.01)
