"""Where nothing moves, caps stand still."""

import numpy as np

from evenwatt_collector.control import Controller, Observations, ZoneSpec, ZoneTree
from evenwatt_collector.control.issue import deadband_w

FLOOR_W, CEILING_W = 120.0, 500.0


def turns(demand_w, priority, budget_w, seconds=120, settled_s=60):
    """Return how often caps moved by more than a deadband once a zone of steady demands has settled."""
    count = len(demand_w)
    controller, seen = Controller(ZoneTree.of([ZoneSpec("z")])), Observations(count)
    controller.set_limits(np.array([budget_w]))
    seen.present[:] = seen.online[:] = seen.controllable[:] = True
    seen.floor_w[:], seen.ceiling_w[:], seen.fallback_w[:] = FLOOR_W, CEILING_W, 150.0
    seen.priority[:], seen.age_s[:] = priority, 0.2
    cap_w, moved = np.full(count, 150.0), 0
    for now_s in range(seconds):
        power_w = np.minimum(demand_w, cap_w)
        assert power_w.sum() <= budget_w
        seen.power_w[:] = seen.peak_w[:] = seen.window_peak_w[:] = power_w
        grants = controller.step(float(now_s), seen).grants
        far = np.abs(grants.cap_w - cap_w[grants.slot]) > deadband_w(cap_w[grants.slot])
        moved += int(far.sum()) if now_s >= settled_s else 0
        cap_w[grants.slot] = grants.cap_w
        controller.acknowledge_many(grants.slot, grants.seq, grants.cap_w, now_s + 0.05)
    return moved


def test_a_zone_that_is_short_does_not_swing_its_devices_to_find_out_what_they_want():
    rng = np.random.default_rng(4)
    demand_w = rng.uniform(FLOOR_W, 500.0, 100)
    moved = turns(demand_w, rng.integers(0, 10, 100), 0.85 * demand_w.sum())
    assert moved < 100 * 60 / 6  # each is let up now and then, to look; they swung every four seconds before
