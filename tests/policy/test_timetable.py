"""What holds when: windows over clock changes, events met at their start, and never more than the lowest bound."""

from datetime import UTC, datetime
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.policy import PolicyRules, class_of, limits_at, next_change_s
from tests.policy.texts import SITE, limit_override, policy

NOON = datetime(2026, 1, 14, 12, tzinfo=UTC).timestamp()  # a Wednesday
START = datetime(2026, 1, 14, 16, tzinfo=UTC).timestamp()
END = datetime(2026, 1, 14, 18, tzinfo=UTC).timestamp()


def budget_w(taken, wall_s, zone="site", **more):
    return limits_at(taken, wall_s, **more)[zone].budget_w


def at(text):
    return datetime.fromisoformat(text).timestamp()


def window(days="", hours='from = "22:00"\nto = "06:00"', zone="Europe/Berlin"):
    site = '[[zones]]\nname = "site"\nbudget_w = 9\n'
    return policy(f'{site}[[zones.schedule]]\n{hours}\n{days}\nbudget_w = 1\ntimezone = "{zone}"')


@pytest.mark.parametrize(
    ("moment", "watts"),
    [
        ("2026-01-14T07:29:59+01:00", 5000),
        ("2026-01-14T07:30:00+01:00", 4000),
        ("2026-01-14T18:59:59+01:00", 3000),  # the event
        ("2026-01-14T19:00:00+01:00", 5000),
        ("2026-01-17T12:00:00+01:00", 5000),  # Saturday
        ("2026-07-15T07:30:00+02:00", 4000),  # summer time
    ],
)
def test_the_tariff(moment, watts):
    assert budget_w(policy(), at(moment)) == watts


def test_a_window_over_midnight_belongs_to_the_day_it_begins():
    taken = window('days = ["fri"]')
    assert budget_w(taken, at("2026-01-16T22:00:00+01:00")) == 1
    assert budget_w(taken, at("2026-01-17T05:59:59+01:00")) == 1
    assert budget_w(taken, at("2026-01-17T06:00:00+01:00")) == 9
    assert budget_w(taken, at("2026-01-17T22:30:00+01:00")) == 9
    assert budget_w(taken, at("2026-01-16T05:00:00+01:00")) == 9


def test_a_whole_day():
    taken = window('days = ["sat"]', 'from = "00:00"\nto = "24:00"')
    assert budget_w(taken, at("2026-01-17T00:00:00+01:00")) == 1
    assert budget_w(taken, at("2026-01-17T23:59:59+01:00")) == 1
    assert budget_w(taken, at("2026-01-18T00:00:00+01:00")) == 9


def test_clocks_that_change():
    # 2026-03-29 02:00 -> 03:00 and 2026-10-25 03:00 -> 02:00 in Berlin.
    night = window()
    assert budget_w(night, at("2026-03-29T05:59:59+02:00")) == 1
    assert budget_w(night, at("2026-03-29T06:00:00+02:00")) == 9
    doubled = window(hours='from = "02:15"\nto = "02:45"')
    assert budget_w(doubled, at("2026-10-25T02:20:00+02:00")) == 1
    assert budget_w(doubled, at("2026-10-25T02:20:00+01:00")) == 1
    assert budget_w(doubled, at("2026-10-25T02:45:00+01:00")) == 9
    assert budget_w(doubled, at("2026-03-29T03:20:00+02:00")) == 9  # that quarter of an hour does not exist


def test_an_event_is_met_at_its_start():
    taken = policy()
    assert budget_w(taken, START - 100) == 4000
    assert budget_w(taken, START - 62.5) == pytest.approx(3500)
    for seconds in (25, 10, 0.1, 0):
        assert budget_w(taken, START - seconds) == 3000  # a quarter of lead_s ahead, for nodes that have to fall back
    assert limits_at(taken, START)["site"].why == "event 'grid request' until 2026-01-14T18:00:00Z"
    assert budget_w(taken, END - 0.1) == 3000
    assert budget_w(taken, END) == 5000  # the tariff ends at the same time


@given(st.floats(0, 200), st.floats(0, 200))
def test_the_way_down_never_rises(a, b):
    taken = policy()
    earlier, later = START - max(a, b), START - min(a, b)
    assert budget_w(taken, later) <= budget_w(taken, earlier)


def test_down_from_no_limit_at_all():
    taken = policy("""\
        [[zones]]
        name = "site"
        [[zones.events]]
        name = "e"
        start = 2026-01-14T16:00:00Z
        end = 2026-01-14T18:00:00Z
        budget_w = 300
        """)
    assert budget_w(taken, START - 60) == inf
    assert budget_w(taken, START - 37.5) == pytest.approx(600)
    assert budget_w(taken, START - 15) == 300
    assert budget_w(taken, END) == inf


