"""Silence counts only for who listens: a start, a broker that was away, a clock that jumps."""

from __future__ import annotations

from evenwatt_collector.planning.listening import Listening


def look(listening, wall_s, now_s, reachable=True):
    return listening.look(wall_s, now_s, lambda _: reachable)("z")


def test_it_begins_with_the_first_look():
    listening = Listening()
    assert look(listening, 1000.0, 5.0) == 1000.0
    assert look(listening, 1001.0, 6.0) == 1000.0


def test_a_broker_that_was_away_begins_it_anew():
    listening = Listening()
    look(listening, 1000.0, 5.0)
    assert look(listening, 1400.0, 405.0, reachable=False) == 1400.0
    assert look(listening, 1500.0, 505.0) == 1500.0
    assert look(listening, 1501.0, 506.0) == 1500.0


def test_a_clock_that_jumps_begins_it_anew_and_one_that_is_slewed_does_not():
    listening = Listening()
    look(listening, 1000.0, 5.0)
    assert look(listening, 1010.5, 15.0) == 1000.0
    assert look(listening, 9000.0, 16.0) == 9000.0
    assert look(listening, 100.0, 17.0) == 100.0
