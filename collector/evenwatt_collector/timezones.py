"""Time zones by their IANA names, as a person or a client writes them."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

_LONGEST: Final = 64
"""Twice the longest IANA name. ``zoneinfo`` looks for each part of a name as a package, as deep as it goes."""


def known_timezone(name: str) -> ZoneInfo | None:
    """Return a time zone; None if this machine knows none of this name."""
    if len(name) > _LONGEST:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
