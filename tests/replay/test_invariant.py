"""What nodes really hold, looked at in every step, never adds up to more than the budget, whatever breaks."""

from copy import deepcopy

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from evenwatt_cli.replay.engine import Setting, run
from evenwatt_cli.replay.faults import Fault, parse_faults, strike
from evenwatt_cli.replay.network import Conditions
from evenwatt_cli.replay.ours import InvariantError, Ours
from evenwatt_cli.replay.plant import Plant
from evenwatt_cli.replay.scenarios import WARM_S, make_scenario
from evenwatt_cli.replay.telemetry import Meters
from evenwatt_collector.control import Controller, Observations, ZoneSpec, ZoneTree

DT_S = 0.1


def networks(most_loss):
    return st.builds(
        Conditions,
        delay_s=st.tuples(st.floats(0.0, 0.3), st.floats(0.3, 2.5)),
        loss=st.floats(0.0, most_loss),
        double=st.sampled_from((0.0, 0.3)),
    )


OUTAGES = st.builds(lambda at, length: f"broker@{at}+{length}", st.integers(0, 60), st.integers(1, 30))
RESTARTS = st.builds(lambda at, share: f"nodes@{at}={share}", st.integers(0, 90), st.sampled_from((0.1, 0.5, 1.0)))
JUMPS = st.builds(lambda at, by: f"clocks@{at}={by}", st.integers(0, 90), st.sampled_from((-3600, -1.5, 1.5, 60)))
DEATHS = st.builds(lambda at, length: f"collector@{at}+{length}", st.integers(0, 60), st.integers(1, 30))
ANY = st.lists(st.one_of(OUTAGES, RESTARTS, JUMPS), max_size=4)
WITH_DEATHS = st.tuples(DEATHS, st.lists(st.one_of(DEATHS, RESTARTS, JUMPS), max_size=3)).map(lambda x: [x[0], *x[1]])


def held_over_w(name, seed, conditions, faults, seconds=90.0, nodes=16):
    """Run, and return the most by which nodes' caps ever exceeded the highest budget of the last 16 seconds.

    When a budget falls without a word, leases that were given under the old one may run to their end: 10 s, 5 s of
    ramp, and what a grant may travel. Where the budget stands still this is the budget itself.
    """
    scenario = make_scenario(name, nodes, DT_S, seed, seconds=seconds)
    loop = Ours(scenario.fleet, scenario.tree, scenario.fallback_w(), DT_S, conditions, seed)
    plant, meters = Plant(scenario.fleet, DT_S), Meters(nodes, DT_S, seed)
    coming = parse_faults(faults)
    worst_w, budgets_w = -np.inf, []
    for k, load in enumerate(scenario.traffic.block(round((WARM_S + seconds) / DT_S))):
        now_s = k * DT_S
        coming = strike(loop, coming, now_s, WARM_S)
        budgets_w.append(scenario.budget.at(now_s))
        loop.arrive(k, now_s)
        loop.act(k, now_s, scenario.limits_w(scenario.budget.planned(now_s)))
        caps_w = loop.caps_w(now_s)
        worst_w = max(worst_w, caps_w.sum() - max(budgets_w[-round(18.0 / DT_S) :]))
        plant.step(load, caps_w, loop.paused(now_s))
        windows = meters.take(k, plant.mean_w, caps_w, loop.paused(now_s))
        if windows is not None:
            loop.hear(k, windows)
    return worst_w


