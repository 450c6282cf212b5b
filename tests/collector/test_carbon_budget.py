"""A budget in grams becomes a limit in watts, day by day, also over a restart."""

from __future__ import annotations

import pytest

from evenwatt_collector.carbon import Factor
from evenwatt_collector.carbon_budget import CarbonBudgets, ZoneNow
from evenwatt_collector.policy import PolicyRules, parse_policy

MIDNIGHT_S = 1_764_028_800.0  # 2025-11-25 00:00 UTC
FACTOR = Factor(500.0, 1.0, "test", 2025)
KWH = 3.6e6


def rules(grams=1200.0):
    text = f"""
[[zones]]
name = "z"
budget_w = 1000.0
[zones.carbon]
grams_per_day = {grams}
"""
    return PolicyRules(parse_policy(text.encode(), "policy.toml"))


def limit_w(policy, wall_s):
    return policy.limits(wall_s)["z"].budget_w


def day_of(policy, budgets, *, load_w=1000.0, floors_w=20.0, from_h=0.0, emitted_g=0.0):
    """Run a day in steps of a minute, drawing what is allowed up to a load; return what was emitted."""
    wall_s, start_g = MIDNIGHT_S + 3600 * from_h, emitted_g
    while wall_s < MIDNIGHT_S + 86_400:
        now = ZoneNow(emitted_g, floors_w, 1000.0, FACTOR)
        budgets.follow(policy, wall_s, lambda _zone, now=now: now)
        drawn_w = max(floors_w, min(load_w, limit_w(policy, wall_s)))
        emitted_g += drawn_w * 60 / KWH * FACTOR.intensity_g_per_kwh
        wall_s += 60
    return emitted_g - start_g


def test_a_greedy_zone_ends_its_day_within_its_grams():
    emitted_g = day_of(rules(), CarbonBudgets(lambda _zone, _since_s: 0.0))
    assert emitted_g <= 1200.0 * 1.001
    assert emitted_g >= 1200.0 * 0.97


def test_a_zone_with_grams_enough_is_not_held_back():
    policy = rules(grams=20_000.0)
    day_of(policy, CarbonBudgets(lambda _zone, _since_s: 0.0))
    assert limit_w(policy, MIDNIGHT_S + 80_000) == 1000.0


def test_after_a_restart_what_was_stored_today_counts():
    asked = []

    def stored_since(zone, since_s):
        asked.append((zone, since_s))
        return 900.0

    emitted_g = day_of(rules(), CarbonBudgets(stored_since), from_h=12.0, emitted_g=50_900.0)
    assert asked == [("z", MIDNIGHT_S)]
    assert emitted_g <= 300.0 * 1.02


def test_a_new_day_begins_at_nothing():
    policy, budgets = rules(), CarbonBudgets(lambda _zone, _since_s: 0.0)
    day_of(policy, budgets)
    spent = limit_w(policy, MIDNIGHT_S + 86_300)
    now = ZoneNow(1200.0, 20.0, 1000.0, FACTOR)
    for minute in range(0, 120, 5):
        budgets.follow(policy, MIDNIGHT_S + 86_400 + 60 * minute, lambda _zone: now)
    assert limit_w(policy, MIDNIGHT_S + 86_400 + 7200) == pytest.approx(1200 / 500 / 24 * 1000, rel=0.15)
    assert spent == pytest.approx(100.0, rel=0.2)


def test_grams_that_do_not_suffice_even_at_the_floors_are_said():
    budgets = CarbonBudgets(lambda _zone, _since_s: 0.0)
    budgets.follow(rules(grams=100.0), MIDNIGHT_S + 60, lambda _zone: ZoneNow(0.0, 300.0, 1000.0, FACTOR))
    assert "over its grams_per_day" in budgets.infeasible["z"]


def test_a_budget_that_is_taken_out_of_the_policy_no_longer_holds():
    policy, budgets = rules(), CarbonBudgets(lambda _zone, _since_s: 0.0)
    day_of(policy, budgets)
    plain = PolicyRules(parse_policy(b'[[zones]]\nname = "z"\nbudget_w = 1000.0\n', "policy.toml"), (), policy.carbon_w)
    budgets.follow(plain, MIDNIGHT_S + 86_000, lambda _zone: None)
    assert limit_w(plain, MIDNIGHT_S + 86_000) == 1000.0
