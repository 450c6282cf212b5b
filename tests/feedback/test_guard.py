"""The guard on long runs of simulated jobs: harmless policies stay, bad ones go, and how soon."""

from __future__ import annotations

import json
from math import log

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.feedback.evidence import Evidence
from evenwatt_collector.feedback.guard import ALPHA, BASELINE, CARBON, Guard
from evenwatt_daemon import Failure
from tests.feedback.made import DAY, T0, outcome


def simulate(seed, days, *, saves=0.0, spread=0.1, shared=0.03, late=0.0, a_day=10, guard=None, skew=0.0):
    """Run jobs under a guard until it rolls back or the days are over; return the guard and how many jobs that took.

    Args:
        saves: Mean share that a job saves.
        spread: Standard deviation of a job about its day; ``shared``: of a day.
        late: Share of jobs that become late.
        skew: By how much the counterfactual is wrong: what controls alone can tell.
    """
    random = np.random.default_rng(seed)
    guard = guard or Guard()
    guard.adopt("v1")
    number = 0
    for day in range(days):
        luck = shared * float(random.standard_normal())
        for _ in range(a_day):
            number += 1
            id_ = f"{seed:06x}{number:06x}"
            chosen = guard.choose(id_, pressed=False)
            foreseen = float(random.lognormal(5, 1))
            true_g = foreseen * float(random.lognormal(0, 0.1))
            share = saves + luck + spread * float(random.standard_normal())
            control = chosen.policy == BASELINE
            made = outcome(
                grams=true_g if control else true_g * max(0.05, 1 - share),
                counterfactual_g=true_g if control else true_g * (1 + skew),
                policy=chosen.policy, version=chosen.version, ended_s=T0 + DAY * (day + number % a_day / a_day),
                late=not control and bool(random.random() < late), deadline_s=T0 + 1e9, predicted_baseline_g=foreseen,
            )  # fmt: skip
            if guard.observe(msgspec.structs.replace(made, job=id_)) is not None:
                return guard, number
    return guard, None


@pytest.mark.parametrize("saves", [0.0, 0.15])
def test_harmless_policies_stay(saves):
    # Jobs of a day share their luck here, which the tests have to bear; 4 of 40 has a chance of 1 % at 2 % each.
    fallen = sum(simulate(seed, 250, saves=saves, a_day=6)[1] is not None for seed in range(40))
    assert fallen <= 3


@pytest.mark.parametrize(
    ("how", "within"),
    [
        ({"saves": -0.5}, 60),
        ({"saves": -0.2}, 150),
        ({"saves": -0.1}, 400),
        ({"saves": -0.04}, 1000),
        ({"saves": 0.1, "late": 0.3}, 120),
        ({"saves": 0.1, "late": 0.1}, 300),
    ],
)
def test_a_bad_policy_is_caught_within_so_many_jobs(how, within):
    taken = [simulate(seed, 400, **how)[1] for seed in range(30)]
    assert None not in taken
    assert np.quantile(taken, 0.9) <= within


def test_controls_catch_what_the_counterfactual_hides():
    """It claims to save, since what would have been is overstated by half; truly each job emits 40 % more."""
    taken = [simulate(seed, 400, saves=-0.4, skew=0.6)[1] for seed in range(10)]
    assert None not in taken
    assert np.median(taken) <= 2500
    guard, _ = simulate(1, 400, saves=-0.4, skew=0.6)
    assert guard.rolled_back[0].test == "control"


def test_the_share_of_controls_is_what_it_says():
    guard = Guard()
    guard.adopt("v1")
    ids = [f"{i:012x}" for i in range(20_000)]
    drawn = [i for i in ids if guard.choose(i, pressed=False).policy == BASELINE]
    assert 0.04 < len(drawn) / len(ids) < 0.06
    assert all(guard.choose(i, pressed=True).policy == CARBON for i in drawn)
    assert [i for i in ids if guard.choose(i, pressed=False).policy == BASELINE] == drawn
    none = Guard(control_share=0.0)
    none.adopt("v1")
    assert all(none.choose(i, pressed=False).policy == CARBON for i in ids)


