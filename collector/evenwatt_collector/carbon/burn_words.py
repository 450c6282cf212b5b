"""What an alert about a budget says: what, since when, how much, what would help. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from evenwatt_collector.carbon.budgets import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from evenwatt_collector.carbon.budgets import BudgetSettings, Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a budget stands at a moment."""

    settings: BudgetSettings
    period: Period
    now_s: float
    used_g: float | None
    rate_g_per_h: float | None
    """What the words and projections are about: the mean of the window that was looked at."""
    coverage: float
    revised_g: float
    """What late energy and corrections have added to or taken from this period's figures at one blow."""
    revised_s: float | None

    @property
    def left_h(self) -> float:
        """Hours until the period ends."""
        return max(0.0, self.period.end_s - self.now_s) / SECONDS_PER_HOUR

    @property
    def projected_g(self) -> float | None:
        """What the period comes to at this rate."""
        if self.used_g is None or self.rate_g_per_h is None:
            return None
        return self.used_g + self.rate_g_per_h * self.left_h

    @property
    def used_up_s(self) -> float | None:
        """When the budget is used up at this rate; None when not within the period, or it already is."""
        if self.used_g is None or not self.rate_g_per_h or self.used_g >= self.settings.budget_g:
            return None
        at_s = self.now_s + (self.settings.budget_g - self.used_g) / self.rate_g_per_h * SECONDS_PER_HOUR
        return at_s if at_s < self.period.end_s else None

    @property
    def allowed_g_per_h(self) -> float | None:
        """The rate at which it would last exactly."""
        if self.used_g is None or self.left_h <= 0:
            return None
        return max(0.0, self.settings.budget_g - self.used_g) / self.left_h

    @property
    def even_g_per_h(self) -> float:
        """The even pace: burn 1."""
        return self.settings.budget_g / self.period.length_s * SECONDS_PER_HOUR

    def figures(self, **more: float | None) -> dict[str, float | None]:
        """Return the numbers of an alert."""
        budget_g = self.settings.budget_g
        return {
            "budget_g": budget_g,
            "used_g": self.used_g,
            "used_share": None if self.used_g is None else self.used_g / budget_g,
            "rate_g_per_h": self.rate_g_per_h,
            "even_g_per_h": self.even_g_per_h,
            "allowed_g_per_h": self.allowed_g_per_h,
            "projected_g": self.projected_g,
            "used_up_s": self.used_up_s,
            "period_start_s": self.period.start_s,
            "period_end_s": self.period.end_s,
            "coverage": self.coverage,
            "revised_g": self.revised_g,
        } | more


def subject(settings: BudgetSettings) -> str:
    """Return a budget's name, size and scope."""
    each = "month" if settings.monthly else "day"
    return f"budget {settings.name} ({mass(settings.budget_g)} a {each}, {scope(settings)})"


def scope(settings: BudgetSettings) -> str:
    """Return what a budget is for."""
    return "the fleet" if settings.scope == "fleet" else settings.scope


def burning(at: Position, burn: float, window_s: float) -> str:
    """Say that a budget is used up too fast."""
    rate = mass(at.rate_g_per_h or 0.0)
    return (
        f"{scope(at.settings)} emits {rate}/h, {burn:.1f} times the even pace of {subject(at.settings)}, and has done "
        f"so over {span(window_s)}. {used(at)}{until(at)}{revised(at)}"
    )


def projecting(at: Position) -> str:
    """Say that a budget will not last."""
    projected = at.projected_g or 0.0
    share = projected / at.settings.budget_g
    return f"{subject(at.settings)} will not last: {used(at)}{until(at)} It comes to {percent(share)}.{revised(at)}"


def spending(at: Position, level: int) -> str:
    """Say how much of a budget is used."""
    if level >= 100:
        over_g = (at.used_g or 0.0) - at.settings.budget_g
        return f"{subject(at.settings)} is used up: {used(at)} {mass(over_g)} over.{revised(at)}"
    return f"{subject(at.settings)} is used to {level} %: {used(at)}{until(at)}{revised(at)}"


def unseeing(at: Position) -> str:
    """Say that a budget cannot be watched."""
    if at.used_g is None:
        what = "what it has emitted is not known"
    elif at.rate_g_per_h is None:
        what = "what it emits now is not known"
    else:
        what = f"its figures cover only {percent(at.coverage)}"
    return f"{subject(at.settings)} cannot be watched: {what}. It is not 0 g: more than is shown may have been emitted."


def helping(at: Position) -> str:
    """Say what would help against too much."""
    key = "grams_per_month" if at.settings.monthly else "grams_per_day"
    allowed = at.allowed_g_per_h
    rest = "" if not allowed else f"To last until {clock(at, at.period.end_s)} it may emit {mass(allowed)}/h. "
    return (
        f"{rest}Postpone work that can wait, or lower the limits of {scope(at.settings)}; "
        f"if the work is wanted, raise {key} of budget {at.settings.name}."
    )


SEEING = (
    "See which nodes are silent (evenwatt status) and whether the intensity provider answers; "
    "for a workload or team, whether its tasks carry the label."
)


def used(at: Position) -> str:
    """Say what has been used."""
    if at.used_g is None:
        return "What is used is not known."
    return f"{mass(at.used_g)} ({percent(at.used_g / at.settings.budget_g)}) is used by {clock(at, at.now_s)}."


def until(at: Position) -> str:
    """Say when a budget is used up; empty when it lasts."""
    at_s = at.used_up_s
    return "" if at_s is None else f" At this rate it is used up at {clock(at, at_s)}."


def revised(at: Position) -> str:
    """Say what has been revised; empty when nothing was."""
    if at.revised_s is None:
        return ""
    sign = "+" if at.revised_g >= 0 else "-"
    when = clock(at, at.revised_s)
    return f" Figures revised by {sign}{mass(abs(at.revised_g))}, last at {when} (late energy or corrected intensity)."


def clock(at: Position, wall_s: float) -> str:
    """Return a time in the budget's timezone, with the date when it is another day's."""
    zone = ZoneInfo(at.settings.timezone)
    when, today = datetime.fromtimestamp(wall_s, zone), datetime.fromtimestamp(at.now_s, zone).date()
    return f"{when:%H:%M}" if when.date() == today else f"{when:%Y-%m-%d %H:%M}"


def percent(share: float) -> str:
    """Return a share for people."""
    return f"{share:.0%}".replace("%", " %")


def span(seconds: float) -> str:
    """Return a length of time for people."""
    return f"{seconds / 60:.0f} min" if seconds < SECONDS_PER_HOUR else f"{seconds / SECONDS_PER_HOUR:.0f} h"


def mass(grams: float) -> str:
    """Return grams in the unit that suits."""
    for limit, divisor, unit in ((1e3, 1.0, "g"), (1e6, 1e3, "kg"), (float("inf"), 1e6, "t")):
        if abs(grams) < limit:
            return f"{grams / divisor:.3g} {unit}"
    return f"{grams} g"
