"""Moments as people type them, in this machine's time zone."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from evenwatt_collector.report import periods


def moment(text: str, now_s: float, option: str = "--at") -> float:
    """Read a moment such as ``2026-01-15T17:00:00+01:00``, ``17:00`` (today) or ``10m ago``; return Unix time.

    Raises:
        Failure: it is none.
    """
    return periods.moment(text, now_s, periods.zone(machine_zone(), "TZ"), option)


def machine_zone() -> str:
    """Return the IANA name of this machine's zone: ``$TZ``, else what /etc/localtime points to, else UTC."""
    named = os.environ.get("TZ", "").removeprefix(":")
    if named:
        return named.rpartition("zoneinfo/")[2]
    _, found, name = str(Path("/etc/localtime").resolve()).rpartition("/zoneinfo/")
    return name.removeprefix("posix/").removeprefix("right/") if found else "UTC"


def clock(wall_s: float) -> str:
    """Return a moment in this machine's zone, with its offset."""
    return datetime.fromtimestamp(wall_s).astimezone().isoformat(sep=" ", timespec="seconds")
