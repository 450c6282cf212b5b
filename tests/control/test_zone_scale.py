import tracemalloc

import numpy as np

from evenwatt_collector.control import Controller, Observations, ZoneSpec, ZoneTree


def fleet(count, rng):
    seen = Observations(count)
    seen.present[:] = seen.online[:] = seen.controllable[:] = True
    seen.floor_w[:], seen.ceiling_w[:], seen.fallback_w[:], seen.age_s[:] = 60, 500, 150, 0.5
    seen.priority[:], seen.weight[:] = np.arange(count) % 10, 1 + np.arange(count) % 3
    return seen, rng.choice([87.0, 500.0], count)


def test_ten_thousand_nodes_in_a_site_of_250_racks_keep_every_limit():
    """Half of them busy, all classes and weights; after the first steps memory stands still."""
    rng, count = np.random.default_rng(7), 10_000
    tree = ZoneTree.of(
        [ZoneSpec("site"), *(ZoneSpec(f"f{f}", "site") for f in range(10)),
         *(ZoneSpec(f"r{r}", f"f{r % 10}") for r in range(250))]
    )  # fmt: skip
    seen, wants = fleet(count, rng)
    seen.zone[:] = 11 + np.arange(count) % 250
    budget_w = np.concatenate(([count * 250.0], np.full(10, count * 26.0), np.full(250, 40 * 300.0)))
    controller, caps_w = Controller(tree), np.full(count, 150.0)
    controller.set_limits(budget_w)
    sizes = []
    for now in range(12):
        seen.power_w[:] = seen.peak_w[:] = seen.window_peak_w[:] = np.minimum(wants, caps_w)
        decision = controller.step(float(now), seen)
        grants = decision.grants
        caps_w[grants.slot] = grants.cap_w
        controller.acknowledge_many(grants.slot, grants.seq, grants.cap_w, now + 0.3)
        assert np.all(tree.totals(seen.zone, caps_w) <= 0.98 * budget_w)
        assert np.all(decision.most_w <= 0.98 * budget_w * (1 + 1e-9))
        if now == 4:
            tracemalloc.start()
        if now > 4:
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert caps_w.sum() > 0.8 * 0.995 * 0.98 * budget_w[0]
    assert sizes[-1] < sizes[1] + 500_000
