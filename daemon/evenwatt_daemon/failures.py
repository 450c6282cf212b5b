"""How a daemon dies: one clear line with the fix, and an exit code that tells systemd whether waiting can help."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
"""The configuration or the machine must be changed; a restart cannot help (``RestartPreventExitStatus=2``)."""


class Failure(Exception):  # noqa: N818  (it is how a run ends, and reads better as a noun)
    """An error its reader can act on: what was found, what was expected, and the fix, in one line."""

    def __init__(self, message: str, *, exit_code: int = EXIT_USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_daemon(
    main: Callable[[asyncio.Event], Coroutine[Any, Any, None]], name: str, *, fast_loop: bool = False
) -> int:
    """Run ``main(stop)`` until it returns; SIGTERM and SIGINT set ``stop``. Return the process exit code.

    With ``fast_loop`` uvloop is used where it is installed: worth its 2 MB for thousands of messages a second, not for
    ten. A :class:`Failure` from anywhere inside becomes one line on standard error.
    """

    async def guarded() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        on_reload(lambda: None)  # a daemon that has nothing to read anew must not die of it
        await main(stop)

    try:
        with asyncio.Runner(loop_factory=_uvloop() if fast_loop else None) as runner:
            runner.run(guarded())
    except BaseExceptionGroup as group:
        failure = first_failure(group)
        if failure is None:
            raise
        return _say(name, failure)
    except Failure as failure:
        return _say(name, failure)
    return EXIT_OK


def on_reload(call: Callable[[], None]) -> None:
    """Call this, in the running loop, whenever the service manager or a person asks to look at files anew (SIGHUP)."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, call)


def first_failure(group: BaseExceptionGroup[BaseException]) -> Failure | None:
    """The one :class:`Failure` a group of exceptions is about, or None if something unforeseen is in it."""
    failures, others = group.split(Failure)
    if failures is None or others is not None:
        return None
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, Failure) else None


def _say(name: str, failure: Failure) -> int:
    print(f"{name}: {failure}", file=sys.stderr)  # noqa: T201  (the last words go to the person, not to a log)
    return failure.exit_code


def _uvloop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  (optional: faster, not needed)
    except ImportError:
        return None
    return uvloop.new_event_loop
