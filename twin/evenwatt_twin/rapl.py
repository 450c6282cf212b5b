"""The arithmetic of RAPL registers as the kernel's ``intel_rapl`` driver does it.

Pure. https://docs.kernel.org/power/powercap/powercap.html and ``drivers/powercap/intel_rapl_common.c``.
"""

from __future__ import annotations

from typing import Final

COUNTER_MASK: Final = 0xFFFF_FFFF
"""Energy registers are 32 bits wide."""

UNIT_61UJ: Final = 61_035
"""2**-14 J in nanojoules, the unit of Intel packages as the kernel rounds it; wraps at 262143328850 uJ."""
UNIT_15UJ: Final = 15_300
"""15.3 uJ in nanojoules, the unit of Intel server memory; wraps at 65712999613 uJ."""
UNIT_AMD: Final = 15_258
"""2**-16 J in nanojoules as the kernel rounds it, the unit of AMD packages; wraps at 65532610987 uJ."""

POWER_UNIT_UW: Final = 125_000
"""Power limits are kept in eighths of a watt..."""
POWER_MASK: Final = 0x7FFF
"""...in 15 bits."""

TIME_UNIT_US: Final = 976
"""Time windows are kept in 2**-10 s, as the kernel rounds it."""


def range_uj(unit_nj: int) -> int:
    """Return ``max_energy_range_uj``: the highest value that a counter shows before it starts again at 0."""
    return COUNTER_MASK * unit_nj // 1000


def counter_uj(raw: int, unit_nj: int) -> int:
    """Return ``energy_uj`` for a register's content."""
    return (raw & COUNTER_MASK) * unit_nj // 1000


def admit_limit(asked_uw: int, _current_uw: int) -> int:
    """Return the limit that reads back: cut to 0.125 W, and silently to 15 bits, since the driver checks no range."""
    return (asked_uw // POWER_UNIT_UW & POWER_MASK) * POWER_UNIT_UW


def admit_window(asked_us: int, current_us: int) -> int:
    """Return the time window that reads back: the register keeps (1 + f/4) * 2**y units, f in 0..3, y in 0..31."""
    units = asked_us // TIME_UNIT_US
    if units == 0:
        return current_us  # a window of 0 has no logarithm: the register is left alone
    y = min(units.bit_length() - 1, 31)
    f = min((units - (1 << y)) * 4 >> y, 3)
    return (1 << y) * (4 + f) * TIME_UNIT_US // 4


def admit_switch(asked: int, current: int) -> int:
    """Return what ``enabled`` reads back: only 0 and 1 are taken."""
    return asked if asked in {0, 1} else current
