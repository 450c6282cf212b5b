"""Exit codes of the command line, the same for every verb."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a script may rely on."""

    OK = 0
    FAILURE = 1
    """Something broke that was not the caller's fault."""
    USAGE = 2
    """The call, the settings or the input must be changed."""
    DEGRADED = 3
    """It works, but not all of it: a node is silent, an alarm is raised."""
    REJECTED = 4
    """The node refused the command; an audit log is not whole."""
    TIMEOUT = 5
    """Nobody answered in time."""
    WAIT = 10
    """``advise``: not now. No other verb ends with it, so that a script can wait on it alone."""
