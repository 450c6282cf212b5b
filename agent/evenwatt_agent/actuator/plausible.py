"""What the actuator believes of the power that an agent tells: only known domains, only what they can draw. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_agent.actuator.protocol import Power

_MOST_W: Final = 1e6
"""Of a whole node: beyond anything that one rack of them draws."""


def believable(said: Power, most_w: Mapping[str, float]) -> tuple[float, dict[str, float]] | None:
    """Return the power of the node and of each domain, or None where a figure is not a number.

    Args:
        said: What the agent sent.
        most_w: What each domain that the actuator itself has found can draw at most.
    """
    if not all(map(math.isfinite, (said.total_w, *said.domains.values()))):
        return None
    known = {name: min(power_w, most_w[name]) for name, power_w in said.domains.items() if name in most_w}
    return min(said.total_w, _MOST_W), known
