"""What the live bench concludes from its logs, against cases worked out by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

from evenwatt_twin.truth import Truth, TruthLog

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from controlling import fleet, measures

GRID_NS = 10_000_000
BUDGET_W = 1000.0


def truth(folder, power_w, uncapped_w):
    """Log one record a grid step, as the twin does, and read it back."""
    log, energy_uj = TruthLog(folder / "truth.bin"), 0
    log.append(0, 0, 0.0, 0.0, 0.0, 0.0, 0)
    for step, (watts, wanted_w) in enumerate(zip(power_w, uncapped_w, strict=True), 1):
        energy_uj += round(watts * 1e4)
        log.append(step * GRID_NS, energy_uj, watts, wanted_w, 0.0, 0.0, step * GRID_NS)
    log.close()
    return Truth.load(folder / "truth.bin")


def step_of_load(folder, power_w):
    """One node: a low of 2 s at 400 W, then a load that asks for 1500 W while ``power_w`` is drawn."""
    log = truth(folder, [400.0] * 200 + power_w, [400.0] * 200 + [1500.0] * len(power_w))
    return measures.Power({"a": log}, 0, (200 + len(power_w)) * GRID_NS)


@pytest.mark.parametrize(
    ("power_w", "above_s", "below_s"),
    [
        ([960.0] * 400, 0.0, 0.0),
        ([1200.0] * 30 + [960.0] * 370, 0.3, 0.0),
        ([700.0] * 70 + [960.0] * 330, 0.0, 0.59),  # from there on each second has 931 W in the mean
        ([960.0] * 200 + [700.0] * 11 + [960.0] * 189, 0.0, 0.0),  # watts on their way
        ([960.0] * 200 + [700.0] * 50 + [960.0] * 150, 0.0, 2.39),  # watts that went nowhere
        ([960.0] * 100 + [990.0] * 10 + [960.0] * 290, 1.1, 0.0),  # it left the band again
        ([700.0] * 400, 0.0, 4.0),  # it never came
    ],
)
def test_a_step_is_settled_when_power_has_entered_the_band_for_good(tmp_path, power_w, above_s, below_s):
    power = step_of_load(tmp_path, power_w)
    caps_w = np.full(600, 970.0)
    found = measures.settled(power, caps_w, BUDGET_W, 200 * GRID_NS, 600 * GRID_NS)
    assert (found.above_s, found.below_s) == pytest.approx((above_s, below_s))
    assert found.settle_s == pytest.approx(max(above_s, below_s))
    assert found.rise == pytest.approx(1500 / 400 - 1)


def test_caps_that_allow_more_than_the_band_are_not_settled_whatever_power_does(tmp_path):
    power = step_of_load(tmp_path, [960.0] * 400)
    caps_w = measures.caps_on_grid(power, [(0, 1400.0), (250 * GRID_NS, 965.0)])
    assert measures.settled(power, caps_w, BUDGET_W, 200 * GRID_NS, 600 * GRID_NS).above_s == pytest.approx(0.5)


def test_a_step_that_would_not_cross_the_budget_is_refused(tmp_path):
    log = truth(tmp_path, [400.0] * 400, [900.0] * 400)
    power = measures.Power({"a": log}, 0, 400 * GRID_NS)
    with pytest.raises(AssertionError, match="does not cross"):
        measures.settled(power, np.full(400, 900.0), BUDGET_W, 100 * GRID_NS, 400 * GRID_NS)


def test_time_over_the_lease_is_the_longest_stretch_and_a_grain_is_forgiven():
    caps_w = np.concatenate((np.full(50, np.inf), np.full(150, 200.0)))
    power_w = np.full(200, 202.9)  # 1 % and 1 W: within
    assert measures.over_lease_s(power_w, caps_w) == 0.0
    power_w[60:80] = power_w[100:107] = 203.1
    power_w[:40] = 900.0  # no cap confirmed yet
    assert measures.over_lease_s(power_w, caps_w) == pytest.approx(0.2)


def test_a_node_is_at_its_fallback_from_the_last_moment_above_it(tmp_path):
    power = step_of_load(tmp_path, [950.0] * 100 + [300.0] * 50 + [500.0] * 10 + [300.0] * 240)
    assert measures.held_from_s(power, "a", 310.0, 200 * GRID_NS, 600 * GRID_NS) == pytest.approx(1.6)


@pytest.mark.parametrize("seed", range(5))
def test_the_plan_of_the_load_rises_by_150_percent_within_100_ms_and_crosses_the_budget(tmp_path, seed):
    plan = fleet.write_fleet(tmp_path, tmp_path / "twins", 10, 3, 20.0, seed)
    loads = {n.name: np.loadtxt(tmp_path / f"{n.name}.csv", delimiter=",", skiprows=1).T for n in plan.nodes}

    def fleet_w(at_s):
        return sum(
            n.kind.idle_w + (n.kind.full_w - n.kind.idle_w) * np.interp(at_s, *loads[n.name]) for n in plan.nodes
        )

    for up_s in (*plan.ups_s, plan.high_s):
        assert fleet_w(up_s + 0.1) / fleet_w(up_s) == pytest.approx(1 + fleet.RISE, abs=0.01)
        assert fleet_w(up_s) < plan.budget_w < fleet_w(up_s + 0.1)
    assert sum(n.fallback_w for n in plan.nodes) <= plan.budget_w
