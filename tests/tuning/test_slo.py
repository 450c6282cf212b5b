"""Bounds that the owner set: kept while learning, and given way to at once."""

import pytest

from evenwatt_collector.tuning import CapLearner, Context, Observed, Settings, Slo
from evenwatt_daemon import Failure
from tests.tuning.machine import Bench, Board

FINE_W = tuple(float(cap) for cap in range(100, 301, 10))
HOUR_S = 3600.0


def _bench(board, caps_w=FINE_W, **slo):
    return Bench(CapLearner(Settings(caps_w=caps_w, slo=Slo(**slo))), board)


@pytest.mark.parametrize("most", [1.02, 1.05, 1.1, 1.2, 1.4])
@pytest.mark.parametrize("demand_w", [150.0, 230.0, 290.0, 400.0])
def test_a_slowdown_that_is_allowed_is_used_and_not_exceeded(most, demand_w):
    board = Board(demand_w=demand_w)
    bench = _bench(board, max_slowdown=most)
    trace = bench.run(HOUR_S)
    full_s = board.truth(300.0)[0]
    assert board.truth(trace.held_w)[0] <= 1.01 * most * full_s
    within = [cap for cap in FINE_W if board.truth(cap)[0] <= 0.99 * most * full_s]
    least = min(board.truth(cap)[1] for cap in within)
    assert board.truth(trace.held_w)[1] <= 1.06 * least


@pytest.mark.parametrize("most", [1.05, 1.1, 1.2])
def test_trials_hardly_ever_exceed_it(most):
    board = Board()
    bench = _bench(board, max_slowdown=most)
    trace = bench.run(HOUR_S)
    full_s = board.truth(300.0)[0]
    slowest = max(board.truth(choice.cap_w)[0] for _, choice in trace.choices)
    assert slowest <= 1.03 * most * full_s


def test_a_rate_that_is_asked_for_is_kept():
    board = Board()
    rate = 0.9 / board.truth(300.0)[0]
    trace = _bench(board, least_units_per_s=rate).run(HOUR_S)
    assert 1 / board.truth(trace.held_w)[0] >= 0.99 * rate
    assert trace.held_w < 300
    assert "least_units_per_s" in trace.last.why


def test_latency_is_approached_in_steps_and_kept():
    # A queue: latency grows without bound as the service gets slower.
    board = Board()
    rate = 0.75 / board.truth(300.0)[0]

    def latency(cap_w):
        return 1 / max(1e-3, 1 / board.truth(cap_w)[0] - rate)

    limit_s = 3 * latency(300.0)
    trace = _bench(board, max_latency_s=limit_s).run(HOUR_S, latency=latency)
    assert latency(trace.held_w) <= limit_s
    assert trace.held_w < 300
    assert max(latency(choice.cap_w) for _, choice in trace.choices) <= 1.5 * limit_s


def test_a_violation_sends_it_back_at_once_and_is_remembered():
    bench = _bench(Board(), max_latency_s=1.0)
    bench.run(HOUR_S, latency=lambda _: 0.5)
    before = bench.trace.last
    now_s = bench.trace.now_s
    bench.learner.observe(Observed(cap_w=before.cap_w, units=5, energy_j=900, seconds=1, at_s=now_s + 1, latency_s=1.4))
    after = bench.learner.propose(now_s + 1, Context())
    assert after.cap_w > before.cap_w
    assert not after.exploring or after.cap_w > before.cap_w
    later = bench.run(600, latency=lambda _: 0.5)
    since = [choice.cap_w for at_s, choice in later.choices if at_s > now_s + 1]
    assert min(since) > before.cap_w


def test_a_deadline_that_comes_near_makes_it_hurry():
    board = Board()
    bench = _bench(board)
    relaxed = bench.run(HOUR_S).held_w
    units_s = 1 / board.truth(300.0)[0]
    end_s = bench.trace.now_s + 1000

    def near():
        left = max(1.0, 950 * units_s - (bench.trace.units - done))
        return Context(remaining_units=left, deadline_s=end_s)

    done = bench.trace.units
    hurried = bench.run(900, near, window_s=3.0).held_w
    assert hurried > relaxed
    assert "deadline" in bench.trace.last.why
    assert bench.trace.units - done >= 0.95 * 950 * units_s * 900 / 1000


def test_what_cannot_be_kept_leaves_the_ceiling_and_says_why():
    board = Board()
    bench = _bench(board, least_units_per_s=2 / board.truth(300.0)[0])
    trace = bench.run(300)
    assert trace.held_w == 300
    assert "nothing measured keeps least_units_per_s" in trace.last.why


def test_a_cap_under_which_work_stands_still_is_left_and_not_tried_again():
    class Stuck(Board):
        def truth(self, cap_w):
            return (1e4, 1e6) if cap_w < 225 else super().truth(cap_w)

    learner = CapLearner(Settings(caps_w=FINE_W))
    bench = Bench(learner, Stuck())
    # Below 225 W nothing is finished within any window: the loop stands for the shell, which asks every second.
    while not (bench.trace.choices and bench.trace.last.cap_w < 225):
        bench.run(1)
        if bench.learner.propose(bench.trace.now_s, Context()).cap_w < 225:
            break
    now_s = bench.trace.now_s
    stuck_w = learner.propose(now_s, Context()).cap_w
    assert stuck_w < 225
    for second in range(1, 200):
        learner.observe(Observed(cap_w=stuck_w, units=0, energy_j=100, seconds=1, at_s=now_s + second))
        choice = learner.propose(now_s + second, Context())
        if choice.cap_w != stuck_w:
            break
    assert second <= 70
    assert choice.cap_w > stuck_w
    assert any("no unit of work was finished" in each["why"] for each in learner.state()["refused"])


def test_time_in_which_nothing_runs_does_not_count_against_the_cap_that_is_tried():
    learner = CapLearner(Settings(caps_w=FINE_W))
    bench = Bench(learner, Board())
    while not (bench.trace.choices and bench.trace.last.exploring and bench.trace.last.cap_w < FINE_W[-1]):
        bench.run(1)
    now_s, tried_w = bench.trace.now_s, bench.trace.last.cap_w
    for later_s in (1.0, 3_600.0, 3_601.0):  # the job was stopped, and goes on an hour later
        assert learner.propose(now_s + later_s, Context()).cap_w == tried_w
    assert learner.state()["refused"] == []


def test_bounds_that_are_none_are_refused():
    with pytest.raises(Failure, match=r"max_slowdown is 0.9; expected 1"):
        Slo(max_slowdown=0.9)
    with pytest.raises(Failure, match="max_latency_s is 0"):
        Slo(max_latency_s=0)
