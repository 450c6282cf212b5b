"""Asks a grid's sources as its chain decides, checks what they say, and hands it on. Nothing raises out of it."""

from __future__ import annotations

import asyncio
import time
import traceback
from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.providers.chain import FARTHEST_S, Ask, Chain, FeedHealth, Speaking
from evenwatt_collector.carbon.providers.contract import DAY_S, HOUR_S, ProviderError, Trouble
from evenwatt_collector.carbon.series import Kind, Reading, Standing
from evenwatt_daemon import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_collector.carbon.providers.annual import Annual
    from evenwatt_collector.carbon.providers.contract import Provider

CLOCK_OFF_S: Final = 300.0
"""A clock that is further off makes measured values look as if they were of the future."""

_FARTHEST_AHEAD_S: Final = 16 * DAY_S
_LONGEST_S: Final = 366 * DAY_S
_QUIET_S: Final = 60

_log = get_logger("carbon-feed")


class GridFeed:
    """One grid's chain at work."""

    def __init__(
        self,
        grid: str,
        providers: Sequence[Provider],
        fallback: Annual,
        sink: Callable[[list[Reading]], None],
        *,
        known_until_s: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            grid: Its name.
            providers: The most trusted first.
            fallback: The last resort; its readings are handed on too, tagged ``fallback``.
            sink: Takes readings; called in the event loop.
            known_until_s: Where the newest measured reading ended that is already known.
            clock: Unix time.
        """
        self.grid = grid
        self._providers = providers
        self._fallback = fallback
        self._sink = sink
        self._clock = clock
        self._heard = _Heard()
        self._complained_s: dict[tuple[str, str], float] = {}
        self._alarm: str | None = None
        label = f"the annual average of {fallback.row.year}"
        self._chain = Chain(grid, providers, int(clock()), known_until_s, label)

    @property
    def order(self) -> list[str]:
        """The sources, the most trusted first, for ``resolve``."""
        return [*(provider.source for provider in self._providers), self._fallback.source]

    @property
    def health(self) -> list[FeedHealth]:
        """What is known of each source, in the chain's order."""
        return self._chain.health

    def speaking(self, kind: Kind = Kind.AVERAGE) -> Speaking:
        """Return who speaks for the grid now."""
        return self._chain.speaking(int(self._clock()), kind)

    def alarm(self) -> str | None:
        """Return what to say when only the fallback is left."""
        return self._chain.alarm(int(self._clock()))

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until ``stop`` is set."""
        while not stop.is_set():
            await self.step()
            wait_s = self._chain.next_due_s(int(self._clock())) - self._clock()
            try:
                await asyncio.wait_for(stop.wait(), min(60.0, max(0.05, wait_s)))
            except TimeoutError:
                continue

    async def step(self) -> None:
        """Ask everything that is due, once."""
        now_s = int(self._clock())
        await self._take_fallback(now_s)
        for ask in self._chain.due(now_s):
            await self._ask(ask)
        self._tell_alarm()

    async def _ask(self, ask: Ask) -> None:
        provider = self._providers[ask.index]
        now_s = int(self._clock())
        try:
            if ask.what == "past":
                readings = await provider.past(ask.start_s, ask.end_s, now_s)
            else:
                readings = await provider.ahead(ask.end_s - ask.start_s, now_s)
            good = self._checked(provider, readings, now_s)
            self._hand_on(good, now_s)
        except ProviderError as error:
            self._chain.failed(ask, error, now_s)
            self._complain(provider.source, ask.what, now_s, str(error))
        except Exception as error:  # noqa: BLE001  (a source must never stop the others; what it was is said)
            unforeseen = _unforeseen(error)
            self._chain.failed(ask, unforeseen, now_s)
            self._complain(provider.source, ask.what, now_s, str(unforeseen))
        else:
            newest_s = max((reading.end_s for reading in good), default=None)
            self._chain.took(ask, len(good), len(readings) - len(good), newest_s, now_s)
        off_s = provider.clock_off_s
        if off_s is not None and abs(off_s) > CLOCK_OFF_S:
            way = "ahead of" if off_s > 0 else "behind"
            reason = f"our clock is {abs(off_s):.0f} s {way} the server's, expected {CLOCK_OFF_S:.0f} at the most"
            self._complain(provider.source, "clock", now_s, f"{reason}; synchronise this machine's clock")

    def _checked(self, provider: Provider, readings: list[Reading], now_s: int) -> list[Reading]:
        good = []
        first: str | None = None
        for reading in readings:
            fault = reading.fault() or _fault(reading, now_s)
            if fault is None:
                good.append(reading)
            else:
                first = first or fault
        if first is not None:
            dropped = len(readings) - len(good)
            self._complain(provider.source, "dropped", now_s, f"{dropped} figures dropped; the first: {first}")
        return good

    def _hand_on(self, readings: list[Reading], now_s: int) -> None:
        news = self._heard.news(readings)
        if news:
            self._sink(news)
            self._heard.keep(news, now_s)

    async def _take_fallback(self, now_s: int) -> None:
        try:
            self._hand_on(await self._fallback.past(now_s - FARTHEST_S, now_s + 4 * DAY_S, now_s), now_s)
        except Exception as error:  # noqa: BLE001  (the sink may fail; it is tried again)
            self._complain(self._fallback.source, "past", now_s, str(_unforeseen(error)))

    def _tell_alarm(self) -> None:
        alarm = self.alarm()
        if (alarm is None) != (self._alarm is None):
            if alarm is None:
                _log.info("grid intensity is live again", grid=self.grid, source=self.speaking().source)
            else:
                _log.error("grid intensity is a fallback", grid=self.grid, reason=alarm)
        self._alarm = alarm

    def _complain(self, source: str, about: str, now_s: float, reason: str) -> None:
        """One line a minute for each source and subject."""
        said_s = self._complained_s.get((source, about))
        if said_s is None or not 0 <= now_s - said_s < _QUIET_S:
            self._complained_s[source, about] = now_s
            _log.warning("intensity source", grid=self.grid, source=source, about=about, reason=reason)


class _Heard:
    """What was handed on lately, so that an answer that repeats it is no news. Bounded by time."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, Kind, bool, int, int], tuple[float, Standing]] = {}
        self._swept_s = 0

    def news(self, readings: list[Reading]) -> list[Reading]:
        """Keep what differs; of two that speak of the same interval, the last one."""
        latest = {_subject(reading): reading for reading in readings}
        return [
            reading
            for subject, reading in latest.items()
            if self._said.get(subject) != (reading.g_per_kwh, reading.standing)
        ]

    def keep(self, readings: list[Reading], now_s: int) -> None:
        """Remember what was handed on."""
        for reading in readings:
            self._said[_subject(reading)] = (reading.g_per_kwh, reading.standing)
        if abs(now_s - self._swept_s) > HOUR_S:
            self._swept_s = now_s
            old_s = now_s - FARTHEST_S - DAY_S
            self._said = {subject: said for subject, said in self._said.items() if subject[4] > old_s}


def _subject(reading: Reading) -> tuple[str, Kind, bool, int, int]:
    coming = reading.standing is Standing.FORECAST
    return reading.source, reading.kind, coming, reading.start_s, reading.end_s


def _fault(reading: Reading, now_s: int) -> str | None:
    """What a feed knows to be wrong beyond :meth:`Reading.fault`."""
    if reading.start_s > now_s + _FARTHEST_AHEAD_S:
        ahead = (reading.start_s - now_s) // DAY_S
        return f"a figure for {ahead} days ahead, expected {_FARTHEST_AHEAD_S // DAY_S} at the most"
    if reading.end_s - reading.start_s > _LONGEST_S:
        return f"an interval of {(reading.end_s - reading.start_s) // DAY_S} days, expected a year at the most"
    return None


def _unforeseen(error: Exception) -> ProviderError:
    # The place and no values: what failed may have held a key.
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
    text = f"it could not be read ({type(error).__name__} at {place}); please report this, with the source's type"
    return ProviderError(Trouble.NONSENSE, text)
