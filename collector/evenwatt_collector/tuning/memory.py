"""All that a learner remembers: plain data that survives a restart. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from evenwatt_collector.tuning.drift import Watch
from evenwatt_collector.tuning.evidence import Evidence, Noise

if TYPE_CHECKING:
    from evenwatt_collector.tuning.records import Settings

VERSION: Final = 1
REFUSED_S: Final = 3600.0
"""What broke the SLO once may have been an accident; it is not tried for so long."""


class Trial(msgspec.Struct):
    """A measurement that is going on."""

    cap_w: float
    began_s: float
    until_error: float
    """Relative standard error at which it is done."""
    most_s: float
    """Seconds after which it is done anyway."""
    seconds: float = 0.0
    """Measured in it."""
    windows: int = 0


class Refused(msgspec.Struct):
    """A cap that broke the SLO, or under which work stood still; it and all below are not used."""

    cap_w: float
    until_s: float
    """Tried again after; twice as long each time."""
    times: int
    why: str


class Memory(msgspec.Struct):
    """Of one workload on one kind of device."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)] = VERSION
    caps: list[Evidence] = []
    energy_noise: Noise = msgspec.field(default_factory=Noise)
    time_noise: Noise = msgspec.field(default_factory=Noise)
    energy_watch: Watch = msgspec.field(default_factory=Watch)
    time_watch: Watch = msgspec.field(default_factory=Watch)
    refused: list[Refused] = []
    trial: Trial | None = None
    held_w: float | None = None
    """Cap that is set while nothing is tried."""
    seen_w: float | None = None
    """Cap of the last window."""
    clean_from_s: float = 0.0
    """Windows that begin before are warm-up."""
    pending_s: float = 0.0
    """Seconds and joules of windows in which no unit was finished: they belong to the next unit."""
    pending_j: float = 0.0
    done_units: float = 0.0
    explored_units: float = 0.0
    exploring: bool = False
    relearned: int = 0
    """How often the workload was found to have changed."""

    def of(self, cap_w: float) -> Evidence | None:
        """Evidence of the cap that is meant by a readback; None if it is none of ours."""
        nearest = min(self.caps, key=lambda each: abs(each.cap_w - cap_w))
        return nearest if abs(nearest.cap_w - cap_w) <= as_read_back_w(cap_w) else None

    def refuse(self, cap_w: float, at_s: float, why: str) -> None:
        """Remember a cap that must not be used for a while; it ends the trial and the holding of it."""
        times = 1 + max((old.times for old in self.refused if old.cap_w == cap_w), default=0)
        until_s = at_s + REFUSED_S * 2.0 ** min(times - 1, 10)
        self.refused = [old for old in self.refused if old.cap_w != cap_w] + [Refused(cap_w, until_s, times, why)]
        if self.trial is not None and self.trial.cap_w <= cap_w:
            self.trial = None
        if self.held_w is not None and self.held_w <= cap_w:
            self.held_w = None

    def forget(self) -> None:
        """Forget what was measured: the workload has changed. Noise and the budget of exploring stay."""
        self.caps = [Evidence(each.cap_w) for each in self.caps]
        self.refused, self.trial = [], None
        self.energy_watch.clear()
        self.time_watch.clear()
        self.relearned += 1


def as_read_back_w(cap_w: float) -> float:
    """Return by how much a readback of a cap may be off: devices round, and agents call a cap kept to a hundredth."""
    return max(1.0, 0.01 * cap_w)


def blank(settings: Settings) -> Memory:
    """Return the memory of one who knows nothing."""
    return Memory(caps=[Evidence(cap_w) for cap_w in settings.caps_w])


def read(state: object, settings: Settings) -> Memory:
    """Return the memory in a stored document, fitted to the caps of today: what is known of others is dropped.

    Raises:
        ValueError: it is of another version, or no such document.
    """
    memory = msgspec.convert(state, Memory)
    known = {each.cap_w: each for each in memory.caps}
    memory.caps = [known.get(cap_w) or Evidence(cap_w) for cap_w in settings.caps_w]
    if memory.trial is not None and memory.trial.cap_w not in settings.caps_w:
        memory.trial = None
    if memory.held_w not in settings.caps_w:
        memory.held_w = None
    return memory
