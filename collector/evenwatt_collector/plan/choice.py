"""What is meant for a job, while a plan is in the making. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evenwatt_collector.plan.problem import Segment
    from evenwatt_collector.plan.work import Piece


@dataclass(slots=True)
class Choice:
    """What was found for a job."""

    pieces: tuple[Piece, ...]
    cost: float
    """What decided, in grams."""
    late: bool = False
    why: str = ""
    bound: float = inf
    """What it could weigh at the least, if it were alone."""
    segments: tuple[Segment, ...] | None = None
    """The same as ``pieces`` in Unix time, once they are written out."""
