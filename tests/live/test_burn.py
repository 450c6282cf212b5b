"""Budgets in grams in virtual time: no alert at the plan, one when it burns, none twice, and never a silent 0 g."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.carbon.budgets import BudgetSettings, Rates, Spent, check_budgets, period
from evenwatt_collector.carbon.burn import BurnAlerts
from evenwatt_daemon import Failure

BERLIN = ZoneInfo("Europe/Berlin")
DAILY = BudgetSettings(name="hall-day", scope="zone:hall-1", grams_per_day=24_000, timezone="Europe/Berlin")
MONTHLY = BudgetSettings(name="fleet-month", grams_per_month=720_000, timezone="UTC")


def at(text, zone=BERLIN):
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


class World:
    """Emits at a rate and counts, as the ledger would; what it is told of may be corrected or go missing."""

    def __init__(self, budget, start_s, step_s=30.0):
        self.budget, self.now_s, self.step_s = budget, start_s, step_s
        self.alerts = BurnAlerts([budget])
        self.used_g = 0.0
        self.coverage = 1.0
        self.unknown = False
        self.said = []
        self._period = period(budget, start_s)

    def run(self, hours, burn):
        """Emit for some hours at a multiple of the even pace; return what was said meanwhile."""
        heard = []
        rate = burn * self.budget.budget_g / self._period.length_s * 3600
        until_s = self.now_s + hours * 3600
        while self.now_s < until_s:
            self.now_s += self.step_s
            now = period(self.budget, self.now_s)
            if now != self._period:
                self._period, self.used_g = now, rate * (self.now_s - now.start_s) / 3600
            else:
                self.used_g += rate * self.step_s / 3600
            heard += self.alerts.step(self.now_s, {self.budget.name: self._spent(rate)})
        self.said += heard
        return [(alert.kind, alert.state.value) for alert in heard]

    def _spent(self, rate):
        if self.unknown:
            return None
        figures = {"day_g": self.used_g, "month_g": self.used_g}
        return Spent(scope=self.budget.scope, rate_g_per_h=rate, coverage=self.coverage, **figures)

    def of(self, kind):
        return [alert for alert in self.said if alert.kind == kind]


def test_a_budget_used_exactly_to_plan_says_only_its_levels():
    world = World(DAILY, at("2026-06-01 00:00"))
    world.run(23.9, burn=0.999)
    assert [(a.kind, a.state.value, a.figures["level_percent"], a.severity.value) for a in world.said] == [
        ("spent", "open", 50, "info"),
        ("spent", "updated", 80, "info"),
    ]


def test_an_ordinary_day_of_sun_and_evening_is_silent():
    world = World(DAILY, at("2026-06-01 00:00"), step_s=60)
    for burn in [1.1] * 7 + [0.7] * 4 + [0.5] * 6 + [1.45] * 5 + [1.1] * 1:
        world.run(1, burn)
    assert {a.kind for a in world.said} == {"spent"}
    assert all(a.severity.value != "page" for a in world.said)


def test_a_runaway_pages_once_and_says_when_and_what_would_help():
    world = World(DAILY, at("2026-06-01 00:00"))
    world.run(6, burn=0.9)
    assert not world.of("burn")
    world.run(3, burn=4.5)
    burn = world.of("burn")
    assert [(a.state.value, a.severity.value) for a in burn] in (
        [("open", "page")],
        [("open", "ticket"), ("updated", "page")],
    )
    assert len({a.id for a in burn}) == 1
    assert [a.step for a in burn] == list(range(len(burn)))
    words = burn[-1].words
    assert "zone:hall-1 emits 4.5 kg/h" in words
    assert "At this rate it is used up at " in words
    assert "To last until 2026-06-02 00:00 it may emit" in burn[-1].advice
    world.run(6, burn=0.1)
    assert [a.state.value for a in world.of("burn")].count("resolved") == 1
    assert not any(a.kind == "burn" for a in world.alerts.open)


def test_burning_fast_is_harmless_when_the_budget_lasts_anyway():
    world = World(DAILY, at("2026-06-01 00:00"))
    world.run(20, burn=0.3)
    world.run(2, burn=4.2)
    assert not world.of("burn")


@pytest.mark.parametrize("minutes", [2, 5, 9, 20])
def test_a_load_that_comes_and_goes_does_not_make_the_alert_flap(minutes):
    world = World(DAILY, at("2026-06-01 00:00"))
    for _ in range(int(4 * 60 / (2 * minutes))):
        world.run(minutes / 60, burn=8.5)
        world.run(minutes / 60, burn=0.2)
    assert len([a for a in world.of("burn") if a.state.value == "open"]) <= 1


def test_projection_names_the_hour_and_ends_when_the_rate_falls():
    world = World(DAILY, at("2026-06-01 00:00"))
    world.run(10, burn=1.0)
    world.run(2, burn=1.75)
    (opened,) = world.of("projection")
    assert opened.severity.value == "ticket"
    assert opened.figures["projected_g"] > 24_000 * 1.02
    used_up = datetime.fromtimestamp(opened.figures["used_up_s"], BERLIN)
    assert f"used up at {used_up:%H:%M}" in opened.words
    world.run(3, burn=0.5)
    assert [a.state.value for a in world.of("projection")] == ["open", "resolved"]


def test_used_up_early_pages_and_late_does_not():
    early, late = World(DAILY, at("2026-06-01 00:00")), World(DAILY, at("2026-06-01 00:00"))
    early.run(15, burn=1.7)
    assert [a.severity.value for a in early.of("spent")] == ["info", "ticket", "page"]
    assert early.of("spent")[-1].words.endswith("over.")
    late.run(23.8, burn=1.02)
    assert [a.severity.value for a in late.of("spent")] == ["info", "info", "ticket"]


def test_a_new_day_resolves_what_was_said_of_the_old_one():
    world = World(DAILY, at("2026-06-01 00:00"))
    world.run(25, burn=0.9)
    last = world.of("spent")[-1]
    assert last.state.value == "resolved"
    assert "its day ended with 21." in last.words
    assert not world.alerts.open


def test_a_correction_upwards_is_said_to_be_one_and_is_no_burning():
    world = World(DAILY, at("2026-06-01 00:00"))
    world.run(6, burn=0.9)
    world.used_g += 8_000  # the provider corrects the night
    world.run(0.5, burn=0.9)
    assert [a.kind for a in world.said] == ["spent"]
    assert "Figures revised by +8 kg" in world.said[0].words
    assert world.said[0].figures["revised_g"] == pytest.approx(8_000)


def test_a_correction_downwards_takes_the_level_back_with_a_word():
    world = World(DAILY, at("2026-06-01 00:00"))
    world.run(20, burn=1.0)
    world.used_g -= 6_000
    world.run(0.1, burn=1.0)
    assert [a.figures["level_percent"] for a in world.of("spent")] == [50, 80, 50]
    assert "Figures revised by -6 kg" in world.said[-1].words
    world.used_g -= 6_000
    world.run(0.1, burn=1.0)
    assert world.said[-1].state.value == "resolved"
    assert not world.of("burn")


def test_late_energy_after_an_outage_is_no_burning():
    world = World(DAILY, at("2026-06-01 00:00"))
    world.run(4, burn=0.8)
    kept = world.used_g
    world.coverage = 0.4
    world.run(2, burn=0.1)
    world.used_g, world.coverage = kept + 1_600, 1.0  # the spool arrives
    world.run(4, burn=0.8)
    assert not world.of("burn")
    assert [a.state.value for a in world.of("blind")] == ["open", "resolved"]


def test_missing_figures_are_blind_and_never_zero_grams():
    world = World(DAILY, at("2026-06-01 00:00"))
    world.run(13, burn=1.0)
    world.unknown = True
    assert world.run(1, burn=1.0) == [("blind", "open")]
    blind = world.of("blind")[0]
    assert "not 0 g" in blind.words
    assert blind.figures["used_g"] is None
    assert [a.kind for a in world.alerts.open] == ["spent", "blind"], "what is open stays open while nothing is known"
    world.unknown = False
    assert ("blind", "resolved") in world.run(1, burn=1.0)


def test_a_moment_without_figures_says_nothing():
    world = World(DAILY, at("2026-06-01 00:00"))
    world.run(1, burn=0.5)
    world.unknown = True
    world.run(2 / 60, burn=0.5)
    world.unknown = False
    world.run(1, burn=0.5)
    assert world.said == []


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -5.0])
def test_figures_that_cannot_be_are_not_known(broken):
    alerts = BurnAlerts([DAILY])
    start_s = at("2026-06-01 12:00")
    spent = Spent(scope="zone:hall-1", day_g=broken, month_g=broken, rate_g_per_h=broken)
    said = [alert for i in range(30) for alert in alerts.step(start_s + 30 * i, {"hall-day": spent})]
    assert [a.kind for a in said] == ["blind"]
    json.dumps([a.document() for a in said], allow_nan=False)


def test_figures_of_little_coverage_are_a_lower_bound():
    world = World(DAILY, at("2026-06-01 00:00"))
    world.coverage = 0.5
    world.run(14, burn=1.0)
    assert ("spent", "open") in [(a.kind, a.state.value) for a in world.said]
    world.used_g = 0.0
    world.run(1, burn=0.1)
    assert [a.kind for a in world.alerts.open] == ["blind", "spent"]


def test_a_month_pages_for_what_would_use_it_up_in_days():
    world = World(MONTHLY, at("2026-06-01 00:00", ZoneInfo("UTC")), step_s=120)
    world.run(5 * 24, burn=1.0)
    assert world.said == []
    world.run(7, burn=6.5)
    assert [a.severity.value for a in world.of("burn")][-1] == "page"


def test_a_month_a_third_above_its_plan_is_a_ticket():
    world = World(MONTHLY, at("2026-06-01 00:00", ZoneInfo("UTC")), step_s=300)
    world.run(5 * 24, burn=1.33)
    assert [(a.kind, a.severity.value) for a in world.said] == [("projection", "ticket"), ("burn", "ticket")]


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24), ("2028-02-29", 24)]
)
def test_days_have_their_true_length(day, hours):
    assert period(DAILY, at(f"{day} 12:00")).length_s == hours * 3600
    world = World(DAILY, at(f"{day} 00:00"))
    world.run(hours - 0.1, burn=1.0)
    assert world.of("burn") == []
    assert world.of("projection") == []
    assert world.used_g == pytest.approx(24_000 * (hours - 0.1) / hours)


@pytest.mark.parametrize(("month", "days"), [("2026-02", 28), ("2028-02", 29), ("2026-04", 30), ("2026-12", 31)])
def test_months_have_their_true_length(month, days):
    assert period(MONTHLY, at(f"{month}-17 12:00", ZoneInfo("UTC"))).length_s == days * 86_400


def test_a_restart_changes_nothing():
    one, other = World(DAILY, at("2026-06-01 00:00")), World(DAILY, at("2026-06-01 00:00"))
    heard = []
    for burn in [0.9] * 5 + [4.4] * 2 + [1.5] * 4 + [0.2] * 8:
        expected = one.run(1, burn)
        kept = json.loads(json.dumps(other.alerts.state()))
        other.alerts = BurnAlerts([DAILY])
        other.alerts.restore(kept)
        assert other.run(1, burn) == expected
        heard += expected
    assert ("burn", "open") in heard
    assert ("burn", "resolved") in heard
    assert [a.document() for a in one.said] == [a.document() for a in other.said]


def test_a_budget_that_was_taken_away_resolves_its_alerts():
    world = World(DAILY, at("2026-06-01 00:00"))
    world.run(13, burn=1.0)
    after = BurnAlerts([MONTHLY])
    after.restore(world.alerts.state())
    said = after.step(world.now_s, {})
    assert [(a.kind, a.state.value) for a in said] == [("spent", "resolved")]
    assert "no longer in the settings" in said[0].words


@pytest.mark.parametrize("broken", [[], {"hall-day": {"bins": "none"}}, "x", None, {"hall-day": {"live": {"burn": 1}}}])
def test_a_state_that_is_none_is_refused_and_harms_nothing(broken):
    alerts = BurnAlerts([DAILY])
    with pytest.raises(ValueError):
        alerts.restore(broken)
    assert alerts.step(at("2026-06-01 12:00"), {"hall-day": Spent(scope="zone:hall-1")}) == []


def test_a_clock_that_is_set_back_is_survived():
    world = World(DAILY, at("2026-06-01 12:00"))
    world.run(3, burn=0.8)
    world.now_s -= 2 * 3600
    world.run(3, burn=0.8)
    world.now_s -= 24 * 3600
    world.run(3, burn=0.8)
    assert {a.kind for a in world.said} <= {"spent"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 700), st.floats(0, 1e5)), min_size=1, max_size=60), st.integers(0, 10**9))
def test_rates_lose_no_gram(steps, start):
    rates, at_s, expected_g = Rates(60, 86_400), float(start), 0.0
    for passed_s, rate in steps:
        before_s, at_s = at_s, at_s + passed_s
        rates.add(before_s, at_s, rate)
        expected_g += rate * (at_s - before_s) / 3600
    bins = rates.state()
    assert sum(grams for _, grams, _ in bins) == pytest.approx(expected_g, rel=1e-9, abs=1e-9)
    assert sum(known_s for _, _, known_s in bins) == pytest.approx(at_s - start, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 8), min_size=4, max_size=30), st.floats(0, 24))
def test_whatever_burns_alerts_open_once_and_close_once(burns, hour):
    world = World(DAILY, at("2026-06-01 00:00") + hour * 3600, step_s=60)
    for burn in burns:
        world.run(0.75, burn)
    lives = {}
    for alert in world.said:
        lives.setdefault(alert.id, []).append(alert)
    for life in lives.values():
        assert [a.step for a in life] == list(range(len(life)))
        assert life[0].state.value == "open"
        assert all(a.state.value == "updated" for a in life[1:-1])
    still = {a.id for a in world.alerts.open}
    assert still == {alert_id for alert_id, life in lives.items() if life[-1].state.value != "resolved"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scope": "rack:1"}, "expected 'fleet', 'zone:NAME'"),
        ({"scope": "zone:"}, "expected 'fleet', 'zone:NAME'"),
        ({"timezone": "Europe/Nowhere"}, "use an IANA name"),
        ({"timezone": "../etc/passwd"}, "use an IANA name"),
        ({"grams_per_month": 5.0}, "exactly one"),
        ({"grams_per_day": None}, "exactly one"),
        ({"webhooks": ["ops"]}, "no webhook 'ops'; there is: slack"),
        ({"name": ""}, "a name of its own"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes, words):
    fields = {"name": "one", "grams_per_day": 1.0} | changes
    with pytest.raises(Failure, match=r"site.toml: key 'budgets\[0\]") as caught:
        check_budgets("site.toml", [BudgetSettings(**fields)], ["slack"])
    assert words in str(caught.value)


def test_two_budgets_of_one_name_are_named():
    with pytest.raises(Failure, match=r"budgets\[1\].name"):
        check_budgets("site.toml", [DAILY, DAILY], [])
