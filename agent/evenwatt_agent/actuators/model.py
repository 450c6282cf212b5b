"""What an actuator offers: one limit in watts that can be written, read back, and given back.

Some knobs speak watts (a power limit). Others do not (a frequency ceiling, a quota of processor time): those are a
:class:`Lever`, and ``throttle.Throttle`` makes a knob in watts of one by watching the power that it leads to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class LockedError(OSError):
    """The device refuses a limit, or takes it and reads back another."""


@dataclass(frozen=True, slots=True)
class Original:
    """A value found before the first write, in the words of the restorer (``evenwatt_agent.restore``).

    ``kind`` is ``file`` (``where`` is a path), ``quota`` (a ``cpu.max``, value in microseconds or -1 for ``max``),
    ``nvml`` (a board's UUID, value in milliwatts), ``nvml-clocks`` (a board's UUID, value 0) or ``signal`` (``where``
    is ``PID:start time``, value a signal number).
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
        """``powercap``, ``nvml``, ``hwmon``, ``cpufreq``, ``cpu.max`` or ``nvml-clocks``."""

    @property
    def domain(self) -> str:
        """The domain whose power it limits."""

    @property
    def floor_w(self) -> float:
        """Least limit we write."""

    @property
    def ceiling_w(self) -> float:
        """Largest limit we write: never above what was in force before."""

    @property
    def delay_s(self) -> float:
        """From a lower limit being written until power must have followed it."""

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


class Lever(Protocol):
    """Something that slows a domain down, as a share of its full setting. Calls may block for milliseconds."""

    @property
    def kind(self) -> str:
        """``cpufreq``, ``cpu.max`` or ``nvml-clocks``."""

    @property
    def least(self) -> float:
        """Smallest share that can be set, above 0."""

    @property
    def delay_s(self) -> float:
        """From a setting being written until power shows it."""

    def originals(self) -> list[Original]:
        """What to write back to undo everything this lever does."""

    def read(self) -> float:
        """Return the share that the device says is in force; raises :class:`OSError` if it says nothing."""

    def set(self, share: float) -> None:
        """Set a share between ``least`` and 1; 1 is what was found at the start.

        Raises:
            LockedError: the device refused it.
            OSError: the device is gone.
        """
