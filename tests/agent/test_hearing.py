"""That nobody answers is noticed although the broker accepts everything, and said once."""

from __future__ import annotations

from evenwatt_agent.hearing import Heard, Hearing


def looks(hearing, *steps):
    return [hearing.look(now_s, waiting=waiting, online=online) for now_s, waiting, online in steps]


def test_records_that_nobody_confirms_are_noticed_once_and_so_is_the_answer():
    hearing = Hearing(100.0)
    hearing.collector(ready=True)
    assert looks(hearing, (0, 1, True), (99, 2, True), (100, 2, True), (200, 3, True)) == [False, False, True, False]
    assert hearing.state is Heard.UNANSWERED
    hearing.answered()
    assert looks(hearing, (210, 3, True), (300, 3, True)) == [True, False]


def test_nothing_is_expected_without_a_collector_or_a_broker_or_a_record():
    for collector, waiting, online in ((False, 5, True), (True, 0, True), (True, 5, False)):
        hearing = Hearing(100.0)
        hearing.collector(ready=collector)
        assert looks(hearing, *((now_s, waiting, online) for now_s in range(0, 1000, 10))) == [False] * 100


def test_patience_begins_anew_when_the_collector_or_the_broker_was_away():
    hearing = Hearing(100.0)
    hearing.collector(ready=True)
    assert looks(hearing, (0, 1, True), (90, 1, False), (95, 1, True), (190, 1, True)) == [False] * 4
    hearing.collector(ready=False)
    assert looks(hearing, (194, 1, True)) == [False]
    hearing.collector(ready=True)
    assert looks(hearing, (195, 1, True), (294, 1, True), (295, 1, True)) == [False, False, True]
    assert looks(hearing, (300, 1, False)) == [True]
    assert hearing.state is Heard.FINE


def test_a_slow_collector_that_answers_is_fine():
    hearing = Hearing(100.0)
    hearing.collector(ready=True)
    for now_s in range(0, 2_000, 50):
        assert not hearing.look(now_s, waiting=1_000 - now_s // 50, online=True)
        hearing.answered()
