"""A node that loses its actuator, and gets it back, is no load that rises: nothing is kept free for it."""

import numpy as np

from evenwatt_collector.control import Controller, Observations, ZoneSpec, ZoneTree

FLOOR_W, FALLBACK_W, CEILING_W, BUDGET_W = 100.0, 150.0, 500.0, 700.0
GONE, BACK, END = 60, 70, 80


def test_room_is_handed_out_as_soon_as_a_node_is_steered_again():
    controller, seen = Controller(ZoneTree.of([ZoneSpec("z")])), Observations(2)
    controller.set_limits(np.array([BUDGET_W]))
    seen.present[:] = seen.online[:] = seen.controllable[:] = True
    seen.floor_w[:], seen.ceiling_w[:], seen.fallback_w[:], seen.age_s[:] = FLOOR_W, CEILING_W, FALLBACK_W, 0.2
    cap_w = np.full(2, FALLBACK_W)
    for now_s in range(END):
        lost = GONE <= now_s < BACK
        seen.controllable[0] = not lost
        if lost:
            cap_w[0] = 420.0  # its own limits are back, and its work takes what it can
        elif now_s == BACK:
            cap_w[0] = FALLBACK_W
        power_w = np.minimum(420.0, cap_w)
        seen.power_w[:] = seen.peak_w[:] = seen.window_peak_w[:] = power_w
        seen.held_w[:] = cap_w
        grants = controller.step(float(now_s), seen).grants
        cap_w[grants.slot] = grants.cap_w
        controller.acknowledge_many(grants.slot, grants.seq, grants.cap_w, now_s + 0.05)
    assert 0.9 * BUDGET_W < cap_w.sum() <= BUDGET_W
