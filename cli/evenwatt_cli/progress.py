"""How long work stands, on standard error of a terminal; where that is none, nothing at all.

A bar or a spinner comes only after a moment, so that what is quick shows none, and it is gone when the work is done:
what stays on the screen is the answer.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.progress import Progress

_AFTER_S: Final = 0.5
_EVERY_S: Final = 0.1


@contextmanager
def waiting(what: str) -> Generator[None]:
    """Say that something is being waited for, with the seconds that have passed."""
    if not sys.stderr.isatty():
        yield
        return
    from threading import Timer

    shown = _progress(measured=False)
    shown.add_task(what, total=None)
    timer = Timer(_AFTER_S, shown.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        shown.stop()


@contextmanager
def counting(what: str, total: float | None = None) -> Generator[Callable[[float], None]]:
    """Give a function that takes how much is done by now; with ``total`` a bar and the time that is left."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    shown = _progress(measured=total is not None)
    task = shown.add_task(what, total=total)
    began_s = told_s = time.monotonic()

    def tell(done: float) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s < _EVERY_S:
            return
        told_s = now_s
        if not shown.live.is_started and now_s - began_s >= _AFTER_S:
            shown.start()
        words = what if total is not None else f"{what}: {done:,.0f} rows"
        shown.update(task, completed=done, description=words)

    try:
        yield tell
    finally:
        shown.stop()


def _progress(*, measured: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    about = TextColumn("{task.description}", markup=False)
    columns = (
        (about, BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
        if measured
        else (SpinnerColumn(), about, TimeElapsedColumn())
    )
    return Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5)
