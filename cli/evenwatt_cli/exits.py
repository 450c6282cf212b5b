"""Exit codes of the command line, the same for every verb."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


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
    """The node or the collector refused; an audit log is not whole."""
    TIMEOUT = 5
    """Nobody answered in time."""
    WAIT = 10
    """``advise``: not now. No other verb ends with it, so that a script can wait on it alone."""


MEANINGS: Final = {
    Exit.OK.value: "done",
    Exit.FAILURE.value: "failed, and not by the caller's fault: nobody answers, a file cannot be written, work failed",
    Exit.USAGE.value: "the call, the settings or what was handed in must be changed",
    Exit.DEGRADED.value: "done, and something needs a person: a node is silent, an alarm is raised, a cap was clamped",
    Exit.REJECTED.value: "refused: by a node, by the collector (a token that may not), or since proof is missing",
    Exit.TIMEOUT.value: "no answer in time; what was asked for may have happened all the same",
    Exit.WAIT.value: "of advise alone: not now",
}
"""For manual pages and the documentation."""
