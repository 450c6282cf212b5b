"""Moments and periods as people write them, in a time zone of their choice. Pure: the time now is an argument.

Days, weeks (from Monday) and months are those of the zone's calendar: a day may have 23 or 25 hours. A period is
[start, end). Words name a moment by its beginning: ``yesterday`` is the midnight that yesterday began with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from evenwatt_collector.timezones import known_timezone
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

EXPECTED: Final = (
    "expected 2026-11-01, 2026-11-01T12:00, 2026-11-01T12:00+01:00, 17:00, now, today, yesterday, 'this week', "
    "'last week', 'this month', 'last month', '90m ago' or '7d ago'"
)
DEFAULT_DAYS: Final = 7.0
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_DAYS: Final = {"d": 1, "w": 7}
_MOST_DAYS: Final = 36_600
"""A hundred years: nothing was metered before."""


@dataclass(frozen=True, slots=True)
class Period:
    """[start_s, end_s) in Unix time."""

    start_s: float
    end_s: float


def zone(name: str, option: str = "--tz") -> ZoneInfo:
    """Return a time zone.

    Raises:
        Failure: there is none of this name.
    """
    known = known_timezone(name)
    if known is None:
        raise Failure(
            f"{option} {name[:80]!r} is no time zone known here; expected an IANA name such as Europe/Berlin or UTC"
        )
    return known


def moment(text: str, now_s: float, tz: ZoneInfo, option: str) -> float:
    """Return the Unix time that ``text`` names; a period's word means its beginning.

    Raises:
        Failure: it names none, or one that a change of the clocks made happen twice or never.
    """
    said = " ".join(text.split())
    named = _named(said.lower(), now_s, tz)
    if named is not None:
        return named.start_s
    ago = re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhdw]?) ago", said.lower())
    if ago:
        return _ago(float(ago[1]), ago[2] or "s", now_s, tz, f"{option} {text!r}")
    if said.lower() == "now":
        return now_s
    try:
        return _written(said, now_s, tz)
    except _ClockError as error:
        raise Failure(f"{option} {text!r} {error} in {tz.key}; write the offset, e.g. {said}+00:00") from None
    except (ValueError, OverflowError) as error:
        raise Failure(f"{option} {text!r} is not a time ({error}); {EXPECTED}") from None


def period(start: str | None, end: str | None, now_s: float, tz: ZoneInfo) -> Period:
    """Return the period from ``start`` to ``end``; by default the last 7 days up to now.

    ``start`` alone may name a period: ``yesterday`` and ``last week`` are whole, ``this week`` lasts until now.

    Raises:
        Failure: one of them names no moment, or the end is not after the start, or the start is still to come.
    """
    named = _named(" ".join(start.lower().split()), now_s, tz) if start is not None and end is None else None
    if named is not None:
        return _ordered(named.start_s, min(named.end_s, now_s), now_s, tz)
    end_s = now_s if end is None else moment(end, now_s, tz, "--to")
    start_s = _ago(DEFAULT_DAYS, "d", end_s, tz, "--from") if start is None else moment(start, now_s, tz, "--from")
    return _ordered(start_s, end_s, now_s, tz)


def compared(text: str, of: Period, now_s: float, tz: ZoneInfo) -> Period:
    """Return the period to compare ``of`` with: ``previous`` (as long, just before), a period's word or ``A..B``.

    Raises:
        Failure: it names no period.
    """
    said = " ".join(text.lower().split())
    if said == "previous":
        return _previous(of, tz)
    named = _named(said, now_s, tz)
    if named is not None:
        return _ordered(named.start_s, min(named.end_s, now_s), now_s, tz)
    parts = text.split("..")
    if len(parts) != 2:
        raise Failure(
            f"--compare {text!r} is not a period; expected previous, yesterday, 'last week', 'last month' or two "
            f"moments such as 2026-10-01..2026-11-01"
        )
    start_s, end_s = (moment(part, now_s, tz, "--compare") for part in parts)
    return _ordered(start_s, end_s, now_s, tz)


def shown(wall_s: float, tz: ZoneInfo) -> str:
    """Return a moment as text, with its offset."""
    return datetime.fromtimestamp(wall_s, tz).isoformat(sep=" ", timespec="minutes")


def _ordered(start_s: float, end_s: float, now_s: float, tz: ZoneInfo) -> Period:
    if start_s >= end_s:
        raise Failure(
            f"the period is from {shown(start_s, tz)} to {shown(end_s, tz)}; expected an end after its start: give an "
            f"earlier --from or a later --to"
        )
    if start_s >= now_s:
        raise Failure(f"the period starts at {shown(start_s, tz)}, which is still to come; give an earlier --from")
    return Period(start_s, end_s)


def _previous(of: Period, tz: ZoneInfo) -> Period:
    """As many local days before, if both ends are at the same time of the day; else as many seconds."""
    start, end = (datetime.fromtimestamp(at, tz) for at in (of.start_s, of.end_s))
    if start.time() == end.time():
        earlier = start.replace(tzinfo=None) - (end.date() - start.date())
        return Period(earlier.replace(tzinfo=tz).timestamp(), of.start_s)
    return Period(2 * of.start_s - of.end_s, of.start_s)


def _named(said: str, now_s: float, tz: ZoneInfo) -> Period | None:
    span = _SPANS.get(said)
    if span is None:
        return None
    first, last = span(datetime.fromtimestamp(now_s, tz).date())
    return Period(_midnight(first, tz), _midnight(last, tz))


def _midnight(day: date, tz: ZoneInfo) -> float:
    """Return when a local day begins; where the clocks skip its midnight, the moment they do."""
    return datetime.combine(day, time(), tz).timestamp()


def _month(day: date, by: int) -> date:
    months = 12 * day.year + day.month - 1 + by
    return date(months // 12, months % 12 + 1, 1)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


_SPANS: Final[dict[str, Callable[[date], tuple[date, date]]]] = {
    "today": lambda day: (day, day + timedelta(days=1)),
    "yesterday": lambda day: (day - timedelta(days=1), day),
    "this week": lambda day: (_monday(day), _monday(day) + timedelta(days=7)),
    "last week": lambda day: (_monday(day) - timedelta(days=7), _monday(day)),
    "this month": lambda day: (_month(day, 0), _month(day, 1)),
    "last month": lambda day: (_month(day, -1), _month(day, 0)),
}


def _ago(count: float, unit: str, now_s: float, tz: ZoneInfo, what: str) -> float:
    """Seconds, minutes and hours are exact; whole days and weeks keep the time of the day."""
    days = count * _DAYS.get(unit, 0) if unit in _DAYS else count * _SECONDS[unit] / 86_400
    if days > _MOST_DAYS:
        raise Failure(f"{what} is {days:.0f} days back; expected at most {_MOST_DAYS}")
    if unit in _SECONDS or not days.is_integer():
        return now_s - 86_400 * days
    wall = datetime.fromtimestamp(now_s, tz).replace(tzinfo=None) - timedelta(days=days)
    return wall.replace(tzinfo=tz).timestamp()


class _ClockError(ValueError):
    """A local time that happens twice or never."""


def _written(said: str, now_s: float, tz: ZoneInfo) -> float:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", said):
        return _midnight(date.fromisoformat(said), tz)
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", said):
        wall = datetime.combine(datetime.fromtimestamp(now_s, tz), time.fromisoformat(said.rjust(5, "0")))
    else:
        wall = datetime.fromisoformat(said)
    if wall.tzinfo is not None:
        return wall.timestamp()
    first, second = (wall.replace(tzinfo=tz, fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        back = first.astimezone(UTC).astimezone(tz).replace(tzinfo=None)
        raise _ClockError("happens twice" if back == wall else "does not happen")
    return first.timestamp()
