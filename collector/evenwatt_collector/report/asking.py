"""What a report is asked for, and how that travels in a URL. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Self

from evenwatt_collector.report.model import By
from evenwatt_collector.report.periods import zone
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQuery:
    """One question."""

    by: By
    start_s: float
    """Unix time; the period is [start, end)."""
    end_s: float
    timezone: str
    """IANA name; of labels and of the days in the time line."""
    known_at_s: float | None = None
    """As known at this moment; None: as known now."""
    zone: str | None = None
    """Only what is in this zone; likewise the three below."""
    node: str | None = None
    workload: str | None = None
    model: str | None = None
    """A model with all its variants (``MODEL:VARIANT``), or one of them."""

    @property
    def part(self) -> bool:
        """Whether it is asked of some of the work on nodes only, so that missing time is nobody's."""
        return self.workload is not None or self.model is not None

    def parameters(self) -> dict[str, str]:
        """Return it as the parameters of ``GET /api/v1/report``."""
        said = {
            "by": self.by.value,
            "from": repr(self.start_s),
            "to": repr(self.end_s),
            "tz": self.timezone,
            "known_at": None if self.known_at_s is None else repr(self.known_at_s),
            "zone": self.zone,
            "node": self.node,
            "workload": self.workload,
            "model": self.model,
        }
        return {key: value for key, value in said.items() if value is not None}

    @classmethod
    def from_parameters(cls, said: Mapping[str, str], now_s: float) -> Self:
        """Read :meth:`parameters` back; ``by`` is zone, ``to`` is now and ``tz`` UTC where they are not given.

        Raises:
            Failure: a parameter is unknown, missing or out of its range; it names the parameter.
        """
        known = ("by", "from", "to", "tz", "known_at", "zone", "node", "workload", "model")
        for key in said:
            if key not in known:
                raise Failure(f"{key}: no such parameter; expected some of {', '.join(known)}")
        by = said.get("by", By.ZONE.value)
        if by not in set(By):
            raise Failure(f"by: found {by!r}, expected one of {', '.join(By)}")
        if "from" not in said:
            raise Failure("from: missing; expected the start of the period in Unix seconds")
        query = cls(
            by=By(by),
            start_s=_seconds("from", said["from"]),
            end_s=_seconds("to", said["to"]) if "to" in said else now_s,
            timezone=zone(said.get("tz", "UTC"), "tz:").key,
            known_at_s=_seconds("known_at", said["known_at"]) if "known_at" in said else None,
            zone=said.get("zone"),
            node=said.get("node"),
            workload=said.get("workload"),
            model=said.get("model"),
        )
        if query.start_s >= query.end_s:
            raise Failure(f"from: found {query.start_s:.0f}, expected less than to, which is {query.end_s:.0f}")
        return query


_LATEST_S = 253_402_300_799
"""The end of the year 9999: calendars go no further."""


def _seconds(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and 0 <= value <= _LATEST_S):
        raise Failure(f"{key}: found {text!r}, expected Unix seconds, e.g. 1798758000")
    return value
