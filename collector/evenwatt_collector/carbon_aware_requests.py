"""What is asked of the Carbon Aware API: locations, times and batches, read and bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.carbon_aware_wire import Problem, body_time, invalid, query_time, unreadable
from evenwatt_collector.http.bodies import received
from evenwatt_collector.http.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from starlette.requests import Request

_MOST_LOCATIONS: Final = 100
_LONGEST_S: Final = 366 * 86_400
"""Of one location; with five-minute data that is 105,000 points."""
_LONGEST_TOGETHER_S: Final = 10 * _LONGEST_S
"""Of all locations of a question: a year of a hundred grids would be read for a minute."""
_MOST_BATCH: Final = 1_000
_MOST_BODY_BYTES: Final = 1_048_576


def locations(request: Request) -> list[str]:
    """Return a query's locations."""
    names = list(dict.fromkeys(name for name in request.query_params.getlist("location") if name))
    if not names:
        raise invalid({"location": ["location is not set"]})
    if len(names) > _MOST_LOCATIONS:
        raise invalid({"location": [f"{len(names)} locations; at most {_MOST_LOCATIONS} at once"]})
    return names


def time_of(request: Request, name: str) -> datetime | None:
    """Return a time of a query, None when it is not given."""
    text = request.query_params.get(name)
    return query_time(name, text) if text else None


def moment_of(row: Mapping[str, Any], name: str) -> datetime | None:
    """Return a time of a batch's element, None when it is not given."""
    value = row.get(name)
    return None if value is None else body_time(name, value)


def text_of(row: Mapping[str, Any], name: str) -> str:
    """Return a text of a batch's element, empty when it is not given."""
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise unreadable(name, value)
    return value or ""


def missing(**values: object) -> Problem:
    """Return the problem of what is not given, naming all of it."""
    return invalid({name: [f"{name} is not set"] for name, value in values.items() if not value})


def ordered(start: tuple[str, datetime], end: tuple[str, datetime]) -> tuple[float, float]:
    """Return two times as Unix times, the first before the other and not too far from it."""
    start_s, end_s = start[1].timestamp(), end[1].timestamp()
    if start_s >= end_s:
        raise invalid({start[0]: [f"{start[0]} must be before {end[0]}"]})
    if end_s - start_s > _LONGEST_S:
        raise invalid({end[0]: [f"{end[0]} must be at most 366 days after {start[0]}"]})
    return start_s, end_s


def bounded(name: str, seconds: float) -> None:
    """See that a question is not of too much time, all its locations or elements together."""
    if seconds > _LONGEST_TOGETHER_S:
        raise invalid({name: [f"{seconds / 86_400:.0f} days in all; at most {_LONGEST_TOGETHER_S // 86_400} at once"]})


async def rows(request: Request) -> list[dict[str, Any]]:
    """Read a batch."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Problem(415, "Unsupported Media Type", "expected Content-Type: application/json")
    try:
        body = await received(request, _MOST_BODY_BYTES, f"more than {_MOST_BODY_BYTES} bytes")
    except RequestError as error:
        title = "Payload Too Large" if error.status == 413 else "Request Timeout"
        raise Problem(error.status, title, str(error)) from None
    try:
        rows = msgspec.json.decode(body, type=list[dict[str, Any]])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Problem(400, "One or more validation errors occurred.", errors={"$": [str(error)]}) from None
    if len(rows) > _MOST_BATCH:
        raise invalid({"$": [f"{len(rows)} elements; at most {_MOST_BATCH} at once"]})
    return rows
