"""How the Carbon Aware SDK's WebAPI writes and reads times and errors. Pure.

It is ASP.NET: a ``DateTimeOffset`` is written with its offset (``2022-06-01T14:45:00+00:00``) and a ``TimeSpan`` as
``hh:mm:ss``; query parameters are read leniently (``2022-1-1T04:05:06Z``, ``2022-01-01``), JSON bodies by ISO 8601
only; a time without an offset is the server's, for us UTC. Errors are RFC 9457 problems with ``errors`` by parameter.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

_LENIENT: Final = re.compile(
    r"(?P<y>\d{4})-(?P<mo>\d{1,2})-(?P<d>\d{1,2})"
    r"(?:[T ](?P<h>\d{1,2}):(?P<mi>\d{1,2})(?::(?P<s>\d{1,2})(?P<f>\.\d+)?)?)?"
    r"\s*(?P<z>Z|[+-]\d{2}:?\d{2}| \d{2}:\d{2})?",
    re.ASCII | re.IGNORECASE,
)
_STRICT: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,16})?)?(?:Z|[+-]\d{2}:\d{2})?)?", re.ASCII
)

EARLIEST_S: Final = 0
LATEST_S: Final = 4_102_444_800
"""The year 2100: what is beyond 1970 and this is a mistake."""


class Problem(Exception):  # noqa: N818  (RFC 9457's word for it)
    """What is answered instead of data."""

    def __init__(self, status: int, title: str, detail: str = "", errors: dict[str, list[str]] | None = None) -> None:
        super().__init__(detail or title)
        self.status, self.title, self.detail, self.errors = status, title, detail, errors or {}

    def document(self) -> dict[str, Any]:
        """Return the body."""
        detail = {"detail": self.detail} if self.detail else {}
        return {"title": self.title, "status": self.status, **detail, "errors": self.errors}


def invalid(errors: dict[str, list[str]]) -> Problem:
    """Return the problem of parameters that are missing or contradict each other."""
    return Problem(400, "ArgumentException", "Invalid parameters", errors)


def unreadable(name: str, value: object) -> Problem:
    """Return the problem of a value that cannot be read."""
    text = str(value)
    shown = text if len(text) <= 100 else f"{text[:100]}..."
    return Problem(
        400, "One or more validation errors occurred.", errors={name: [f"The value '{shown}' is not valid."]}
    )


def query_time(name: str, text: str) -> datetime:
    """Read a time of a query.

    Raises:
        Problem: it is none.
    """
    found = _LENIENT.fullmatch(text.strip()) if len(text) <= 64 else None
    if found is None:
        raise unreadable(name, text)
    zone = (found["z"] or "Z").upper()
    if zone.startswith(" "):  # a plus sign that was not escaped
        zone = f"+{zone[1:]}"
    day = f"{found['y']}-{int(found['mo']):02d}-{int(found['d']):02d}"
    clock = f"{int(found['h'] or 0):02d}:{int(found['mi'] or 0):02d}:{int(found['s'] or 0):02d}{found['f'] or ''}"
    return _read(name, text, f"{day}T{clock}{zone}")


def body_time(name: str, value: object) -> datetime:
    """Read a time of a JSON body.

    Raises:
        Problem: it is none.
    """
    if not isinstance(value, str) or not _STRICT.fullmatch(value):
        raise unreadable(name, value)
    return _read(name, value, value)


def _read(name: str, shown: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise unreadable(name, shown) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not EARLIEST_S <= moment.timestamp() <= LATEST_S:
        raise unreadable(name, shown)
    return moment


def utc(wall_s: float) -> datetime:
    """Return a moment by its Unix time."""
    return datetime.fromtimestamp(wall_s, UTC)


def stamp(moment: datetime) -> str:
    """Write a moment as a ``DateTimeOffset`` is: fractions without trailing zeros, the offset always."""
    text = moment.isoformat()
    if moment.microsecond:
        head, offset = text[:26], text[26:]
        return f"{head.rstrip('0')}{offset}"
    return text


def span(seconds: float) -> str:
    """Write a length of time as a ``TimeSpan`` is: ``[d.]hh:mm:ss``."""
    days, rest = divmod(round(seconds), 86_400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}.{clock}" if days else clock
