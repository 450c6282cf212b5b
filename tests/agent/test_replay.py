"""A fleet that comes back is no flood, and nothing that is never answered holds up the rest."""

from __future__ import annotations

import random
from itertools import pairwise

from evenwatt_agent.replay import FIRST_WINDOW, MOST, MOST_PATIENCE_S, PATIENCE_S, Replay


def early(low, _high):
    return low


def test_it_waits_by_chance_up_to_the_spread():
    starts = []
    for seed in range(500):
        replay = Replay(random.Random(seed).uniform)
        replay.spread_s = 10.0
        replay.begin(100.0)
        assert replay.room(99.9, 0) == 0
        starts.append(replay.next_s(99.9))
    assert 100.0 <= min(starts) < 101.0
    assert 109.0 < max(starts) <= 110.0


def test_a_node_about_to_leave_waits_for_no_chance():
    replay = Replay(lambda _low, high: high)
    replay.begin(0.0)
    replay.hurry()
    assert replay.room(0.0, 0) == FIRST_WINDOW
    replay.begin(0.0)
    assert replay.room(0.0, 0) == FIRST_WINDOW


def test_the_window_grows_with_answers_up_to_what_is_granted():
    replay = Replay(early)
    replay.begin(0.0)
    rooms = []
    for _ in range(6):
        rooms.append(replay.room(0.0, 0))
        replay.answered(0.0, 0)
    assert rooms == [4, 8, 16, 32, MOST, MOST]
    replay.answered(0.0, 3)
    assert (replay.room(0.0, 0), replay.room(0.0, 2), replay.room(0.0, 9)) == (3, 1, 0)


def test_without_answers_it_goes_on_ever_less_often_and_returns_to_the_oldest():
    replay, now_s, sent = Replay(early), 0.0, []
    replay.begin(now_s)
    waiting = list(range(1, 10))
    while now_s < 3_000:
        in_flight = sum(replay.start < row <= replay.row for row in waiting)
        room = replay.room(now_s, in_flight)
        portion = [row for row in waiting if row > replay.row][:room]
        if room and not portion and replay.turn():
            portion = waiting[:room]
        sent += [(now_s, row) for row in portion]
        for row in portion:
            replay.sent(now_s, row)
        now_s = now_s if portion else replay.next_s(now_s)
    assert [row for _, row in sent[:13]] == [*waiting, 1, 2, 3, 4]
    times = sorted({at for at, _ in sent})
    waits = [b - a for a, b in pairwise(times)]
    assert waits[0] == PATIENCE_S
    assert waits == sorted(waits)
    assert waits[-1] == MOST_PATIENCE_S
    assert len(sent) < 60


def test_a_dead_record_lets_the_others_pass():
    replay, now_s, waiting = Replay(early), 0.0, list(range(1, 101))
    dead = {2, 3, 5, 7, 11, 13}
    replay.begin(now_s)
    while set(waiting) > dead and now_s < 1_000:
        in_flight = sum(replay.start < row <= replay.row for row in waiting)
        portion = [row for row in waiting if row > replay.row][: replay.room(now_s, in_flight)]
        for row in portion:
            replay.sent(now_s, row)
        answered = [row for row in portion if row not in dead]
        waiting = [row for row in waiting if row not in answered]
        if answered:
            replay.answered(now_s, 0)
        now_s = now_s if portion else replay.next_s(now_s)
    assert set(waiting) == dead
