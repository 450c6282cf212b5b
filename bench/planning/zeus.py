"""Zeus's sweep of power limits, re-implemented from its description (zeus/optimizer/power_limit.py; NSDI 2023, 4.2).

From the highest limit down, at each limit 10 steps are run and not measured, then 40 are. The limit with the least cost
eta x energy + (1 - eta) x highest limit x time is kept for good. Published steps are 25 W apart; here they are the
table's limits. The original begins a limit again if an epoch ends meanwhile, which with short epochs never succeeds;
that is left out, to its favour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.planning.gpu_plant import Plant

WARMUP_STEPS = 10
PROFILE_STEPS = 40


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep measured, by limit."""

    energy_j: dict[float, float]
    seconds: dict[float, float]
    steps: int
    """Run in all, the whole sweep."""

    def choose(self, eta: float) -> float:
        """Return the limit with the least cost."""
        most_w = max(self.energy_j)
        return min(
            self.energy_j, key=lambda limit: eta * self.energy_j[limit] + (1 - eta) * most_w * self.seconds[limit]
        )


def sweep(plant: Plant) -> Swept:
    """Run the sweep on a device."""
    energy_j, seconds = {}, {}
    for limit_w in reversed(plant.row.limits_w):
        plant.limit_w = limit_w
        plant.run(WARMUP_STEPS)
        seconds[limit_w], energy_j[limit_w] = plant.run(PROFILE_STEPS)
    return Swept(energy_j, seconds, (WARMUP_STEPS + PROFILE_STEPS) * len(energy_j))
