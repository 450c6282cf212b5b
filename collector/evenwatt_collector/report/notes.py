"""What a reader of a report has to know, in words. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.carbon.shares import HOUR_S
from evenwatt_collector.storage.energy import SETTLED_MS
from evenwatt_collector.storage.hours import CLOSED_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.report.asking import ReportQuery
    from evenwatt_collector.report.model import Figures

_NAMED: Final = 5


def notes(
    query: ReportQuery, total: Figures, known_s: float, strangers: Sequence[str], silent: Sequence[str]
) -> tuple[str, ...]:
    """Return them.

    Args:
        query: What was asked.
        total: The report's.
        known_s: The moment as of which it was made.
        strangers: Zones that nothing is known of but energy.
        silent: Nodes that sent nothing up to the end of the period.
    """
    found = []
    open_s = (known_s - CLOSED_AFTER_S - SETTLED_MS / 1e3) // HOUR_S * HOUR_S
    if query.end_s > open_s:
        since = datetime.fromtimestamp(max(open_s, query.start_s), UTC)
        found.append(f"provisional: hours from {since:%Y-%m-%d %H:%M} UTC on are still open; records are on their way")
    if silent:
        found.append(
            f"nothing was heard up to the end of the period from {_some(silent)}; their time counts as missing"
        )
    fallback_j = total.by_standing_j.get(Standing.FALLBACK, 0.0)
    if fallback_j > 0 and total.energy_j > 0:
        share = fallback_j / total.energy_j
        found.append(f"{share:.1%} of the energy is weighed with annual averages, because no source told of its hours")
    if strangers:
        found.append(f"left out, since no grid is configured for them: zones {_some(strangers)}")
    if query.workload is not None or query.node is not None:
        found.append("the intensities listed are those of the whole zones, not of the selection alone")
    return tuple(found)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
