"""The time and the places that a job may use in one attempt. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evenwatt_collector.plan.work import Option, Work


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when, where. Times from the start of the clock."""

    work: Work
    earliest: float
    """After what it waits for."""
    latest: float
    """It must have ended then; infinite: whenever."""
    options: tuple[Option, ...]
    beyond: bool = False
    """Whether it may go beyond what is forecast although it would fit before."""
