"""Moments as people type them."""

from __future__ import annotations

import re
from datetime import datetime, time

from evenwatt_cli.steer import seconds
from evenwatt_daemon import Failure


def moment(text: str, now_s: float) -> float:
    """Read ``2026-01-15T17:00:00+01:00``, ``17:00`` (today, this machine's zone) or ``10m ago``; return Unix time.

    Raises:
        Failure: it is none of these.
    """
    ago = re.fullmatch(r"(.+?)\s+ago", text.strip())
    if ago:
        return now_s - seconds(ago[1])
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text.strip()):
            today = datetime.fromtimestamp(now_s).astimezone()
            return datetime.combine(today, time.fromisoformat(text.strip().zfill(5))).astimezone().timestamp()
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except ValueError:
        raise Failure(
            f"--at {text!r} is not a time; write 2026-01-15T17:00:00+01:00, 17:00 for today, or '10m ago'"
        ) from None


def clock(wall_s: float) -> str:
    """Return a moment in this machine's zone, with its offset."""
    return datetime.fromtimestamp(wall_s).astimezone().isoformat(sep=" ", timespec="seconds")
