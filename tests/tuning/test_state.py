"""What is known survives a restart."""

import json

import msgspec
import pytest

from evenwatt_collector.tuning import CapLearner, Context, Settings
from tests.tuning.machine import CAPS_W, Bench, Board

SETTINGS = Settings(caps_w=CAPS_W)


@pytest.mark.parametrize("after_s", [0, 5, 60, 130, 3600])
def test_a_restart_goes_on_as_if_there_had_been_none(after_s):
    first = Bench(CapLearner(SETTINGS), Board())
    first.run(after_s)
    now_s, kept = first.trace.now_s, json.loads(json.dumps(first.learner.state()))
    second = CapLearner(SETTINGS, kept)
    assert second.state() == first.learner.state()
    mine, its = (each.propose(now_s, Context()) for each in (first.learner, second))
    assert (mine.cap_w, mine.exploring, mine.settled) == (its.cap_w, its.exploring, its.settled)


def test_what_was_learned_is_not_explored_again():
    first = Bench(CapLearner(SETTINGS), Board())
    first.run(3600)
    second = Bench(CapLearner(SETTINGS, first.learner.state()), Board(), seed=2)
    second.trace.now_s = first.trace.now_s
    assert second.run(60).choices[0][1].cap_w == first.trace.held_w
    assert second.trace.explored <= 0.5 * second.trace.units


def test_caps_that_are_gone_are_forgotten_and_others_kept():
    bench = Bench(CapLearner(SETTINGS), Board())
    bench.run(3600)
    caps_w = (150.0, 175.0, 180.0, 300.0)
    state = CapLearner(Settings(caps_w=caps_w), bench.learner.state()).state()
    assert [each["cap_w"] for each in state["caps"]] == list(caps_w)
    assert state["caps"][-1]["units"] > 0
    assert state["caps"][2]["units"] == 0


@pytest.mark.parametrize("wrong", [{"version": 2}, {"version": 0}, [], "x", {"caps": 3}])
def test_what_is_no_state_is_refused(wrong):
    with pytest.raises(ValueError, match=r"(?s).+"):
        CapLearner(SETTINGS, wrong)


def test_the_state_is_small():
    bench = Bench(CapLearner(SETTINGS), Board())
    bench.run(3600)
    assert len(msgspec.json.encode(bench.learner.state())) < 4_000
