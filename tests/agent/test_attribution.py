"""Dividing energy: the parts sum to the whole, whatever ran; and the tariff is the one that is promised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.attribution import IDLE, OTHER, RESIDUALS, SYSTEM, Owner, Part, Pool, apportion, attribute, top
from evenwatt_agent.idle import IdleModel

A, B, C = Owner("unit", "a"), Owner("unit", "b"), Owner("task", "c")
OWNERS = st.sampled_from([A, B, C, *(Owner("process", f"p{n}") for n in range(6))])
POOLS = st.lists(
    st.builds(
        Pool,
        energy_uj=st.integers(0, 10**13),
        idle_uj=st.integers(0, 10**13),
        use=st.dictionaries(OWNERS, st.integers(0, 10**12)),
        capacity=st.integers(0, 10**13),
        reserved=st.dictionaries(OWNERS, st.floats(0, 1)),
        gpu=st.booleans(),
    ),
    max_size=4,
)


@given(POOLS, st.integers(0, 5))
def test_parts_sum_to_the_whole_and_none_is_negative(pools, count):
    parts = attribute(pools)
    whole = sum(pool.energy_uj for pool in pools)
    assert sum(part.energy_uj for part in parts.values()) == whole
    assert all(min(part.cpu_uj, part.gpu_uj, part.idle_uj) >= 0 for part in parts.values())
    kept = top(parts, count)
    assert sum(part.energy_uj for part in kept.values()) == whole
    assert sum(part.cpu_ns for part in kept.values()) == sum(part.cpu_ns for part in parts.values())
    assert sum(1 for owner in kept if owner not in RESIDUALS and owner.kind != "task") <= count
    assert C not in parts or kept[C] == parts[C], "a task is never lost in `other`"


@given(st.integers(0, 10**15), st.dictionaries(OWNERS, st.integers(0, 10**12)))
def test_shares_are_proportional_to_the_microjoule(amount, weights):
    shares = apportion(amount, weights)
    whole = sum(weights.values())
    assert sum(shares.values()) == (amount if whole else 0)
    assert all(abs(share - amount * weights[owner] / whole) <= 1 + 1e-9 * amount for owner, share in shares.items())


def test_the_two_part_tariff():
    """600 W, 200 W idle; A uses 10 %, B 40 % of the machine; equal reservations: A 180 W, B 420 W."""
    parts = attribute([Pool(600_000_000, 200_000_000, {A: 10, B: 40}, 50, {A: 0.5, B: 0.5})])
    assert {owner: part.energy_uj for owner, part in parts.items()} == {A: 180_000_000, B: 420_000_000}


def test_idle_that_nobody_reserved_and_work_that_nobody_claims_have_rows_of_their_own():
    parts = attribute([Pool(500, 200, {A: 60}, 100, {A: 0.25})])
    assert (parts[A].cpu_uj, parts[A].idle_uj) == (180, 50)
    assert (parts[SYSTEM].cpu_uj, parts[IDLE].idle_uj) == (120, 150)


def test_a_busy_interval_without_known_users_is_the_systems():
    assert attribute([Pool(500, 200, {})])[SYSTEM].cpu_uj == 300


def test_reservations_beyond_the_machine_are_scaled_down():
    parts = attribute([Pool(100, 100, {}, 0, {A: 1.0, B: 1.0})])
    assert (parts[A].idle_uj, parts[B].idle_uj) == (50, 50)
    assert IDLE not in parts


def test_boards_are_pools_of_their_own():
    parts = attribute([Pool(100, 0, {A: 1}), Pool(900, 300, {B: 3, C: 1}, reserved={B: 1.0}, gpu=True)])
    assert (parts[A].cpu_uj, parts[A].gpu_uj) == (100, 0)
    assert (parts[B].gpu_uj, parts[B].idle_uj, parts[C].gpu_uj) == (450, 300, 150)


def test_beyond_the_largest_is_other():
    parts = {Owner("process", f"p{n}"): Part(cpu_uj=n) for n in range(10)} | {OTHER: Part(cpu_uj=5)}
    kept = top(parts, 2)
    assert [str(owner) for owner in kept if owner != OTHER] == ["process/p9", "process/p8"]
    assert kept[OTHER].cpu_uj == sum(range(8)) + 5


@pytest.mark.parametrize(
    ("seen", "basis", "power_w"),
    [
        ([], "unknown", 0.0),
        ([(0.9, 400.0)], "unknown", 0.0),
        ([(0.02, 90.0), (0.9, 400.0)], "quiet", 90.0),
        ([(0.325, 200.0), (0.825, 350.0)], "line", 102.5),
        ([(0.325, 200.0), (0.375, 210.0)], "unknown", 0.0),
    ],
)
def test_idle_power_is_learned_and_says_from_what(seen, basis, power_w):
    model = IdleModel()
    for utilisation, watts in seen:
        for _ in range(10):
            model.observe(utilisation, watts, 1.0, 1_700_000_000_000)
    assert model.idle().basis == basis
    assert model.idle().power_w == pytest.approx(power_w)
    again = IdleModel()
    again.restore(model.dump())
    assert again.idle() == model.idle()


def test_given_idle_power_is_used_as_it_stands():
    model = IdleModel(given_w=87.0)
    model.observe(0.01, 50.0, 100.0, 1)
    assert (model.idle().power_w, model.idle().basis) == (87.0, "given")


def test_what_was_learned_by_another_version_is_not_trusted():
    model = IdleModel()
    model.restore([[1.0], [2.0]])
    assert model.idle().basis == "unknown"
