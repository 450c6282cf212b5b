"""What can go wrong, each with its cause and the fix, in one line."""

from __future__ import annotations


class TwinError(Exception):
    """A twin cannot be built or run."""

    def __init__(self, cause: str, fix: str) -> None:
        self.cause = cause
        self.fix = fix
        super().__init__(f"{cause}. Fix: {fix}")


class SpecError(TwinError):
    """A spec file does not describe a machine."""


class CompilerMissingError(TwinError):
    """The fake NVML library cannot be built here."""
