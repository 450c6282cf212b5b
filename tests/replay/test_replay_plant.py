"""The fleet in arrays is the twin's machine, many times over."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_cli.replay.plant import FleetSpec, Plant
from evenwatt_twin.plant import Component, ComponentState
from evenwatt_twin.speed import ZEUS_V100

STEEP = ((0.30, 0.0), (0.60, 0.40), (1.00, 1.00))
CURVES = (ZEUS_V100, STEEP)


def fleet(idle_w, max_w, floor_w, *, tau_s=0.05, delay_s=0.1):
    count = len(idle_w)
    return FleetSpec(
        idle_w=np.array(idle_w), max_w=np.array(max_w), floor_w=np.array(floor_w),
        priority=np.full(count, 5), weight=np.ones(count), pausable=np.zeros(count, dtype=bool),
        zone=np.zeros(count, dtype=np.int64), kind=np.arange(count) % 2, curves=CURVES, tau_s=tau_s, delay_s=delay_s,
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from((0.01, 0.05, 0.1, 0.5)), st.sampled_from((0.0, 0.015, 0.05)),
       st.sampled_from((0, 1, 2, 5)))  # fmt: skip
def test_it_equals_the_twin_step_by_step(seed, dt_s, tau_s, delay_steps):
    rng = np.random.default_rng(seed)
    idle_w = rng.uniform(20, 120, 6)
    max_w = idle_w + rng.uniform(50, 600, 6)
    floor_w = rng.uniform(0, 0.6, 6) * max_w
    plant = Plant(fleet(idle_w, max_w, floor_w, tau_s=tau_s, delay_s=delay_steps * dt_s), dt_s)
    twins = [
        ComponentState(
            Component(kind="gpu", idle_w=idle, max_w=most, tau_s=tau_s, cap_delay_s=delay_steps * dt_s,
                      min_cap_w=least, speed=CURVES[i % 2])
        )
        for i, (idle, most, least) in enumerate(zip(idle_w, max_w, floor_w, strict=True))
    ]  # fmt: skip
    energy_j = np.zeros(6)
    cap_w = np.full(6, np.inf)
    for _ in range(80):
        load = rng.uniform(0, 1, 6)
        change = rng.random(6) < 0.3
        cap_w = np.where(change, np.where(rng.random(6) < 0.2, np.inf, rng.uniform(0, 1.2, 6) * max_w), cap_w)
        paused = rng.random(6) < 0.1
        energy_j += plant.step(load, cap_w.copy(), paused) * dt_s
        for i, twin in enumerate(twins):
            twin.step(dt_s, load[i], None if np.isinf(cap_w[i]) else cap_w[i], 0.0 if paused[i] else load[i])
        assert plant.power_w == pytest.approx([twin.power_w for twin in twins], rel=1e-9, abs=1e-9)
    assert energy_j == pytest.approx([twin.energy_j for twin in twins], rel=1e-9)
    assert plant.work_done == pytest.approx([twin.work_done for twin in twins], rel=1e-9)
    assert plant.work_demanded == pytest.approx([twin.work_demanded for twin in twins], rel=1e-9)


def test_a_cap_takes_hold_after_its_delay_and_a_pause_at_once():
    plant = Plant(fleet([80.0, 80.0], [500.0, 500.0], [150.0, 150.0], tau_s=0.0), 0.05)
    full, free, none = np.ones(2), np.zeros(2, dtype=bool), np.full(2, np.inf)
    assert plant.step(full, none, free) == pytest.approx([500, 500])
    caps_w = np.array([200.0, 100.0])
    assert plant.step(full, caps_w, free) == pytest.approx([500, 500])
    assert plant.step(full, caps_w, free) == pytest.approx([500, 500])
    assert plant.step(full, caps_w, free) == pytest.approx([200, 150])  # no lower than the device goes
    assert plant.step(full, caps_w, np.array([True, False])) == pytest.approx([80, 150])


def test_what_is_asked_of_a_paused_node_is_lost_work():
    plant = Plant(fleet([80.0], [500.0], [150.0]), 0.1)
    for _ in range(10):
        plant.step(np.array([0.5]), np.array([np.inf]), np.array([True]))
    assert plant.work_demanded[0] == pytest.approx(0.5)
    assert plant.work_done[0] == 0.0
