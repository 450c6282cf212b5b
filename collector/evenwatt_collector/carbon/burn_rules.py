"""When a budget in grams is burnt too fast, will not last, is used up or cannot be watched. Pure: time is given.

After the multi-window, multi-burn-rate alerts of the Google SRE Workbook, chapter 5 ("Alerting on SLOs"): an alert is
on while the mean over a long window *and* over a short one, a twelfth of it, is above a threshold; the long window
keeps blips out, the short one ends the alert soon after its cause. What is different with carbon:

- An error budget is hoped to remain; grams are there to be used, so burn 1 (used up exactly at the end) is the plan,
  and the workbook's slow alert (1x over 3 days) would always be on. What counts is the excess, (burn - 1) x window.
- Errors can rise a thousandfold; a fleet's grams cannot: its power is some 3 times its idle power at the most, and
  hourly intensity 1.1 to 1.5 times its mean at the 95th percentile (``loop.py``). 14.4x would never be on.
- A day's budget ends at midnight, and what is not used is lost. So fast burning matters only if the budget will not
  last at that rate: at 23:00 with half of it left, four times the pace is harmless. A clean noon and a dirty evening
  are ordinary, so short windows need high thresholds.

======  ========  ======  ======  ====  =====================================================================
budget  severity  long    short   burn  why (our choice)
======  ========  ======  ======  ====  =====================================================================
day     page      1 h     5 min   4     a sixth of the day's grams in an hour: used up in 6 h at the most
day     ticket    3 h     15 min  2     a quarter in 3 h; grids alone do not do that (1.5)
month   page      6 h     30 min  6     5 % of the month in 6 h, the workbook's second row: used up in 5 days
month   ticket    24 h    2 h     2     a whole day: noon and evening cancel out; 3.3 % too much in one day
month   ticket    72 h    6 h     1.25  the workbook's slow row, a quarter above the plan: 2.5 % too much
======  ========  ======  ======  ====  =====================================================================

*Projection* ("at this rate it is used up at 17:40") takes the mean of the last hour (day) or 24 h (month). It is on
when the period would come to more than the budget and a margin: 47 % at a day's beginning (the 1.5 above) and 2 % at
its end, 17 to 2 % for a month; it is over when the budget would last. *Spent* is on from 50 % (info), 80 % (a ticket if
that is a tenth ahead of time, else to plan) and 100 %: a page while a tenth of the period is to come, since every gram
from then on is too much. *Blind* is on when figures are missing or cover less than 80 %. What is missing never counts
as 0 g: while blind, nothing is said to be over, and "spent", then a lower bound, can still rise.

Tried on 2021 of CarbonCast's hourly series of Germany, California and Poland, with a constant load and the mean day or
month, or 1.2 times that, as the budget: no burn page in any. With the mean day, 187 of 188 projections were right in
Germany (California 172 of 183), and they missed none (2) of the days that came to 5 % too much or more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from evenwatt_collector.alerts import Severity
from evenwatt_collector.carbon import burn_words as words
from evenwatt_collector.carbon.budgets import KNOWN_SHARE

if TYPE_CHECKING:
    from evenwatt_collector.carbon.budgets import Rates
    from evenwatt_collector.carbon.burn_words import Position


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table above."""

    severity: Severity
    long_s: float
    short_s: float
    burn: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What is watched for days, or for months."""

    rules: tuple[Rule, ...]
    """The slowest first."""
    bin_s: int
    projection_window_s: float
    projection_margin: float
    """At the period's beginning, above :data:`_LEAST_MARGIN`."""
    projection_hold_s: float


