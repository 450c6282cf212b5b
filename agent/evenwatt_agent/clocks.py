"""The clocks of this machine. Time that counts is monotonic; wall time is a label and the age of a command."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Final

_TIME_ERROR: Final = 5
"""adjtimex(2): the clock is not synchronised."""


def wall_ms() -> int:
    """Milliseconds since 1970 by the wall clock."""
    return time.time_ns() // 1_000_000


def suspended_ns() -> int:
    """Time this machine has spent suspended since it booted: CLOCK_BOOTTIME runs on, CLOCK_MONOTONIC does not."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()


def lease_s() -> float:
    """Seconds that leases are counted in: since this machine booted, with those that it was suspended.

    Whoever granted a lease has counted on while the machine slept.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def kernel_boot() -> str:
    """The kernel's boot id; monotonic times are comparable within one only."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def new_boot_id() -> str:
    """A fresh id for this run of the agent: 16 hexadecimal digits, sortable by start for people."""
    return f"{wall_ms():012x}"[-12:] + os.urandom(2).hex()


def clock_synchronised() -> bool:
    """Whether the kernel believes that the wall clock is disciplined (by NTP or the hypervisor)."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_long * 64)()  # struct timex; all zero means: only ask
    return int(libc.adjtimex(ctypes.byref(buffer))) != _TIME_ERROR
