"""What the actuator believes of the power that an agent tells: only known domains, only what they can draw. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evenwatt_agent.actuator.protocol import Power
    from evenwatt_agent.sources import Probe
    from evenwatt_wire import Domain


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that can be drawn on this machine, as the actuator itself has found it."""

    total_w: float
    domains_w: Mapping[str, float]

    @classmethod
    def of(cls, probes: Sequence[Probe], domains: Sequence[Domain]) -> Bounds:
        """Take them from an inventory: each counter's own bound, and their sum over what counts as the node."""
        most_w = {probe.domain.id: probe.max_power_w for probe in probes}
        return cls(sum(most_w[domain.id] for domain in domains if domain.in_total), most_w)

    def believe(self, said: Power) -> tuple[float, dict[str, float]] | None:
        """Return the power of the node and of each domain, or None where a figure is not a number."""
        if not all(map(math.isfinite, (said.total_w, *said.domains.values()))):
            return None
        known = self.domains_w
        domains = {name: min(power_w, known[name]) for name, power_w in said.domains.items() if name in known}
        return min(said.total_w, self.total_w), domains
