"""Keeping a daemon small: what is loaded for nothing, and what the allocator keeps for nothing."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def without_rich() -> Iterator[None]:
    """Let modules imported inside believe that ``rich`` is not installed.

    structlog loads it (4 MB) for tracebacks in colour, which a daemon never prints; it is installed where the command
    line shares the environment.
    """
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # what makes an import fail (import system reference)
    try:
        yield
    finally:
        del sys.modules["rich"]


def settle() -> None:
    """Give back what start-up used: its garbage, and the heap that glibc would keep (malloc_trim(3)).

    What is left lives as long as the process, so the collector need not look at it again (``gc.freeze``).
    """
    gc.collect()
    gc.freeze()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc only
        libc.malloc_trim(0)