def above_accounts_w(seed, conditions, faults, *, deaf_s=(0.0, 0.0), seconds=60.0, nodes=24):
    """Run, and return the most by which any node's cap ever exceeded what its account says that it may draw.

    Also how many leases went on with their zone's. Within ``deaf_s`` no grant arrives, but renewals do.
    """
    scenario = make_scenario("inference", nodes, DT_S, seed, seconds=seconds)
    loop = Ours(scenario.fleet, scenario.tree, scenario.fallback_w(), DT_S, conditions, seed)
    plant, meters = Plant(scenario.fleet, DT_S), Meters(nodes, DT_S, seed)
    coming, worst_w, renewed = parse_faults(faults), -np.inf, 0
    for k, load in enumerate(scenario.traffic.block(round((WARM_S + seconds) / DT_S))):
        now_s = k * DT_S
        coming = strike(loop, coming, now_s, WARM_S)
        loop._down.up = not deaf_s[0] <= now_s < deaf_s[1]
        ends_s = loop.nodes.ends_s.copy()
        loop.arrive(k, now_s)
        renewed += int((loop.nodes.ends_s > ends_s).sum())
        loop.act(k, now_s, scenario.limits_w(scenario.budget.planned(now_s)))
        caps_w = loop.caps_w(now_s)
        controller = loop._controller
        if loop.alive and loop.decision is not None and now_s >= controller.quiet_until_s + 1.0:
            most_w = deepcopy(controller.accounts).outstanding(now_s)
            worst_w = max(worst_w, float((caps_w - most_w)[controller.accounts.open].max(initial=-np.inf)))
        plant.step(load, caps_w, loop.paused(now_s))
        windows = meters.take(k, plant.mean_w, caps_w, loop.paused(now_s))
        if windows is not None:
            loop.hear(k, windows)
    return worst_w, renewed


SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "phases": [Phase.explicit, Phase.generate]}
STILL = st.sampled_from(("inference", "mixed-priorities"))
FALLING = st.sampled_from(("demand-response", "sagging-budget"))


@settings(max_examples=12, **SLOW)
@given(STILL, st.integers(0, 10_000), networks(0.4), ANY)
def test_caps_in_force_stay_within_a_budget_that_stands_still(name, seed, conditions, faults):
    assert held_over_w(name, seed, conditions, faults) <= 1e-6


@settings(max_examples=12, **SLOW)
@given(STILL, st.integers(0, 10_000), networks(0.1), WITH_DEATHS)
def test_and_when_collectors_die_and_others_take_over(name, seed, conditions, faults):
    assert held_over_w(name, seed, conditions, faults) <= 1e-6


@settings(max_examples=8, **SLOW)
@given(FALLING, st.integers(0, 10_000), networks(0.1), st.one_of(ANY, WITH_DEATHS))
def test_and_within_what_a_falling_budget_was_a_lease_ago(name, seed, conditions, faults):
    assert held_over_w(name, seed, conditions, faults) <= 1e-6


@settings(max_examples=10, **SLOW)
@given(st.integers(0, 10_000), networks(0.3), st.lists(st.one_of(OUTAGES, RESTARTS, JUMPS), max_size=3))
def test_no_node_ever_holds_more_than_its_account_says_also_where_leases_go_on_together(seed, conditions, faults):
    worst_w, _ = above_accounts_w(seed, conditions, faults)
    assert worst_w <= 1e-6


def test_nodes_that_hear_renewals_but_no_grants_come_to_the_end_of_their_leases():
    for seed in range(4):
        worst_w, renewed = above_accounts_w(seed, Conditions(loss=0.05), [], deaf_s=(30.0, 55.0))
        assert worst_w <= 1e-6
        assert renewed


def test_on_a_lossy_network_most_leases_go_on_together_and_none_is_above_its_account():
    worst_w, renewed = above_accounts_w(3, Conditions(loss=0.1, double=0.3), ["nodes@20=0.3"])
    assert worst_w <= 1e-6
    assert renewed > 24 * 60 / 4


