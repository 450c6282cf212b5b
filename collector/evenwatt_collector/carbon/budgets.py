"""Budgets in grams per day or month: their settings, their days and months, and what has been emitted. Pure.

A day is what lies between two midnights of the budget's own timezone: 23 or 25 hours when clocks change; a month has
28 to 31 of them. A budget is meant to be used up exactly at the end, so its even pace is budget / length of this very
day or month.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from evenwatt_collector.timezones import known_timezone
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Grams = Annotated[float, Meta(gt=0, le=1e15)]
SCOPES: Final = ("zone", "workload", "team")
SECONDS_PER_HOUR: Final = 3600.0


class BudgetSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """One ``[[budgets]]`` table: exactly one of ``grams_per_day`` and ``grams_per_month``."""

    name: str
    """What its alerts are called by."""
    scope: str = "fleet"
    """``fleet``, or ``zone:NAME``, ``workload:NAME``, ``team:NAME``."""
    grams_per_day: Grams | None = None
    """Grams of CO2e from midnight to midnight."""
    grams_per_month: Grams | None = None
    """Grams of CO2e of a calendar month."""
    timezone: str = "UTC"
    """Where its days begin, by IANA name."""
    webhooks: list[str] = []
    """Which webhooks get its alerts, by name; empty: all."""

    @property
    def monthly(self) -> bool:
        """Whether it is a budget for months."""
        return self.grams_per_month is not None

    @property
    def budget_g(self) -> float:
        """Grams for each of its periods."""
        return self.grams_per_month or self.grams_per_day or 0.0


@dataclass(frozen=True, slots=True)
class Period:
    """A day or month, Unix times."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Its true length."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a budget's scope has emitted, as known now; late energy counts for the day on which it was used.

    ``None`` is "not known", which is never 0 g.
    """

    scope: str
    day_g: float | None = None
    """Grams since the budget's last midnight."""
    month_g: float | None = None
    """Grams since the first of the budget's month."""
    rate_g_per_h: float | None = None
    """What it emits now."""
    coverage: float = 1.0
    """Share of what ought to be counted in these figures that is, 0 to 1."""


def period(settings: BudgetSettings, wall_s: float) -> Period:
    """Return the budget's day or month around a moment."""
    zone = ZoneInfo(settings.timezone)
    today = datetime.fromtimestamp(wall_s, zone).date()
    if settings.monthly:
        first = today.replace(day=1)
        days = (first, (first + timedelta(days=32)).replace(day=1))
    else:
        days = (today, today + timedelta(days=1))
    start_s, end_s = (_midnight_s(day, zone) for day in days)
    return Period(start_s, end_s)


def _midnight_s(day: date, zone: ZoneInfo) -> float:
    return datetime.combine(day, time(), zone).timestamp()


def check_budgets(where: str, budgets: Sequence[BudgetSettings], webhooks: Collection[str]) -> None:
    """Check what the types cannot say.

    Args:
        where: The settings file, for the message.
        budgets: As read.
        webhooks: Names of the webhooks there are.

    Raises:
        Failure: naming the key, what was found and the fix.
    """
    names = [budget.name for budget in budgets]
    for i, budget in enumerate(budgets):
        key = f"{where}: key 'budgets[{i}]"
        if not budget.name or names.index(budget.name) != i:
            raise Failure(f"{key}.name': {budget.name!r}; give each [[budgets]] a name of its own")
        if (budget.grams_per_day is None) == (budget.grams_per_month is None):
            raise Failure(f"{key}': budget {budget.name!r} needs exactly one of grams_per_day and grams_per_month")
        kind, _, name = budget.scope.partition(":")
        if budget.scope != "fleet" and not (kind in SCOPES and name):
            expected = "'fleet', 'zone:NAME', 'workload:NAME' or 'team:NAME'"
            raise Failure(f"{key}.scope': found {budget.scope!r}, expected {expected}")
        if known_timezone(budget.timezone) is None:
            fix = "use an IANA name such as 'Europe/Berlin' or 'UTC'"
            raise Failure(f"{key}.timezone': no timezone {budget.timezone!r}; {fix}")
        unknown = next((name for name in budget.webhooks if name not in webhooks), None)
        if unknown is not None:
            known = ", ".join(sorted(webhooks)) or "none"
            raise Failure(f"{key}.webhooks': no webhook {unknown!r}; there is: {known}")


class Rates:
    """Grams emitted over the last hours or days, in bins; where the rate was not known the bin says so.

    Burn rates are taken from the rate, not from differences of what has been spent: late energy and corrected
    intensities move the latter at one blow, and are no emission of this minute.

    Args:
        bin_s: Length of a bin; the shortest window should have five.
        longest_s: The longest window that is asked for.
    """

    def __init__(self, bin_s: int, longest_s: float) -> None:
        self._bin_s, self._most = bin_s, int(longest_s // bin_s) + 2
        self._bins: dict[int, list[float]] = {}
        """By number since 1970: grams, and seconds whose rate was known."""

    def add(self, start_s: float, end_s: float, rate_g_per_h: float) -> None:
        """Book a rate that held from ``start_s`` to ``end_s``."""
        at_s = start_s
        while at_s < end_s:
            number = int(at_s // self._bin_s)
            until_s = min(end_s, (number + 1) * float(self._bin_s))
            held = self._bins.setdefault(number, [0.0, 0.0])
            held[0] += rate_g_per_h * (until_s - at_s) / SECONDS_PER_HOUR
            held[1] += until_s - at_s
            at_s = until_s
        newest = int(end_s // self._bin_s)
        for number in [number for number in self._bins if number <= newest - self._most or number > newest]:
            del self._bins[number]

    def mean_g_per_h(self, now_s: float, window_s: float) -> float | None:
        """Return the mean rate over a window that ends now; None while less than 80 % of it is known."""
        newest = int(now_s // self._bin_s)
        count = int(window_s // self._bin_s)
        grams = known_s = 0.0
        for number in range(newest - count + 1, newest + 1):
            held = self._bins.get(number)
            if held is not None:
                grams, known_s = grams + held[0], known_s + held[1]
        if known_s < KNOWN_SHARE * (window_s - self._bin_s):  # the bin that is running has only begun
            return None
        return grams / known_s * SECONDS_PER_HOUR

    def state(self) -> list[list[float]]:
        """Return the bins as JSON-able data."""
        return [[number, grams, known_s] for number, (grams, known_s) in sorted(self._bins.items())]

    def restore(self, bins: Sequence[Sequence[float]]) -> None:
        """Take up what :meth:`state` gave."""
        self._bins = {int(number): [float(grams), float(known_s)] for number, grams, known_s in bins[-self._most :]}


KNOWN_SHARE: Final = 0.8
"""Figures that cover less say nothing (carbon.md has the same bound for grades)."""
