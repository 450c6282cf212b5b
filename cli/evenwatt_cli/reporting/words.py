"""Figures for people: three significant digits and the unit that fits them."""

from __future__ import annotations

from datetime import datetime
from math import floor, isfinite, log10
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENERGY: Final = ((3.6, "mWh"), (3.6e3, "Wh"), (3.6e6, "kWh"), (3.6e9, "MWh"), (3.6e12, "GWh"))
_MASS: Final = ((1e-6, "µg"), (1e-3, "mg"), (1.0, "g"), (1e3, "kg"), (1e6, "t"), (1e9, "kt"))
_VOLUME: Final = ((1e-3, "ml"), (1.0, "l"), (1e3, "m³"))
_TIME: Final = ((1.0, "s"), (60.0, "min"), (3_600.0, "h"), (86_400.0, "d"))
UNKNOWN: Final = "-"


def energy(joules: float | None) -> str:
    """Format joules as watt-hours."""
    return _scaled(joules, _ENERGY, "Wh")


def mass(grams: float | None) -> str:
    """Format grams."""
    return _scaled(grams, _MASS, "g")


def volume(litres: float | None) -> str:
    """Format litres."""
    return _scaled(litres, _VOLUME, "l")


def span(seconds: float) -> str:
    """Format a length of time."""
    scale = next((scale for scale in reversed(_TIME) if seconds >= scale[0]), _TIME[0])
    return f"{digits(seconds / scale[0])} {scale[1]}"


def share(part: float | None) -> str:
    """Format a share of one as per cent; what is not nothing is never shown as 0, what is not all never as 100."""
    if part is None or not isfinite(part):
        return UNKNOWN
    percent = 100 * part
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{digits(percent)} %"


def digits(value: float | None) -> str:
    """Format a number with three significant digits, with thousands set apart."""
    if value is None or not isfinite(value):
        return UNKNOWN
    rounded = float(f"{value:.3g}")
    if rounded == 0:
        return "0"
    size = floor(log10(abs(rounded)))
    return f"{rounded:.2e}" if size < -4 or size > 12 else f"{rounded:,.{max(0, 2 - size)}f}"


def signed(value: float) -> str:
    """Format a difference in per cent."""
    return f"{100 * value:+.3g} %"


def mass_range(low_g: float, high_g: float | None) -> str:
    """Format a range of grams."""
    return f"at least {mass(low_g)}" if high_g is None else f"{mass(low_g)} to {mass(high_g)}"


def period(start_s: float, end_s: float, timezone: str) -> str:
    """Format a period in a time zone, with offsets where they differ or the times are not midnights."""
    start, end = (datetime.fromtimestamp(at, ZoneInfo(timezone)) for at in (start_s, end_s))
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} ({timezone})"


def moment(wall_s: float, timezone: str) -> str:
    """Format a moment with its offset."""
    return datetime.fromtimestamp(wall_s, ZoneInfo(timezone)).isoformat(sep=" ", timespec="seconds")


def _scaled(value: float | None, scales: Sequence[tuple[float, str]], plain: str) -> str:
    if value is None or not isfinite(value):
        return UNKNOWN
    if value == 0:
        return f"0 {plain}"
    scale = next((s for s in scales if abs(float(f"{value / s[0]:.3g}")) < 1_000), scales[-1])
    return f"{digits(value / scale[0])} {scale[1]}"
