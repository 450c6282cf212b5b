"""Figures for people: four digits at most, with their unit."""

from __future__ import annotations


def power(watts: float | None) -> str:
    """Format watts."""
    if watts is None:
        return "-"
    return f"{watts:.0f} W" if watts < 10_000 else f"{watts / 1e3:.1f} kW"


def energy(joules: float | None) -> str:
    """Format joules as the unit a bill uses, or joules when there are few."""
    if joules is None:
        return "-"
    if joules < 3_600:
        return f"{joules:.0f} J"
    return f"{joules / 3.6e3:.1f} Wh" if joules < 3.6e6 else f"{joules / 3.6e6:.2f} kWh"