class TestOverrides:
    def one(self, watts, length_s=600.0):
        return limit_override("site", watts, NOON, NOON + length_s)

    def test_it_tightens_and_ends(self):
        overrides = [self.one(2000)]
        limit = limits_at(policy(), NOON, overrides)["site"]
        assert limit.budget_w == 2000
        assert limit.why == "an override set by ada until 2026-01-14T12:10:00Z (chiller)"
        assert budget_w(policy(), NOON + 600, overrides=overrides) == 4000

    def test_it_never_loosens(self):
        assert budget_w(policy(), NOON, overrides=[self.one(9000)]) == 4000

    def test_it_ends_after_a_day_whatever_the_file_says(self):
        assert budget_w(policy(), NOON + 86_399, overrides=[self.one(20, 1e9)]) == 20
        assert budget_w(policy(), NOON + 86_400, overrides=[self.one(20, 1e9)]) == 4000


def test_carbon_is_one_bound_among_others():
    taken = policy(SITE.replace('name = "site"', 'name = "site"\ncarbon = { grams_per_day = 9000 }'))
    assert limits_at(taken, NOON, carbon_w={"site": 3500})["site"].why == "its carbon budget of 9000 g a day"
    assert budget_w(taken, NOON, carbon_w={"site": 4500}) == 4000
    assert budget_w(policy(), NOON, carbon_w={"site": 3500}) == 4000  # no carbon budget in this one


@given(st.integers(0, 14 * 24 * 3600), st.floats(0, 1))
def test_nothing_changes_before_the_next_change(ahead_s, part):
    taken = policy()
    overrides = [limit_override("rack-a", 10, NOON, NOON + 5000)]
    wall_s = NOON - 7 * 86_400 + ahead_s
    now = limits_at(taken, wall_s, overrides)
    change_s = next_change_s(taken, wall_s, overrides)
    assert change_s > wall_s
    if not any(bound.moving for limit in now.values() for bound in limit.bounds):
        assert limits_at(taken, wall_s + part * (change_s - wall_s) * 0.999999, overrides) == now


@given(st.lists(st.floats(0, 14 * 86_400), min_size=1, max_size=8))
def test_the_rules_that_control_asks_are_the_same_at_any_time_in_any_order(aheads_s):
    taken = policy()
    rules = PolicyRules(taken)
    for ahead_s in aheads_s:
        wall_s = NOON - 7 * 86_400 + ahead_s
        limits = rules.limits(wall_s)
        assert {name: limit.budget_w for name, limit in limits.items()} == {
            name: limit.budget_w for name, limit in limits_at(taken, wall_s).items()
        }


def test_a_carbon_limit_takes_effect_at_once():
    rules = PolicyRules(policy(SITE.replace('name = "site"', 'name = "site"\ncarbon = { grams_per_day = 9000 }')))
    assert rules.limits(NOON)["site"].budget_w == 4000
    rules.set_carbon("site", 3500)
    assert rules.limits(NOON)["site"].budget_w == 3500
    rules.set_carbon("site", None)
    assert rules.limits(NOON)["site"].budget_w == 4000


def test_a_margin_beyond_controls_own_is_taken_off():
    rules = PolicyRules(policy(SITE.replace("budget_w = 5000", "budget_w = 5000\nmargin = 0.1")))
    limit = rules.limits(END)["site"]
    assert limit.budget_w * 0.98 == pytest.approx(4500)
    assert limit.why == "its budget_w, 5000 W less a margin of 10 %"
    assert PolicyRules(policy()).limits(END)["site"].budget_w == 5000


class TestClasses:
    def test_the_first_that_matches(self):
        taken = policy()
        assert class_of(taken, "rack-a", "web-1").name == "service"
        assert class_of(taken, "site", "gpu-1").name == "batch"

    def test_only_in_a_zone_and_in_zones_inside_it(self):
        taken = policy(SITE.replace('nodes = ["web-*"]', 'nodes = ["web-*"]\nzone = "rack-a"'))
        assert class_of(taken, "site", "web-1").name == "batch"
        assert class_of(taken, "rack-a", "web-1").name == "service"
        outer = policy(SITE.replace('nodes = ["web-*"]', 'nodes = ["web-*"]\nzone = "site"'))
        assert class_of(outer, "rack-a", "web-1").name == "service"

    def test_none(self):
        taken = policy(SITE.replace('nodes = ["*"]', 'nodes = ["gpu-[12]", "tpu-?"]'))
        assert class_of(taken, "site", "gpu-3") is None
        assert class_of(taken, "site", "tpu-9").name == "batch"

    def test_as_control_takes_it(self):
        rules = PolicyRules(policy(SITE.replace("priority = 8", 'priority = 8\non_lost = "hold"')))
        web, gpu = rules.node("rack-a", "web-1"), rules.node("rack-a", "gpu-1")
        assert (web.kind, web.priority, web.floor_w, web.targets, web.on_lost.name) == ("service", 8, 300, (), "HOLD")
        assert (gpu.kind, gpu.priority, gpu.floor_w, gpu.targets) == ("batch", 2, None, ("training",))
        anything = PolicyRules(policy(SITE.replace('targets = ["training"]', ""))).node("site", "gpu-1")
        assert anything.targets == ("*",)


def test_dry_run_of_the_file_and_of_a_zone():
    taken = policy("dry_run = true\n" + '[[zones]]\nname="a"\nbudget_w=9\n[[zones]]\nname="b"\ndry_run=false\n')
    assert {name: limit.dry_run for name, limit in limits_at(taken, NOON).items()} == {"a": True, "b": False}