def test_a_collector_that_takes_over_counts_who_is_heard_late_at_what_it_holds():
    """The first node holds 500 W from an earlier collector; both are heard after 7 s, and its own grants are lost."""
    controller = Controller(ZoneTree.of([ZoneSpec("fleet")]), first_seq=1_000_000, quiet_s=5.0)
    controller.set_limits(np.array([605.0]))
    seen, second_w = Observations(2), 100.0
    seen.present[:] = seen.online[:] = seen.controllable[:] = True
    seen.floor_w[:], seen.ceiling_w[:], seen.fallback_w[:], seen.weight[:] = 100.0, 600.0, 100.0, 1.0
    seen.age_s[:], seen.held_w[:] = np.inf, np.nan
    for k in range(90):
        if k >= 70:
            seen.age_s[:], seen.held_w[:] = 0.2, (500.0, second_w)
            seen.power_w[:] = seen.peak_w[:] = seen.window_peak_w[:] = (95.0, second_w)
        grants = controller.step(0.1 * k, seen).grants
        got = grants.slot == 1
        controller.acknowledge_many(grants.slot[got], grants.seq[got], grants.cap_w[got], 0.1 * k)
        second_w = float(grants.cap_w[got].max(initial=second_w))
    assert 500.0 + second_w <= 605.0


@pytest.mark.parametrize("name", ["inference", "demand-response"])
def test_on_a_good_network_nothing_is_over_at_any_moment(name):
    for seed in (1, 2, 3):
        found = run(lambda: make_scenario(name, 24, DT_S, seed, seconds=120), None, Setting(dt_s=DT_S, seed=seed))  # noqa: B023
        assert found.measures.over_budget_ws == 0.0
        assert found.measures.max_lease_to_budget <= 1.0 + 1e-9


def test_a_collector_that_dies_leaves_all_nodes_in_their_fallback_after_ttl_and_ramp():
    scenario = make_scenario("mixed-priorities", 20, DT_S, 5, seconds=60)
    fallback_w = scenario.fallback_w()
    loop = Ours(scenario.fleet, scenario.tree, fallback_w, DT_S, Conditions(), 5)
    meters, plant = Meters(20, DT_S, 5), Plant(scenario.fleet, DT_S)
    for k, load in enumerate(scenario.traffic.block(500)):
        if k == 300:
            loop.kill_collector()
            assert not np.allclose(loop.caps_w(k * DT_S), fallback_w)
        loop.arrive(k, k * DT_S)
        loop.act(k, k * DT_S, scenario.limits_w(scenario.budget.base_w))
        windows = meters.take(k, plant.step(load, loop.caps_w(k * DT_S), loop.paused(k * DT_S)),
                              loop.caps_w(k * DT_S), loop.paused(k * DT_S))  # fmt: skip
        if windows is not None:
            loop.hear(k, windows)
    last_grant_s = 30.0 + 0.1
    assert np.all(loop.caps_w(last_grant_s + 15.0) <= np.maximum(fallback_w, scenario.fleet.floor_w) + 1e-9)
    assert not loop.paused(last_grant_s + 15.0).any()


def test_the_check_itself_raises_where_leases_outgrow_the_budget():
    scenario = make_scenario("inference", 4, DT_S, 1, seconds=10)
    loop = Ours(scenario.fleet, ZoneTree.of([ZoneSpec("fleet")]), scenario.fallback_w(), DT_S, Conditions(), 1)
    limits_w = np.array([1000.0])
    loop.act(0, 0.0, limits_w)
    before = loop.decision
    loop.decision = type(before)(**{name: getattr(before, name) for name in before.__slots__} | {
        "most_w": np.maximum(before.most_w, limits_w) + 10.0})  # fmt: skip
    with pytest.raises(InvariantError, match="seed 1"):
        loop._check(before, loop.decision, 0.0)


def test_a_fault_strikes_once_and_in_order():
    faults = parse_faults(["broker@5+2", "collector@1+10"])
    assert [(fault.kind, fault.at_s, fault.ends) for fault in faults] == [
        ("collector", 1.0, False), ("broker", 5.0, False), ("broker", 7.0, True), ("collector", 11.0, True)
    ]  # fmt: skip
    assert parse_faults(["nodes@3"]) == [Fault("nodes", 3.0, 30.0, 0.2)]
