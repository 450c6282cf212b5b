"""Keeping a daemon small: what is loaded for nothing, and what the allocator keeps for nothing."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


_NEEDLESS: Final = ("colorama", "greenlet", "rich")


@contextmanager
def without_needless() -> Iterator[None]:
    """Let modules imported inside believe that some others are not installed.

    structlog loads what it finds of them (5 MB): for tracebacks in colour, for Windows, for another way of threads. A
    daemon needs none; they are installed where the command line or the tests share the environment.
    """
    absent = [name for name in _NEEDLESS if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # what makes an import fail (import system reference)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


@contextmanager
def without_proxies() -> Iterator[None]:
    """Let paho, imported inside, do without ``urllib.request``, which brings HTTP and mail along (2 MB).

    paho asks it for a proxy, and does so only where PySocks is installed; there this does nothing.
    """
    name = "urllib.request"
    if name in sys.modules or importlib.util.find_spec("socks") is not None:
        yield
        return
    sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]


def settle() -> None:
    """Give back what start-up used: its garbage, and the heap that glibc would keep (malloc_trim(3)).

    What is left lives as long as the process, so the collector need not look at it again (``gc.freeze``).
    """
    gc.collect()
    gc.freeze()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc only
        libc.malloc_trim(0)