def test_the_version_before_takes_over_and_nothing_comes_back_by_itself():
    guard = Guard()
    guard.adopt("v1")
    guard.adopt("v2")
    back = bad(guard, "v2")
    assert (back.version, back.to, guard.active) == ("v2", "v1", "v1")
    assert "policy v2 was rolled back" in guard.alarm
    assert "policy v1 is in force again" in guard.alarm
    assert f"{back.saved_pct:+.1f} %" in guard.alarm
    guard.adopt("v2")  # a restart of the same program
    assert guard.active == "v1"
    again = bad(guard, "v1", first=5000)
    assert (again.to, guard.active) == (BASELINE, BASELINE)
    assert guard.choose("0" * 12, pressed=False).policy == BASELINE
    assert guard.observe(outcome(9999, 300.0, 100.0, version=BASELINE, policy=BASELINE)) is None
    guard.adopt("v1")
    assert guard.active == BASELINE
    guard.adopt("v3")
    assert (guard.active, guard.alarm) == ("v3", None)
    guard.reinstate("v1")
    assert guard.active == "v1"
    assert [one.version for one in guard.rolled_back] == ["v2"]
    with pytest.raises(Failure, match="'v9' was not rolled back; those that were: v2"):
        guard.reinstate("v9")


def bad(guard, version, first=0):
    for number in range(first, first + 4000):
        back = guard.observe(outcome(number, 300.0, 100.0, version=version))
        if back is not None:
            return back
    raise AssertionError("it was not caught")


def test_old_doubled_and_foreign_outcomes_change_nothing():
    guard = Guard()
    guard.adopt("v1")
    guard.observe(outcome(1, 50.0))
    before = guard.document()
    guard.observe(outcome(1, 500.0))
    guard.observe(outcome(2, 500.0, version="v0"))
    assert guard.document() == before


def test_it_is_stored_and_goes_on():
    one = Guard()
    one.adopt("v1")
    for number in range(40):
        one.observe(outcome(number, 101.0 + number % 3, 100.0))
    two = Guard(json.loads(json.dumps(one.document())))
    backs = [bad(guard, "v1", first=100) for guard in (one, two)]
    assert backs[0] == backs[1]
    assert one.document() == two.document()


def test_no_job_outweighs_all_others():
    guard = Guard()
    guard.adopt("v1")
    for number in range(200):
        assert guard.observe(outcome(number, 80.0, 100.0)) is None
    assert guard.observe(outcome(201, 3e9, 1e9)) is None


@pytest.mark.parametrize("wrong", [{"state": {"active": 5}}, {"control_share": 0.9}, {"control_share": float("nan")}])
def test_what_is_wrong_is_said(wrong):
    with pytest.raises(Failure, match=r"control_share|cannot be read"):
        Guard(**wrong)


@given(st.lists(st.floats(-1, 1), max_size=60), st.floats(0, 0.05))
def test_capital_is_never_lost_whole_and_good_values_never_count_against(values, margin):
    evidence, good = Evidence(), Evidence()
    for value in values:
        evidence.add(value, margin)
        good.add(abs(value), margin)
    assert evidence.log_capital > -float("inf")
    assert good.log_capital <= 1e-12
    assert not good.against(0.5)


def test_a_true_claim_is_seldom_refuted_however_often_one_looks():
    """Ville: of fair coins at most one in fifty ever; it is a bound, and skewed values come nearest to it."""
    random = np.random.default_rng(5)
    fallen = 0
    for _ in range(400):
        evidence = Evidence()
        for draw in random.random(400):
            evidence.add(-0.9 if draw < 0.1 else 0.1)
            if evidence.against(ALPHA):
                fallen += 1
                break
    assert fallen <= 400 * ALPHA * 1.8
    with pytest.raises(ValueError, match="expected -1 to 1"):
        Evidence().add(2.0)
    assert Evidence().log_capital == 0 > log(ALPHA)
