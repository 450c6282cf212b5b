"""What an actuator offers: one limit in watts that can be written, read back, and given back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class LockedError(OSError):
    """The device refuses a limit, or takes it and reads back another."""


@dataclass(frozen=True, slots=True)
class Original:
    """A value found before the first write, in the words of the restorer (``evenwatt_agent.restore``).

    ``kind`` is ``file`` (``where`` is a path), ``nvml`` (a board's UUID, value in milliwatts) or ``signal``
    (``where`` is ``PID:start time``, value a signal number).
    """

    kind: str
    where: str
    value: str


class Knob(Protocol):
    """One power limit of one domain. Calls may block for milliseconds: keep them off the event loop."""

    @property
    def id(self) -> str:
        """Unique on the node."""

    @property
    def kind(self) -> str:
        """``powercap``, ``nvml`` or ``hwmon``."""

    @property
    def domain(self) -> str:
        """The domain whose power it limits."""

    @property
    def floor_w(self) -> float:
        """Least limit we write."""

    @property
    def ceiling_w(self) -> float:
        """Largest limit we write: never above what was in force before."""

    def originals(self) -> list[Original]:
        """What to write back to undo everything this knob does."""

    def read(self) -> float:
        """Return the limit that the device says is in force, in watts; raises :class:`OSError` if it says nothing."""

    def write(self, limit_w: float) -> float:
        """Set the limit and return what the device then says it is, in watts.

        Raises:
            LockedError: the device refused or ignored it.
            OSError: the device is gone.
        """
