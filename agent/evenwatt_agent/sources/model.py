"""What a source offers: probes that can be read, and problems that a person can mend."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_wire import Domain

_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9_.:-]")


class ReadError(OSError):
    """A probe could not be read this time; the text says why."""


class Unit(StrEnum):
    """What a probe's number means."""

    ENERGY_UJ = "energy_uj"
    """A cumulative counter in microjoules."""
    POWER_UW = "power_uw"
    """Power at this moment in microwatts; energy has to be integrated."""


def plain_id(text: str, most: int = 40) -> str:
    """Return what a driver calls something as a part of a domain's identifier, which has 96 letters at the most.

    A name of more than ``most`` letters is cut, and told apart from others by a sum of it.
    """
    plain = _NOT_PLAIN.sub("_", text)
    return plain if len(plain) <= most else f"{plain[: most - 9]}-{crc32(text.encode()):08x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One readable number.

    ``read`` may be called from a sampler thread; it returns the raw number or raises :class:`OSError` or
    :class:`ValueError`. ``reopen`` is tried when reading has failed for a while: the device may be back.
    """

    domain: Domain
    unit: Unit
    read: Callable[[], int]
    reopen: Callable[[], None]
    close: Callable[[], None]
    fd: int | None = None
    """Held descriptor of a file with one integer, for the sampler to read by itself: a fifth cheaper than ``read``. Its
    number stays when the file is opened again."""
    slow: bool = False
    """Takes milliseconds (a driver call, a bus): kept off the fast sampler."""
    range_uj: int = 0
    """Counter value at which it wraps to zero; 0 when it does not wrap."""
    max_power_w: float = 2_000.0
    """Our own bound of what this domain can draw; a faster counter lies. The kernel's ``constraint_*_max_power_uw``
    is not it: it has been seen as 0 and below the limit in force (scaphandre#351)."""
    lasting: bool = True
    """Whether the number goes on while no agent runs; an event's count begins when it is opened."""
    silicon: str = ""
    """Two probes with the same non-empty value count the same silicon (``intel-rapl-mmio`` mirrors ``intel-rapl``)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A source that is there and cannot be used: said once, with the exact fix."""

    source: str
    path: str
    found: str
    fix: str


@dataclass(slots=True)
class Found:
    """The outcome of a discovery."""

    probes: list[Probe] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Append another source's findings."""
        self.probes += other.probes
        self.problems += other.problems
