"""Lengths and moments as people write them in a job: ``45m``, ``1h30m``, ``+8h``, ``2026-11-27T18:00:00Z``. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

LONGEST_S: Final = 366 * 86_400.0
_LATEST_S: Final = 32_503_680_000.0
"""The end of 2999."""

_UNITS: Final = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "min": 60.0, "s": 1.0}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(min|[wdhms])")
_DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:min|[wdhms]))+")
_LENGTHS: Final = 'a length of time such as "45m", "1h30m" or "2d" (s, m, h, d, w; the longest is a year)'
_MOMENTS: Final = (
    'a moment with its offset such as "2026-11-27T18:00:00Z" or "2026-11-27T19:00:00+01:00", or a time from now such '
    'as "+8h"'
)


def duration_s(text: str) -> float:
    """Return a length of time in seconds.

    Raises:
        ValueError: it is none, saying what was expected.
    """
    compact = re.sub(r"\s+", "", text.lower())
    if not _DURATION.fullmatch(compact):
        raise ValueError(f"expected {_LENGTHS}")
    parts = _PART.findall(compact)
    ranks = [_UNITS[unit] for _, unit in parts]
    if ranks != sorted(set(ranks), reverse=True):
        raise ValueError(f"expected {_LENGTHS}, each unit once and the largest first")
    total_s = sum(float(amount) * _UNITS[unit] for amount, unit in parts)
    if not 0 < total_s <= LONGEST_S:
        raise ValueError(f"expected {_LENGTHS}, more than none")
    return total_s


def moment_s(text: str, now_s: float) -> float:
    """Return a moment as Unix time; ``+8h`` counts from ``now_s``, and ``now`` is now.

    Raises:
        ValueError: it is none, saying what was expected.
    """
    stripped = text.strip()
    if stripped.lower() == "now":
        return now_s
    if stripped.startswith("+"):
        try:
            return now_s + duration_s(stripped[1:])
        except ValueError:
            raise ValueError(f"expected {_MOMENTS}") from None
    try:
        moment = datetime.fromisoformat(stripped)
        wall_s = moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        raise ValueError(f"expected {_MOMENTS}") from None
    if wall_s is None:
        raise ValueError(f"it has no offset from UTC; expected {_MOMENTS}")
    if not 0 <= wall_s <= _LATEST_S:
        raise ValueError(f"expected {_MOMENTS}, between 1970 and 2999")
    return wall_s


def in_words(seconds: float) -> str:
    """Return a length of time in its two largest units, as ``1h 30m``."""
    left = round(abs(seconds))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts[:2]) or "0s"


def spelled(seconds: float) -> str:
    """Return a length of time for a sentence, as ``1 h 30 min``."""
    return re.sub(r"(\d+)([dhms])", lambda part: f"{part[1]} {'min' if part[2] == 'm' else part[2]}", in_words(seconds))


def stamp(wall_s: float, *, up: bool = False) -> str:
    """Return a moment in UTC, to the minute; ``up`` to the next one, so that it is not before."""
    wall_s = -(-wall_s // 60) * 60 if up else wall_s
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d %H:%M} UTC"
