"""What the chain decides, under virtual time: no socket, no loop."""

from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.carbon.providers.chain import FARTHEST_S, Chain, spoken
from evenwatt_collector.carbon.providers.contract import ProviderError, Trouble
from evenwatt_collector.carbon.series import Kind

HOUR, DAY = 3600, 86_400
T0 = 1_800_000_000 - 1_800_000_000 % HOUR


def provider(source, kind=Kind.AVERAGE, **more):
    given = {"period_s": 900, "ahead_period_s": HOUR, "chunk_s": 10 * DAY, "lag_s": 0, "clock_off_s": None}
    return SimpleNamespace(source=source, kind=kind, **(given | more))


@dataclass
class World:
    """Sources that answer at once with figures up to now, unless they are down."""

    chain: Chain
    down: dict
    asks: list

    def until(self, end_s, now_s):
        while now_s < end_s:
            for ask in self.chain.due(now_s):
                source = self.chain.providers[ask.index].source
                self.asks.append((now_s, source, ask))
                if source in self.down:
                    self.chain.failed(ask, self.down[source], now_s)
                else:
                    self.chain.took(ask, 10, 0, ask.end_s, now_s)
            step_s = self.chain.next_due_s(now_s) - now_s
            assert step_s >= 1
            now_s = int(now_s + max(1, step_s))
        return now_s

    def count(self, source, what="past", since_s=0):
        return sum(1 for at, who, ask in self.asks if who == source and ask.what == what and at >= since_s)


@pytest.fixture
def world():
    def make(*providers, known=None):
        return World(Chain("DE", providers, T0, known, "the annual average of 2024"), {}, [])

    return make


def refused():
    return ProviderError(Trouble.REFUSED, "key refused; write a new one into token_file")


def test_the_second_is_not_asked_while_the_first_answers(world):
    it = world(provider("first"), provider("second"))
    it.until(T0 + DAY, T0)
    assert it.count("second") == it.count("second", "ahead") == 0
    assert 96 <= it.count("first") <= 130, "a quarter of an hour, once more each hour at the most"
    assert 24 <= it.count("first", "ahead") <= 26


def test_a_marginal_source_is_always_asked(world):
    it = world(provider("first"), provider("moer", Kind.MARGINAL, period_s=300))
    it.until(T0 + HOUR, T0)
    assert it.count("moer") >= 12
    assert it.chain.speaking(T0 + HOUR, Kind.MARGINAL).source == "moer"
    assert it.chain.speaking(T0 + HOUR).source == "first"


def test_at_start_the_second_is_asked_as_soon_as_the_first_has_failed(world):
    it = world(provider("first"), provider("second"))
    it.down["first"] = refused()
    it.until(T0 + 120, T0)
    assert it.count("second") == 1
    assert it.chain.speaking(T0 + 120).source == "second"
    assert it.chain.alarm(T0 + 120) is None


def test_a_first_that_dies_is_replaced_within_the_hour_and_speaks_again_when_it_is_back(world):
    it = world(provider("first"), provider("second"))
    now = it.until(T0 + 6 * HOUR, T0)
    it.down["first"] = ProviderError(Trouble.UNREACHABLE, "down", retry_s=600)
    now = it.until(now + HOUR - 900, now)
    assert it.count("second") == 0
    now = it.until(now + HOUR, now)
    assert it.chain.speaking(now).source == "second"
    asked_far_back = max(ask.end_s - ask.start_s for _, who, ask in it.asks if who == "second" and ask.what == "past")
    assert asked_far_back <= 6 * HOUR, "only what the first did not say"
    del it.down["first"]
    now = it.until(now + HOUR, now)
    assert it.chain.speaking(now).source == "first"
    before = it.count("second")
    it.until(now + 3 * HOUR, now)
    assert it.count("second") == before


def test_when_all_are_silent_the_forecast_speaks_and_then_the_annual_average(world):
    it = world(provider("first"))
    now = it.until(T0 + HOUR, T0)
    it.down["first"] = refused()
    now = it.until(now + 3 * HOUR, now)
    assert (it.chain.speaking(now).how, it.chain.alarm(now)) == ("forecast", None)
    now = it.until(now + 5 * DAY, now)
    assert it.chain.speaking(now).how == "fallback"


def test_the_alarm_says_how_long_why_and_what_counts_now(world):
    it = world(provider("electricity-maps"))
    it.down["electricity-maps"] = refused()
    assert it.chain.alarm(T0) is None, "nobody has been asked yet"
    it.until(T0 + 2 * HOUR + 600, T0)
    assert it.chain.alarm(T0 + 2 * HOUR + 600) == (
        "grid DE: no source has spoken for 2 h 10 min "
        "(electricity-maps: key refused; write a new one into token_file); "
        "counting with the annual average of 2024, tagged fallback"
    )


def test_a_grid_without_sources_is_meant_so(world):
    it = world()
    assert it.chain.alarm(T0 + DAY) is None
    assert it.chain.speaking(T0).how == "fallback"
    assert it.chain.due(T0) == []


