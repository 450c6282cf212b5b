import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_twin.plant import Component, ComponentState, Plant
from evenwatt_twin.speed import ZEUS_V100, check_curve, speed_at

PACKAGE = Component(kind="cpu-package", idle_w=40.0, max_w=240.0, tau_s=0.05, cap_delay_s=0.02, min_cap_w=60.0)


def test_first_order_lag():
    state = ComponentState(PACKAGE)
    for _ in range(10):
        state.step(0.005, 1.0, None)
    assert state.power_w == pytest.approx(40 + 200 * (1 - math.exp(-1)), rel=1e-9)  # one time constant


def test_energy_of_the_lag_is_exact():
    coarse, fine = ComponentState(PACKAGE), ComponentState(PACKAGE)
    coarse.step(0.2, 1.0, None)
    for _ in range(200):
        fine.step(0.001, 1.0, None)
    assert coarse.energy_j == pytest.approx(fine.energy_j, rel=1e-12)
    assert coarse.energy_j == pytest.approx(240 * 0.2 - 200 * 0.05 * (1 - math.exp(-4)), rel=1e-12)


def test_cap_takes_hold_after_its_delay_and_not_before():
    state = ComponentState(PACKAGE)
    for _ in range(400):
        state.step(0.005, 1.0, None)
    before = state.power_w
    powers = [state.step(0.005, 1.0, 120.0) for _ in range(200)]
    assert powers[3] == pytest.approx(before)  # 20 ms: four steps
    assert powers[4] < before - 5
    assert powers[-1] == pytest.approx(120.0)


def test_caps_in_flight_arrive_in_order():
    state = ComponentState(PACKAGE)
    for cap in (200.0, 150.0, 100.0):
        state.step(0.005, 1.0, cap)
    forces = []
    for _ in range(6):
        state.step(0.005, 1.0, 100.0)
        forces.append(state.cap_in_force_w)
    assert forces == [math.inf, 200.0, 150.0, 100.0, 100.0, 100.0]


def test_device_goes_no_lower_than_its_floor():
    state = ComponentState(PACKAGE)
    for _ in range(400):
        state.step(0.005, 1.0, 1.0)
    assert state.power_w == pytest.approx(60.0)


def test_shadow_is_the_same_device_without_a_cap():
    capped, free = ComponentState(PACKAGE), ComponentState(PACKAGE)
    for step in range(400):
        load = 0.5 + 0.5 * math.sin(step / 20)
        capped.step(0.005, load, 100.0)
        free.step(0.005, load, None)
    assert capped.uncapped_energy_j == free.energy_j == free.uncapped_energy_j
    assert capped.uncapped_power_w == free.power_w
    assert capped.energy_j < free.energy_j
    assert capped.work_demanded == free.work_done
    assert capped.work_done < capped.work_demanded


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.none() | st.floats(0, 300), st.floats(0.001, 0.05), st.booleans()),
        min_size=1,
        max_size=60,
    )
)
def test_joules_stay_between_idle_and_uncapped(steps):
    plant = Plant({"p": PACKAGE, "d": Component(kind="dram", idle_w=5.0, max_w=20.0, tau_s=0.05, follows="p")})
    for load, cap_w, dt_s, paused in steps:
        before = plant.energy_j
        plant.step(dt_s, load, [cap_w, None], paused=paused)
        assert plant.energy_j >= before
    assert plant.energy_j == pytest.approx(sum(s.energy_j for s in plant.components.values()))
    assert 45.0 * plant.elapsed_s <= plant.energy_j * (1 + 1e-9)
    assert plant.energy_j <= plant.uncapped_energy_j * (1 + 1e-9)
    assert 0.0 <= plant.work_done <= plant.work_demanded * (1 + 1e-9)


def test_memory_follows_what_its_processor_delivers():
    plant = Plant({"p": PACKAGE, "d": Component(kind="dram", idle_w=5.0, max_w=20.0, follows="p")})
    for _ in range(400):
        plant.step(0.005, 1.0, [120.0, None])
    dram = plant.components["d"]
    assert dram.power_w == pytest.approx(5 + 15 * speed_at(ZEUS_V100, 0.5))
    assert dram.uncapped_power_w == pytest.approx(20.0)


def test_memory_of_a_half_loaded_processor_has_the_same_shadow():
    half = Component(kind="cpu-package", idle_w=40.0, max_w=240.0, load_gain=0.5)
    plant = Plant({"p": half, "d": Component(kind="dram", idle_w=5.0, max_w=20.0, follows="p")})
    for _ in range(400):
        plant.step(0.005, 1.0, [None, None])
    assert plant.energy_j == pytest.approx(plant.uncapped_energy_j, rel=1e-12)


def test_paused_job_draws_idle_power_while_demand_goes_on():
    plant = Plant({"p": PACKAGE})
    for _ in range(400):
        plant.step(0.005, 1.0, [None], paused=True)
    assert plant.components["p"].power_w == pytest.approx(40.0)
    assert plant.work_done == 0.0
    assert plant.work_demanded == pytest.approx(2.0)
    assert plant.uncapped_energy_j > plant.energy_j


def test_speed_curve_is_concave_and_rises():
    speeds = [speed_at(ZEUS_V100, share / 100) for share in range(20, 101)]
    assert speeds[0] == 0.0
    assert speeds[-1] == 1.0
    assert speeds == sorted(speeds)
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(ZEUS_V100)]
    assert slopes[0] > slopes[2] > slopes[-1]


@pytest.mark.parametrize(
    "curve", [((0.0, 0.0),), ((0.5, 0.1), (0.4, 0.2)), ((0.1, 0.9), (0.2, 0.1)), ((0.0, 0.0), (1.0, 2.0))]
)
def test_wrong_curves_are_refused(curve):
    with pytest.raises(ValueError, match="speed must be"):
        check_curve(curve)
