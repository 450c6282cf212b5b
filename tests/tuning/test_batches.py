import json

import pytest

from evenwatt_collector.tuning import Context, Settings
from evenwatt_collector.tuning.batches import BatchTuner
from evenwatt_daemon import Failure
from tests.tuning.machine import CAPS_W, Bench, Board

SIZES = (8, 16, 32, 64, 128, 256)
SETTINGS = Settings(caps_w=CAPS_W)


def _board(batch, best=64):
    """A unit costs least at ``best``, about a quarter more with every halving or doubling."""
    return Board(unit_s=0.2 * 1.25 ** abs(SIZES.index(batch) - SIZES.index(best)))


def _runs(tuner, best=64, count=12):
    tried, now_s = [], 0.0
    for run in range(count):
        choice = tuner.propose(now_s, Context())
        tried.append(choice.batch)
        bench = Bench(tuner.learner(choice.batch), _board(choice.batch, best), seed=run)
        bench.trace.now_s = now_s
        now_s = bench.run(900).now_s
    return tried, tuner.propose(now_s, Context())


@pytest.mark.parametrize("best", SIZES)
def test_the_best_size_is_found_without_trying_all(best):
    tried, last = _runs(BatchTuner(SIZES, 32, SETTINGS), best)
    assert last.batch == best
    assert not last.exploring
    assert tried[0] == 32
    beyond = [size for size in SIZES if abs(SIZES.index(size) - SIZES.index(best)) > 1]
    sides = {size for size in tried if size in beyond and not min(32, best) <= size <= max(32, best)}
    assert len(sides) <= 1, "one step in the wrong direction, no more"


def test_a_size_that_fails_is_left_with_all_beyond_it():
    tuner = BatchTuner(SIZES, 64, SETTINGS)
    tuner.fail(128)
    tried, last = _runs(tuner, best=256)
    assert not {128, 256} & set(tried)
    assert last.batch == 64


def test_a_run_that_costs_twice_as_much_is_not_worth_ending():
    tuner = BatchTuner((8, 256), 256, SETTINGS)
    now_s = Bench(tuner.learner(256), Board(unit_s=0.2)).run(600).now_s
    assert tuner.worth_ending(8, now_s, Context())
    bench = Bench(tuner.learner(8), Board(unit_s=0.5))
    bench.trace.now_s = now_s
    now_s = bench.run(60).now_s
    assert not tuner.worth_ending(8, now_s, Context())
    assert tuner.worth_ending(256, now_s, Context())


def test_it_survives_a_restart():
    tuner = BatchTuner(SIZES, 32, SETTINGS)
    _, last = _runs(tuner)
    again = BatchTuner(SIZES, 32, SETTINGS, json.loads(json.dumps(tuner.state())))
    assert again.propose(1e5, Context()).batch == last.batch


def test_a_usual_size_that_is_not_offered_is_refused():
    with pytest.raises(Failure, match=r"usual batch size is 33, offered are \[8, 16"):
        BatchTuner(SIZES, 33, SETTINGS)
