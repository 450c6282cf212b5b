"""Whom to ask next, and who speaks: the chain of one grid's sources as a state machine. Pure; time is an argument.

A source is *fresh* while its newest figure is not older than an hour (and its usual lag). The first source is always
asked; a later one only once those before it have been asked and none of them is fresh. Marginal intensities are another
series: their sources are always asked. Who is fresh and stands first speaks; else whoever's forecast still covers now;
else the annual average, with an alarm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from evenwatt_collector.carbon.providers.contract import DAY_S, HOUR_S, ProviderError, Trouble
from evenwatt_collector.carbon.series import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.carbon.providers.contract import Provider

What = Literal["past", "ahead"]

STALE_S: Final = HOUR_S
RECENT_S: Final = 3 * HOUR_S
"""What is asked for each time."""
CORRECTED_S: Final = 48 * HOUR_S
"""What is asked for once an hour, for corrections."""
FARTHEST_S: Final = 30 * DAY_S
"""How far back a start reaches."""

_PATIENT_S: Final = 900
"""Before a source is asked again that refused, or that answered nonsense."""
_SAME_S: Final = 300
"""Windows begin on full hours and end on these, so that a restart asks the same again and finds it in the cache."""
_NO_FORECAST_S: Final = 6 * HOUR_S
"""Before a forecast is asked for again that the plan does not include."""


@dataclass(slots=True, kw_only=True)
class FeedHealth:
    """What is known about one source of a grid."""

    source: str
    kind: Kind
    since_s: int
    """When the feed began."""
    last_asked_s: int | None = None
    last_success_s: int | None = None
    """When it last answered with figures."""
    newest_s: int | None = None
    """Where its newest figure of what happened ends."""
    forecast_until_s: int | None = None
    trouble: str = ""
    """What is wrong with it, and the fix; empty: nothing."""
    trouble_kind: Trouble | None = None
    forecast_trouble: str = ""
    clock_off_s: float | None = None
    """How far our clock is ahead of its own."""
    readings: int = 0
    """Taken since the start."""
    dropped: int = 0
    """Faulty ones, since the start."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to one source."""

    index: int
    what: What
    start_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class Speaking:
    """Who decides a grid's intensity at the moment."""

    source: str
    how: Literal["live", "forecast", "fallback", "nothing"]


@dataclass(slots=True)
class _Plan:
    """When to ask one source for what."""

    past_s: float
    wide_s: float
    ahead_s: float
    filled_s: int
    """How far the past is known: where the next chunk begins, while catching up."""


