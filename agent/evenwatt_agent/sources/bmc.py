"""Meters of the whole machine, read by its management controller: slow, and outside of what the counters see.

A management controller answers in 50 ms to several seconds and averages over a second or more, so it is asked every ten
seconds by a thread of its own. Its power is a cross-check of the sum of the counters, and the difference (fans, drives,
the supplies' losses) is the unmetered overhead; where nothing else can be read it is the node's power.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent.sources.model import Probe, ReadError, Unit
from evenwatt_wire import Domain, Quality

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_POWER_W: Final = 20_000.0
"""No single chassis of 2026 draws it."""
_FRESH_PERIODS: Final = 3
_MAX_PAUSE_S: Final = 600.0


@dataclass(slots=True)
class Polled:
    """What a controller said last, and when it is asked again. Pure: it is told the time."""

    period_s: float
    power_w: float = 0.0
    at_s: float | None = None
    trouble: str = "not asked yet"
    failures: int = 0

    def said(self, power_w: float, now_s: float) -> float:
        """Take an answer; return the seconds until the next question."""
        if not 0 < power_w <= MAX_POWER_W:
            return self.failed(f"says {power_w:g} W, expected more than 0 and at most {MAX_POWER_W:.0f}")
        self.power_w, self.at_s, self.trouble, self.failures = power_w, now_s, "", 0
        return self.period_s

    def failed(self, trouble: str) -> float:
        """Take a failure; return the seconds until the next question, doubled each time up to ten minutes."""
        self.trouble = trouble
        self.failures += 1
        return min(max(_MAX_PAUSE_S, self.period_s), self.period_s * 2.0 ** min(self.failures - 1, 20))

    def power_uw(self, now_s: float) -> int:
        """Return the latest answer in microwatts.

        Raises:
            ReadError: there is none, or it is older than three periods.
        """
        if self.at_s is None or now_s - self.at_s > _FRESH_PERIODS * self.period_s:
            age = "" if self.at_s is None else f"no answer for {now_s - self.at_s:.0f} s: "
            raise ReadError(f"{age}{self.trouble or 'it is late'}")
        return round(self.power_w * 1e6)


class Poller:
    """Asks ``fetch`` for watts from a thread of its own.

    Args:
        fetch: Asks once and blocks; raises OSError or ValueError.
        period_s: Time between questions while they are answered.
        name: Of the thread.
    """

    def __init__(self, fetch: Callable[[], float], period_s: float, name: str) -> None:
        self._fetch, self._polled = fetch, Polled(period_s)
        self._stop = threading.Event()
        self._first_pause_s = period_s
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Ask once, here, so that the first reading is there; then go on in the thread."""
        self._first_pause_s = self._ask()
        self._thread.start()

    def read(self) -> int:
        """Return the latest power in microwatts (``Polled.power_uw``)."""
        return self._polled.power_uw(time.monotonic())

    @property
    def trouble(self) -> str:
        """Why the last question was not answered; empty when it was."""
        return self._polled.trouble

    def close(self) -> None:
        """End the thread; a question under way ends by its own time limit."""
        self._stop.set()

    def _run(self) -> None:
        pause_s = self._first_pause_s
        while not self._stop.wait(pause_s):
            pause_s = self._ask()

    def _ask(self) -> float:
        try:
            return self._polled.said(self._fetch(), time.monotonic())
        except (OSError, ValueError) as error:
            return self._polled.failed(str(error) or type(error).__name__)


def probe_of(poller: Poller, identity: str, source: str) -> Probe:
    """Return a probe of the machine's whole power. All of them meter one machine, so a second one is a copy."""
    domain = Domain(id=identity, kind="machine", source=source, quality=Quality.INTEGRATED)
    return Probe(
        domain=domain,
        unit=Unit.POWER_UW,
        read=poller.read,
        reopen=_nothing,  # the poller asks again by itself
        close=poller.close,
        slow=True,
        max_power_w=MAX_POWER_W,
        silicon="bmc",
    )


def _nothing() -> None:
    """There is nothing to open."""