def test_a_source_whose_figures_have_ended_is_stale_though_it_answers(world):
    it = world(provider("old-file"), provider("second"))
    for ask in it.chain.due(T0):
        it.chain.took(ask, 5, 0, T0 - 100 * DAY if ask.what == "past" else None, T0)
    assert {ask.index for ask in it.chain.due(T0)} == {1}


def test_faulty_figures_only_are_no_answer(world):
    it = world(provider("liar"), provider("second"))
    for ask in it.chain.due(T0):
        it.chain.took(ask, 0, 12, None, T0)
    assert "all 12 of its figures were faulty" in it.chain.health[0].trouble
    assert it.chain.health[0].dropped == 24
    assert {ask.index for ask in it.chain.due(T0)} == {1}


@pytest.mark.parametrize(
    ("known", "first"), [(None, 48 * HOUR), (T0 - 5 * DAY, 5 * DAY), (T0 - 300 * DAY, FARTHEST_S), (T0 + DAY, 3 * HOUR)]
)
def test_a_start_reaches_back_to_what_is_known_and_no_further_than_30_days(world, known, first):
    it = world(provider("first", chunk_s=2 * DAY), known=known)
    it.until(T0 + 60, T0)
    windows = [(ask.start_s, ask.end_s) for _, _, ask in it.asks if ask.what == "past"]
    assert windows[0][0] == T0 - first
    assert all(end - start <= 2 * DAY for start, end in windows), "in bounded pieces"
    for (_, end), (start, _) in pairwise(windows):
        assert start <= end, "without a hole"
    assert windows[-1][1] >= T0


def test_once_an_hour_two_days_are_asked_for_corrections(world):
    for chunk_s in (10 * DAY, DAY):
        it = world(provider("first", chunk_s=chunk_s))
        it.until(T0 + 5 * HOUR, T0)
        starts = [at - ask.start_s for at, _, ask in it.asks if ask.what == "past"]
        far = [back for back in starts if back >= 47 * HOUR]
        assert 5 <= len(far) <= 6
        assert len(starts) < 40, "and then it goes on as before"


def test_a_backfill_goes_on_where_it_failed(world):
    it = world(provider("first", chunk_s=DAY), known=T0 - 6 * DAY)
    now = it.until(T0 + 2, T0)
    it.down["first"] = ProviderError(Trouble.LIMITED, "slow down", retry_s=600)
    now = it.until(now + 120, now)
    del it.down["first"]
    it.until(now + 1200, now)
    days = {start for _, _, ask in it.asks if ask.what == "past" for start in range(ask.start_s, ask.end_s, HOUR)}
    assert set(range(T0 - 6 * DAY, T0, HOUR)) <= days


def test_a_forecast_that_the_plan_lacks_is_asked_for_rarely_and_costs_the_source_nothing(world):
    it = world(provider("first"))
    for ask in it.chain.due(T0):
        if ask.what == "ahead":
            it.chain.failed(ask, refused(), T0)
        else:
            it.chain.took(ask, 1, 0, T0, T0)
    assert it.chain.health[0].trouble == ""
    assert "key refused" in it.chain.health[0].forecast_trouble
    assert not [ask for ask in it.chain.due(T0 + 5 * HOUR) if ask.what == "ahead"]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "m"]), st.integers(60, 20_000), st.booleans()), max_size=12),
    st.sampled_from([300, DAY, 10 * DAY]),
)
def test_however_sources_come_and_go_questions_stay_few_and_bounded(outages, chunk_s):
    chunk_s = max(chunk_s, DAY)
    chain = Chain("X", [provider("a"), provider("b", chunk_s=chunk_s), provider("m", Kind.MARGINAL)], T0)
    it, now = World(chain, {}, []), T0
    for source, length_s, down in outages:
        it.down.pop(source, None)
        if down:
            it.down[source] = ProviderError(Trouble.UNREACHABLE, "down", retry_s=60)
        now = it.until(now + length_s, now)
        speaking = chain.speaking(now)
        assert speaking.source in {"a", "b", "the annual average"}
        assert chain.speaking(now, Kind.MARGINAL).source in {"m", ""}
    assert len(it.asks) <= 60 + 3 * 2 * (now - T0) / 60
    for at, _, ask in it.asks:
        assert ask.start_s < ask.end_s
        assert ask.what == "ahead" or (ask.end_s <= at and at - ask.start_s <= FARTHEST_S + HOUR)


def test_lengths_of_time_are_written_for_people():
    assert [spoken(s) for s in (0, 300, 3600, 7800, 47 * HOUR, 49 * HOUR)] == [
        "0 min", "5 min", "1 h 0 min", "2 h 10 min", "47 h 0 min", "2 days",
    ]  # fmt: skip


def test_a_source_that_is_looked_at_often_is_asked_up_to_now_and_no_more_often(world):
    quick = world(provider("file", period_s=5, ahead_period_s=15))
    quick.until(T0 + 301, T0)
    assert quick.count("file") == pytest.approx(301 / 5, abs=3)
    assert quick.count("file", "ahead") == pytest.approx(301 / 15, abs=3)
    late_s = [at - ask.end_s for at, _, ask in quick.asks if ask.what == "past"]
    assert max(late_s) < 5
