"""Amounts of energy and mass in words, in the unit that fits, and units as people say them. Pure."""

from __future__ import annotations

from typing import Final

_MASS: Final = ((1e-6, "µg"), (1e-3, "mg"), (1.0, "g"), (1e3, "kg"), (1e6, "t"))
_SHORT: Final = 3
"""Names of units with as few letters are abbreviations."""
_ENERGY: Final = ((3.6e3, "Wh"), (3.6e6, "kWh"), (3.6e9, "MWh"))


def mass(grams: float) -> str:
    """Format grams."""
    return _scaled(grams, _MASS)


def energy(joules: float) -> str:
    """Format joules as watt-hours."""
    return _scaled(joules, _ENERGY)


def singular(unit: str) -> str:
    """Return a unit of work as it stands after "per": ``frame`` of ``frames``; others as they are."""
    plural = len(unit) > _SHORT and unit.endswith("s") and not unit.endswith(("ss", "us", "is", "_s"))
    return unit[:-1] if plural else unit


def counted(unit: str) -> str:
    """Return a unit of work as it stands after a number: ``frames`` of ``frame`` and of ``frames``."""
    return unit if unit != singular(unit) or unit.endswith("s") else f"{unit}s"


def _scaled(value: float, scales: tuple[tuple[float, str], ...]) -> str:
    size, unit = next(((size, unit) for size, unit in scales if float(f"{value / size:.3g}") < 1000), scales[-1])
    return f"{float(f'{value / size:.3g}'):g} {unit}"
