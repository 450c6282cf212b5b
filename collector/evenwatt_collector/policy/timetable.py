"""What bounds a zone at a moment, and when that changes. Pure: wall time is an argument.

A zone obeys the lowest of its bounds, so that each of them can only tighten::

    budget_w          always
    schedule          in its windows
    event             from its start to its end, and on the way down to it:

        limit  ----------.
                          '.           glides from start - lead_s
                            '._______  reached after three quarters of lead_s: nodes that hear nothing need
                                       15 s to fall back, and the event is met at its start by them too
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from math import inf, isfinite
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from evenwatt_collector.policy.schema import DAYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evenwatt_collector.policy.schema import Event, Schedule, Zone

_GLIDE: Final = 0.75
"""Part of the lead-in in which the limit moves."""
_AHEAD_DAYS: Final = 8
"""A window that comes every week comes within so many days."""


class Source(StrEnum):
    """What kind of thing bounds a zone."""

    BUDGET = "budget"
    SCHEDULE = "schedule"
    EVENT = "event"
    OVERRIDE = "override"
    CARBON = "carbon"


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit and where it comes from."""

    budget_w: float
    source: Source
    why: str
    """In words that follow on "because of"."""
    until_s: float = inf
    """When it ends, Unix time."""
    moving: bool = False
    """It is another one in the next second."""


def bounds_at(zone: Zone, wall_s: float) -> list[Bound]:
    """Return what the policy says about a zone at a moment, the lowest first."""
    steady = [*_steady(zone, wall_s)]
    before_w = min((bound.budget_w for bound in steady), default=inf)
    glides = [_glide(event, before_w, wall_s) for event in zone.events if _is_near(event, wall_s)]
    return sorted((*steady, *glides), key=lambda bound: bound.budget_w)


def changes_after(zone: Zone, wall_s: float) -> Iterator[float]:
    """Yield every moment soon to come at which a bound of the zone begins or ends, in no order."""
    for window in zone.schedule:
        for span in spans(window, wall_s):
            yield from (moment for moment in span if moment > wall_s)
    for event in zone.events:
        start_s, end_s = event.start.timestamp(), event.end.timestamp()
        yield from (moment for moment in (start_s - event.lead_s, start_s, end_s) if moment > wall_s)


def spans(window: Schedule, wall_s: float) -> Iterator[tuple[float, float]]:
    """Yield when a window begins and ends, from the one that began yesterday to those of a week from now.

    Where clocks go back, a window that begins or ends in the doubled hour is the longer one: it holds for both.
    """
    zone = ZoneInfo(window.timezone)
    today = datetime.fromtimestamp(wall_s, zone).date()
    for ahead in range(-1, _AHEAD_DAYS):
        day = today + timedelta(days=ahead)
        if DAYS[day.weekday()] not in window.days:
            continue
        last = day if window.end > window.start else day + timedelta(days=1)
        start_s = _moment(day, window.start, zone, fold=0)
        end_s = _moment(last, window.end, zone, fold=1)
        if end_s > start_s:  # else it lies in the hour that is left out where clocks go forward
            yield start_s, end_s


def in_utc(wall_s: float) -> str:
    """Return a moment as people and programs both read it."""
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _steady(zone: Zone, wall_s: float) -> Iterator[Bound]:
    if zone.budget_w is not None:
        yield Bound(zone.budget_w, Source.BUDGET, "its budget_w")
    for window in zone.schedule:
        end_s = next((end_s for start_s, end_s in spans(window, wall_s) if start_s <= wall_s < end_s), None)
        if end_s is not None:
            hours = f"{window.start} to {window.end} {window.timezone}"
            why = f"its schedule, {hours}" + (f" ({window.why})" if window.why else "")
            yield Bound(window.budget_w, Source.SCHEDULE, why, end_s)
    for event in zone.events:
        if event.start.timestamp() <= wall_s < event.end.timestamp():
            end_s = event.end.timestamp()
            yield Bound(event.budget_w, Source.EVENT, f"event {event.name!r} until {in_utc(end_s)}", end_s)


def _is_near(event: Event, wall_s: float) -> bool:
    start_s = event.start.timestamp()
    return start_s - event.lead_s <= wall_s < start_s < event.end.timestamp()


def _glide(event: Event, before_w: float, wall_s: float) -> Bound:
    """Return the bound on the way down to an event."""
    start_s = event.start.timestamp()
    done = min(1.0, (wall_s - (start_s - event.lead_s)) / (_GLIDE * event.lead_s))
    if isfinite(before_w):
        budget_w = before_w - max(0.0, before_w - event.budget_w) * done
    else:  # down from no limit at all: 10 times, 5 times, 2 times the event's
        budget_w = event.budget_w / done if done > 0 else inf
    why = f"the way down to {event.budget_w:,.0f} W for event {event.name!r} at {in_utc(start_s)}"
    return Bound(budget_w, Source.EVENT, why, start_s, moving=done < 1)


def _moment(day: date, clock: str, zone: ZoneInfo, *, fold: int) -> float:
    if clock == "24:00":
        day, clock = day + timedelta(days=1), "00:00"
    return datetime.combine(day, time.fromisoformat(clock), zone).replace(fold=fold).timestamp()
