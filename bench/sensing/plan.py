"""How long everything takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Plan:
    """Seconds, and rounds."""

    rounds: int
    sample_s: float
    agent_s: float
    calm_s: float
    disturbed_s: float
    broker_away_s: float
    share_s: float


FULL: Final = Plan(
    rounds=5, sample_s=10.0, agent_s=30.0, calm_s=20.0, disturbed_s=40.0, broker_away_s=10.0, share_s=30.0
)
QUICK: Final = Plan(rounds=1, sample_s=2.0, agent_s=5.0, calm_s=5.0, disturbed_s=12.0, broker_away_s=4.0, share_s=8.0)