@dataclass(slots=True)
class Chain:
    """One grid's sources and what is known of them."""

    grid: str
    providers: Sequence[Provider]
    now_s: int
    known_until_s: int | None = None
    """Where the newest measured reading of the grid ended before this start; None: nothing is known."""
    fallback: str = "the annual average"
    """What counts when nobody answers, for the alarm."""
    horizon_s: int = 96 * HOUR_S
    health: list[FeedHealth] = field(init=False)
    _plans: list[_Plan] = field(init=False)

    def __post_init__(self) -> None:
        now_s = self.now_s
        start_s = now_s - CORRECTED_S
        if self.known_until_s is not None:
            start_s = max(now_s - FARTHEST_S, min(now_s, self.known_until_s))
        self.health = [FeedHealth(source=each.source, kind=each.kind, since_s=now_s) for each in self.providers]
        self._plans = [_Plan(now_s, now_s + HOUR_S, now_s, start_s) for _ in self.providers]

    def due(self, now_s: int) -> list[Ask]:
        """Return what to ask now, the most trusted source first."""
        asks: list[Ask] = []
        for i, plan in enumerate(self._plans):
            if not self._wanted(i, now_s):
                continue
            if now_s >= plan.past_s:
                asks.append(self._past(i, now_s))
            if now_s >= plan.ahead_s:
                asks.append(Ask(i, "ahead", now_s, now_s + self.horizon_s))
        return asks

    def next_due_s(self, now_s: int) -> float:
        """Return when to look again; never later than a minute from now, since a source may become stale."""
        times = [min(plan.past_s, plan.ahead_s) for i, plan in enumerate(self._plans) if self._wanted(i, now_s)]
        return min([now_s + 60.0, *(max(at_s, now_s + 1.0) for at_s in times)])

    def took(self, ask: Ask, count: int, dropped: int, newest_s: int | None, now_s: int) -> None:
        """Take down an answer.

        Args:
            ask: What was asked.
            count: Good readings in it.
            dropped: Faulty ones.
            newest_s: Where the last good one ends; None without any.
            now_s: Unix time.
        """
        provider, plan, health = self.providers[ask.index], self._plans[ask.index], self.health[ask.index]
        health.last_asked_s = now_s
        health.readings += count
        health.dropped += dropped
        health.clock_off_s = provider.clock_off_s
        if ask.what == "ahead":
            health.forecast_trouble = ""
            if newest_s is not None:
                health.forecast_until_s = newest_s
            plan.ahead_s = now_s + provider.ahead_period_s
            return
        plan.filled_s = ask.end_s
        behind = ask.end_s < now_s - provider.period_s
        plan.past_s = now_s if behind else now_s + provider.period_s
        if newest_s is not None:
            health.newest_s = max(newest_s, health.newest_s or newest_s)
            health.last_success_s = now_s
        if not behind:
            health.trouble, health.trouble_kind = _verdict(count, dropped)

    def failed(self, ask: Ask, error: ProviderError, now_s: int) -> None:
        """Take down that a source gave no answer."""
        provider, plan, health = self.providers[ask.index], self._plans[ask.index], self.health[ask.index]
        health.last_asked_s = now_s
        health.clock_off_s = provider.clock_off_s
        patient = error.kind not in {Trouble.UNREACHABLE, Trouble.LIMITED}
        wait_s = error.retry_s or (_PATIENT_S if patient else provider.period_s)
        if ask.what == "ahead":
            health.forecast_trouble = str(error)
            plan.ahead_s = now_s + (_NO_FORECAST_S if patient else max(wait_s, 60.0))
            return
        health.trouble, health.trouble_kind = str(error), error.kind
        plan.past_s = now_s + max(1.0, wait_s)

    def speaking(self, now_s: int, kind: Kind = Kind.AVERAGE) -> Speaking:
        """Return who speaks for one series of the grid."""
        ours = [i for i, health in enumerate(self.health) if health.kind is kind]
        for i in ours:
            if self._fresh(i, now_s):
                return Speaking(self.health[i].source, "live")
        for i in ours:
            if (self.health[i].forecast_until_s or 0) > now_s:
                return Speaking(self.health[i].source, "forecast")
        return Speaking("", "nothing") if kind is Kind.MARGINAL else Speaking(self.fallback, "fallback")

    def alarm(self, now_s: int) -> str | None:
        """Return what to say when only the annual average is left of a grid that has sources; else None."""
        ours = [health for health in self.health if health.kind is Kind.AVERAGE]
        asked = [health for health in ours if health.last_asked_s is not None]
        if not ours or len(asked) < len(ours) or self.speaking(now_s).how != "fallback":
            return None
        since_s = max(health.newest_s or health.last_success_s or health.since_s for health in ours)
        why = "; ".join(f"{health.source}: {health.trouble or 'its figures end too early'}" for health in ours)
        return (
            f"grid {self.grid}: no source has spoken for {spoken(now_s - since_s)} ({why}); "
            f"counting with {self.fallback}, tagged fallback"
        )

    def _wanted(self, index: int, now_s: int) -> bool:
        if self.providers[index].kind is Kind.MARGINAL:
            return True
        before = [i for i in range(index) if self.providers[i].kind is Kind.AVERAGE]
        return all(self.health[i].last_asked_s is not None and not self._fresh(i, now_s) for i in before)

    def _fresh(self, index: int, now_s: int) -> bool:
        newest_s = self.health[index].newest_s
        return newest_s is not None and now_s - newest_s <= STALE_S + self.providers[index].lag_s

    def _past(self, index: int, now_s: int) -> Ask:
        """Build the next question about the past: from where the figures end, once an hour from 48 hours ago."""
        provider, plan = self.providers[index], self._plans[index]
        if now_s >= plan.wide_s:
            plan.filled_s = min(plan.filled_s, now_s - CORRECTED_S)
            plan.wide_s = now_s + HOUR_S
        start_s = max(now_s - FARTHEST_S, min(plan.filled_s, now_s - RECENT_S - provider.lag_s))
        trusted = [self.health[i].newest_s or 0 for i in range(index) if self.providers[i].kind is Kind.AVERAGE]
        if provider.kind is Kind.AVERAGE and trusted:
            start_s = max(start_s, min(max(trusted), now_s) - RECENT_S - provider.lag_s)  # before, others have spoken
        start_s -= start_s % HOUR_S
        end_s = now_s - now_s % min(_SAME_S, provider.period_s)
        return Ask(index, "past", start_s, min(end_s, start_s + provider.chunk_s))


def spoken(length_s: float) -> str:
    """Write a length of time for people: ``2 h 10 min``."""
    minutes = max(0, round(length_s / 60))
    days, hours = minutes // 1440, minutes // 60
    if days >= 2:
        return f"{days} days"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _verdict(count: int, dropped: int) -> tuple[str, Trouble | None]:
    if count:
        return "", None
    if dropped:
        return f"all {dropped} of its figures were faulty; the log names one", Trouble.NONSENSE
    return "it answered, without figures for the last hours; check its zone if that lasts", Trouble.NONSENSE
