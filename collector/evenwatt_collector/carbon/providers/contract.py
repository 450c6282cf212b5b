"""What every source of intensity offers, how it fails, and how it reads a time. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.carbon.series import Kind, Reading

HOUR_S: Final = 3600
DAY_S: Final = 86_400

_LONGEST_SENTENCE: Final = 2_000
"""It may quote what a server said, which may be anything."""
_EARLIEST_S: Final = 631_152_000  # 1990-01-01: no grid's figures are older than that
_LATEST_S: Final = 4_102_444_800  # 2100-01-01


class Trouble(StrEnum):
    """Why a source gave nothing."""

    UNREACHABLE = "unreachable"
    """No connection, no answer in time, or an answer of 5xx."""
    REFUSED = "refused"
    """The key, or what it is entitled to."""
    LIMITED = "limited"
    """Too many requests: the provider's word, or our own count of its documented limit."""
    NONSENSE = "nonsense"
    """An answer that is not what the provider documents: format, unit, zone, time."""
    UNKNOWN_ZONE = "unknown-zone"


class ProviderError(Exception):
    """A source that could not be read: one sentence with what was found, what was expected and the fix.

    The sentence never holds a secret. ``status`` and ``body`` are what an HTTP server answered, for a provider that can
    read more out of them; they are not part of the text.
    """

    def __init__(
        self,
        kind: Trouble,
        sentence: str,
        *,
        retry_s: float | None = None,
        status: int | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(sentence if len(sentence) <= _LONGEST_SENTENCE else f"{sentence[:_LONGEST_SENTENCE]}...")
        self.kind = kind
        self.retry_s = retry_s
        """How long to wait before the source is asked again; None: as usual."""
        self.status = status
        self.body = body


class Provider(Protocol):
    """One source for one grid."""

    source: str
    """Its name in the chain; stands in every reading."""
    kind: Kind
    period_s: int
    """How often it pays to ask what happened."""
    ahead_period_s: int
    """How often it pays to ask for a forecast."""
    chunk_s: int
    """The longest window one call of :meth:`past` may ask for."""
    lag_s: int
    """How late its figures usually are."""

    @property
    def clock_off_s(self) -> float | None:
        """How far our clock is ahead of the server's, by its last answer; None when it does not say."""

    async def past(self, start_s: int, end_s: int, now_s: int) -> list[Reading]:
        """Return what happened in [start, end).

        Raises:
            ProviderError: with what is wrong and the fix.
        """

    async def ahead(self, horizon_s: int, now_s: int) -> list[Reading]:
        """Return what the source expects from now on; empty when it does not forecast.

        Raises:
            ProviderError: with what is wrong and the fix.
        """


def unix_s(text: str) -> int:
    """Return Unix seconds of an ISO 8601 time; one without an offset is UTC.

    Raises:
        ValueError: it is not such a time, or not one of 1990 to 2100.
    """
    moment = datetime.fromisoformat(text.strip())
    stamp = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    if not _EARLIEST_S <= stamp < _LATEST_S:
        raise ValueError(f"{text!r} is not a time of 1990 to 2100")
    return stamp


def iso(wall_s: float, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    """Write a Unix time in UTC."""
    return datetime.fromtimestamp(wall_s, UTC).strftime(form)


def said_at(text: str | None, now_s: int) -> int:
    """Return when a source says it made a statement: ``now_s`` when it says nothing, or a time yet to come.

    A later statement wins over an earlier one; one dated ahead would win for ever.
    """
    try:
        return min(unix_s(text), now_s) if text else now_s
    except ValueError:
        return now_s


def within(readings: Iterable[Reading], start_s: int, end_s: int) -> list[Reading]:
    """Keep what speaks of [start, end): servers like to answer a little more than they were asked."""
    return [reading for reading in readings if reading.end_s > start_s and reading.start_s < end_s]
