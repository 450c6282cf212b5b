import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.tuning import Objective
from evenwatt_daemon import Failure

FIGURE = st.floats(0.01, 1e6)


def test_energy_counts_joules_alone():
    cost = Objective().cost(300, 0.0)
    assert cost.of(12.0, 99.0) == 12.0
    assert cost.unit == "J"


def test_the_weighted_cost_is_that_of_zeus():
    cost = Objective(aim="weighted", eta=0.25, max_power_w=250).cost(300, 0.0)
    assert cost.of(100.0, 2.0) == pytest.approx(0.25 * 100 + 0.75 * 250 * 2)
    assert Objective(aim="weighted", eta=0.25).cost(300, 0.0).of(0.0, 1.0) == pytest.approx(0.75 * 300)


def test_carbon_is_energy_of_device_and_machine_at_the_intensity_and_what_the_hour_costs():
    cost = Objective(aim="carbon", hold_w=100, hold_g_per_h=36, pue=1.5).cost(300, 400.0)
    # 1 kWh in an hour, beside 0.1 kWh of the machine.
    assert cost.of(3.6e6, 3600) == pytest.approx(1.1 * 1.5 * 400 + 36)
    assert cost.unit == "g"


@given(e1=FIGURE, t1=FIGURE, e2=FIGURE, t2=FIGURE, intensity=st.floats(1, 1500))
def test_without_a_cost_of_holding_carbon_ranks_as_energy_does(e1, t1, e2, t2, intensity):
    carbon = Objective(aim="carbon").cost(300, intensity)
    assert (carbon.of(e1, t1) < carbon.of(e2, t2)) <= (e1 <= e2)


@given(energy=FIGURE, seconds=FIGURE, eta=st.floats(0, 1))
def test_shares_add_up_to_one(energy, seconds, eta):
    assert sum(Objective(aim="weighted", eta=eta).cost(300, 0).shares(energy, seconds)) == pytest.approx(1)


def test_a_clean_grid_makes_time_count_for_more():
    objective = Objective(aim="carbon", hold_g_per_h=20)
    fast, frugal = (300.0, 1.0), (200.0, 1.6)
    dirty, clean = objective.cost(300, 700), objective.cost(300, 20)
    assert dirty.of(*frugal) < dirty.of(*fast)
    assert clean.of(*frugal) > clean.of(*fast)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"eta": 1.5}, "eta is 1.5; expected 0"),
        ({"aim": "speed"}, "objective 'speed' is not known; expected one of energy, carbon, weighted"),
        ({"hold_w": -1}, "0 or more"),
        ({"pue": 0.9}, "1 or more"),
    ],
)
def test_what_is_wrong_is_named(wrong, said):
    with pytest.raises(Failure, match=said):
        Objective(**wrong)


def test_carbon_by_the_hour_needs_an_intensity():
    with pytest.raises(Failure, match="intensity is 0 g/kWh"):
        Objective(aim="carbon", hold_g_per_h=1).cost(300, 0.0)
    assert Objective(aim="carbon").cost(300, 0.0).of(10, 1) < Objective(aim="carbon").cost(300, 0.0).of(11, 1)
