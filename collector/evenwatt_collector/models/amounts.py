"""Amounts of energy and mass in words, in the unit that fits. Pure."""

from __future__ import annotations

from typing import Final

_MASS: Final = ((1e-6, "µg"), (1e-3, "mg"), (1.0, "g"), (1e3, "kg"), (1e6, "t"))
_ENERGY: Final = ((3.6e3, "Wh"), (3.6e6, "kWh"), (3.6e9, "MWh"))


def mass(grams: float) -> str:
    """Format grams."""
    return _scaled(grams, _MASS)


def energy(joules: float) -> str:
    """Format joules as watt-hours."""
    return _scaled(joules, _ENERGY)


def _scaled(value: float, scales: tuple[tuple[float, str], ...]) -> str:
    size, unit = next(((size, unit) for size, unit in scales if float(f"{value / size:.3g}") < 1000), scales[-1])
    return f"{float(f'{value / size:.3g}'):g} {unit}"
