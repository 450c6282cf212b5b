"""An alert: what is wrong, since when, by how much, and what would help. Plain data for streams, webhooks and people.

States: OPEN --worse, or revised--> UPDATED --over--> RESOLVED. Each step is one message with the next ``step``, so that
``delivery`` names a message for good and whoever gets it twice can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Whom it concerns, and how soon."""

    PAGE = "page"
    """Somebody should act within minutes."""
    TICKET = "ticket"
    """Somebody should act within a working day."""
    INFO = "info"
    """Nobody has to act."""


class AlertState(StrEnum):
    """Where in its life an alert is."""

    OPEN = "open"
    UPDATED = "updated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One message of an alert's life."""

    id: str
    """The same from open to resolved."""
    step: int
    """0 when it opens, then one more each time."""
    kind: str
    """E.g. ``burn``, ``projection``, ``spent``, ``blind``."""
    about: str
    """Name of the budget or part that it is about."""
    scope: str
    """What of the fleet: ``fleet``, ``zone:NAME``, ``workload:NAME``, ``team:NAME``."""
    state: AlertState
    severity: Severity
    since_s: float
    """Unix time when it opened."""
    at_s: float
    """Unix time of this message."""
    figures: dict[str, float | None]
    """Numbers with their units in the names."""
    words: str
    """What, since when, how much."""
    advice: str
    """What would help; empty when it is over."""
    webhooks: tuple[str, ...] = ()
    """Names of the webhooks that get it; empty: all."""

    @property
    def delivery(self) -> str:
        """Names this message, for whoever gets it twice."""
        return f"{self.id}.{self.step}"

    def document(self) -> dict[str, Any]:
        """Return it as JSON-able data; times are in UTC."""
        return {
            "id": self.id,
            "delivery": self.delivery,
            "kind": self.kind,
            "about": self.about,
            "scope": self.scope,
            "state": self.state.value,
            "severity": self.severity.value,
            "since": iso(self.since_s),
            "at": iso(self.at_s),
            "figures": dict(self.figures),
            "words": self.words,
            "advice": self.advice,
        }


def iso(wall_s: float) -> str:
    """Return a Unix time in UTC to the second, as RFC 3339 has it."""
    return datetime.fromtimestamp(int(wall_s), UTC).isoformat().replace("+00:00", "Z")
