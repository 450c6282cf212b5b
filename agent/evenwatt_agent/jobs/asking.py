"""Commands that stand for signals where work lives elsewhere: of a container engine or of systemd. Standard library."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import Final

_PATIENCE_S: Final = 20.0
_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def answers(command: list[str]) -> bool:
    """Run a command; return whether it ended with 0."""
    done = _run(command)
    return done is not None and done.returncode == 0


def answer(command: list[str]) -> str:
    """Run a command and return what it printed; empty where it cannot be run or does not end."""
    done = _run(command)
    return done.stdout.decode(errors="replace") if done is not None else ""


def _run(command: list[str]) -> subprocess.CompletedProcess[bytes] | None:
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_PATIENCE_S, env=_ENVIRONMENT
        )
    return None


def start_command(command: list[str]) -> None:
    """Start a command and do not wait for it: it is reaped like every child."""
    with suppress(OSError):
        os.posix_spawn(command[0], command, _ENVIRONMENT)
