"""What the doctor says: one finding for each thing it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """What was found."""

    FOUND = "found"
    """It works."""
    ABSENT = "absent"
    """This machine has none; that is no fault."""
    DENIED = "denied"
    MASKED = "masked"
    """A container runtime hides it."""
    BROKEN = "broken"
    """It is there and does not answer, or answers nonsense."""
    LOCKED = "locked"
    """The device does not take what is written."""
    SKIPPED = "skipped"
    """Not asked for, or not possible now."""


UNHEALTHY: Final = frozenset({Verdict.DENIED, Verdict.MASKED, Verdict.BROKEN, Verdict.LOCKED})


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    verdict: Verdict
    detail: str
    fix: str = ""