DAY: Final = Pace(
    rules=(Rule(Severity.TICKET, 3 * 3600, 15 * 60, 2.0), Rule(Severity.PAGE, 3600, 5 * 60, 4.0)),
    bin_s=60,
    projection_window_s=3600,
    projection_margin=0.45,
    projection_hold_s=600,
)
MONTH: Final = Pace(
    rules=(
        Rule(Severity.TICKET, 72 * 3600, 6 * 3600, 1.25),
        Rule(Severity.TICKET, 24 * 3600, 2 * 3600, 2.0),
        Rule(Severity.PAGE, 6 * 3600, 30 * 60, 6.0),
    ),
    bin_s=360,
    projection_window_s=24 * 3600,
    projection_margin=0.15,
    projection_hold_s=3600,
)
LEVELS: Final = (50, 80, 100)
_LEAST_MARGIN: Final = 0.02
_OFF: Final = 0.9
"""A burn alert ends below this part of its threshold."""
_LONGEST_FALL_S: Final = 6 * 3600.0
"""It has to stay there for half its long window, for so long at the most: a load that comes and goes is one alert."""
_LEVEL_OFF: Final = 2.0
"""A level is left when a revision takes the figure so many points below it."""
_LATE: Final = 0.1
"""Used up with less than this share of the period to come is no page."""
_AHEAD: Final = 0.1
"""80 % used is to plan in the evening; it is a ticket when use is so far ahead of time."""
_SEEING: Final = 0.85
"""Coverage at which a blind budget sees again."""
_BLIND_HOLD_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one kind of alert has to say now."""

    kind: str
    on: bool
    off: bool
    """Clearly over. Neither on nor off: it stays as it is."""
    at: Position
    level: int = 1
    severity: Severity = Severity.TICKET
    text: str = ""
    advice: str = ""
    more: tuple[tuple[str, float], ...] = ()
    rise_s: float = 0.0
    fall_s: float = 0.0


def find_blind(at: Position, *, sees: bool) -> Finding:
    """Find whether the budget can be watched at all."""
    return Finding(
        kind="blind",
        on=not sees,
        off=sees and at.coverage >= _SEEING,
        at=at,
        text=words.unseeing(at),
        advice=words.SEEING,
        rise_s=_BLIND_HOLD_S,
        fall_s=_BLIND_HOLD_S,
    )


def find_burn(at: Position, pace: Pace, rates: Rates, *, sees: bool, held: int) -> Finding:
    """Find the fastest rule that is on; an open alert is over when the rule it opened with is."""
    rules, even_g_per_h = pace.rules, at.even_g_per_h
    for level in range(len(rules), 0, -1):
        rule = rules[level - 1]
        long, short = (rates.mean_g_per_h(at.now_s, window_s) for window_s in (rule.long_s, rule.short_s))
        seen = replace(at, rate_g_per_h=short)
        if not (sees and long is not None and short is not None and _wastes(seen)):
            continue
        if min(long, short) >= rule.burn * even_g_per_h:
            burn = long / even_g_per_h
            return Finding(
                kind="burn",
                on=True,
                off=False,
                at=seen,
                level=level,
                severity=rule.severity,
                text=words.burning(seen, burn, rule.long_s),
                advice=words.helping(seen),
                more=(("burn_long", burn), ("burn_short", short / even_g_per_h), ("window_s", rule.long_s)),
            )
    rule = rules[max(held, 1) - 1]
    short = rates.mean_g_per_h(at.now_s, rule.short_s)
    seen = replace(at, rate_g_per_h=short)
    slow = short is not None and short < _OFF * rule.burn * even_g_per_h
    lasts = short is not None and not _wastes(seen)
    return Finding(
        kind="burn", on=False, off=sees and (slow or lasts), at=seen, fall_s=min(rule.long_s / 2, _LONGEST_FALL_S)
    )


def find_projection(at: Position, pace: Pace, rates: Rates, *, sees: bool) -> Finding:
    """Find whether the budget would last at the rate of the last hour or day."""
    mean = rates.mean_g_per_h(at.now_s, pace.projection_window_s)
    seen = replace(at, rate_g_per_h=mean)
    projected_g, budget_g = seen.projected_g, at.settings.budget_g
    to_come = (at.period.end_s - at.now_s) / at.period.length_s
    margin = _LEAST_MARGIN + pace.projection_margin * to_come
    known = sees and projected_g is not None
    over = at.used_g is not None and at.used_g >= budget_g
    return Finding(
        kind="projection",
        on=known and not over and (projected_g or 0.0) >= budget_g * (1 + margin),
        off=over or (known and (projected_g or 0.0) <= budget_g),
        at=seen,
        text=words.projecting(seen),
        advice=words.helping(seen),
        rise_s=pace.projection_hold_s,
        fall_s=0.0 if over else pace.projection_hold_s,
    )


def find_spent(at: Position, *, held: int) -> Finding:
    """Find the level; figures that cover little are a lower bound, so they only raise it."""
    share = None if at.used_g is None else 100 * at.used_g / at.settings.budget_g
    level = held
    if share is not None:
        reached = max((level for level in LEVELS if share >= level), default=0)
        kept = max((level for level in LEVELS if level <= held and share >= level - _LEVEL_OFF), default=0)
        level = max(reached, kept if at.coverage >= KNOWN_SHARE else held)
    to_come = (at.period.end_s - at.now_s) / at.period.length_s
    ahead = (share or 0.0) / 100 - (1 - to_come) > _AHEAD
    severity = {
        80: Severity.TICKET if ahead else Severity.INFO,
        100: Severity.PAGE if to_come >= _LATE else Severity.TICKET,
    }
    return Finding(
        kind="spent",
        on=level > 0,
        off=level == 0,
        at=at,
        level=level,
        severity=severity.get(level, Severity.INFO),
        text=words.spending(at, level),
        advice=words.helping(at) if level >= LEVELS[1] else "",
        more=(("level_percent", float(level)),),
    )


def _wastes(at: Position) -> bool:
    """Whether the budget does not last at this rate."""
    projected_g = at.projected_g
    return projected_g is not None and projected_g > at.settings.budget_g
