import random
import time

from evenwatt_collector.control import Limits, ZoneController
from tests.control.model import seen


def test_ten_thousand_nodes_in_one_step():
    """Half of them busy, all classes and weights; the bound is loose, for shared machines."""
    rng, count = random.Random(7), 10_000
    zone, caps, times = ZoneController(Limits(budget_w=count * 250)), {}, []
    wants = [rng.choice([87.0, 500.0]) for _ in range(count)]
    for now in range(8):
        draws = [min(want, caps.get(f"n{i}", 150.0)) for i, want in enumerate(wants)]
        nodes = [
            seen(f"n{i}", power_w=w, peak_w=w * 1.01, priority=i % 10, weight=1 + i % 3) for i, w in enumerate(draws)
        ]
        began = time.perf_counter()
        decision = zone.step(float(now), nodes)
        times.append(time.perf_counter() - began)
        for grant in decision.grants:
            caps[grant.node] = grant.cap_w
            zone.acknowledge(grant.node, grant.seq, "applied", grant.cap_w, now + 0.3)
        assert sum(caps.values()) <= 0.97 * count * 250
    print("ms per step:", *(f"{1e3 * took:.0f}" for took in times))
    assert sorted(times)[4] < 1.0
