"""What a reader of a report has to know, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.carbon.shares import HOUR_S
from evenwatt_collector.storage.energy import SETTLED_MS
from evenwatt_collector.storage.hours import CLOSED_AFTER_S, DEFAULT_SLOTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.report.asking import ReportQuery
    from evenwatt_collector.report.model import Figures

_NAMED: Final = 5
_SLOT_S: Final = HOUR_S // DEFAULT_SLOTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Under which a report was made."""

    known_s: float
    """The moment as of which it was made."""
    recorded_from_s: float | None
    """When the first record began."""
    strangers: Sequence[str]
    """Zones that nothing is known of but energy."""
    silent: Sequence[str]
    """Nodes that sent nothing up to the end of the period."""
    nodes: int
    devices: int
    """Nodes of which it is known what making them weighs."""


def notes(query: ReportQuery, total: Figures, under: Circumstances) -> tuple[str, ...]:
    """Return them."""
    found = []
    open_s = (under.known_s - CLOSED_AFTER_S - SETTLED_MS / 1e3) // HOUR_S * HOUR_S
    if query.end_s > open_s:
        since = _said(max(open_s, query.start_s))
        found.append(f"provisional: hours from {since} on are still open; records are on their way")
    if under.recorded_from_s is not None and under.recorded_from_s > query.start_s + 1:
        found.append(f"recording began at {_said(under.recorded_from_s)}; nothing is known of the time before")
    if query.start_s % _SLOT_S or (query.end_s % _SLOT_S and query.end_s < under.known_s - 1):
        found.append("the period begins or ends within a slot of time; energy is taken as even within it")
    if under.silent:
        names = _some(under.silent)
        found.append(f"nothing was heard up to the end of the period from {names}; their time counts as missing")
    if 0 < under.devices < under.nodes:
        found.append(
            f"embodied emissions are of {under.devices} of {under.nodes} nodes: the others have no [[devices]]"
        )
    fallback_j = total.by_standing_j.get(Standing.FALLBACK, 0.0)
    if fallback_j > 0 and total.energy_j > 0:
        share = fallback_j / total.energy_j
        found.append(f"{share:.1%} of the energy is weighed with annual averages, because no source told of its hours")
    if under.strangers:
        found.append(f"left out, since no grid is configured for them: zones {_some(under.strangers)}")
    if query.part or query.node is not None:
        found.append("the intensities listed are those of the whole zones, not of the selection alone")
    return tuple(found)


def _said(wall_s: float) -> str:
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d %H:%M} UTC"


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
