"""The last hour of each zone, for whoever opens a chart. Pure: time is an argument; nothing is kept over a restart."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_wire import ZoneSummary

Document = dict[str, Any]

STEP_S: Final = 5.0
KEPT_S: Final = 3600.0
_SAMPLES: Final = int(KEPT_S / STEP_S)
_ZONES: Final = 256
"""About 6 MB of samples at the most; charts of further zones begin when they are opened."""
_NOT_KNOWN: Final = float("nan")
COLUMNS: Final = ("power_w", "budget_w", "leased_w", "emissions_g_per_h", "intensity_g_per_kwh")


class ZoneHistory:
    """Samples of each zone's summary."""

    def __init__(self) -> None:
        self._zones: dict[str, dict[str, array[float]]] = {}
        self._due_s = float("-inf")

    def add(self, now_s: float, summaries: Iterable[ZoneSummary]) -> None:
        """Take the summaries of a moment (Unix time), if a step has passed since the last ones."""
        if now_s < self._due_s - STEP_S:
            self._zones.clear()  # the clock was set back: moments would no longer ascend
        elif now_s < self._due_s:
            return
        self._due_s = now_s + STEP_S
        for summary in summaries:
            kept = self._zones.get(summary.zone)
            if kept is None:
                if len(self._zones) >= _ZONES:
                    continue
                kept = self._zones[summary.zone] = {name: array("d") for name in ("at_s", *COLUMNS)}
            kept["at_s"].append(now_s)
            for name in COLUMNS:
                value = getattr(summary, name)
                kept[name].append(_NOT_KNOWN if value is None else value)
            if len(kept["at_s"]) > _SAMPLES:
                for column in kept.values():
                    del column[0]

    def document(self, zone: str, since_s: float) -> Document | None:
        """Return a zone's samples since a moment (Unix time), the oldest first, in columns; None without any."""
        kept = self._zones.get(zone)
        if kept is None:
            return None
        picked = [i for i, at_s in enumerate(kept["at_s"]) if at_s >= since_s]
        columns = {name: [_known(column[i]) for i in picked] for name, column in kept.items()}
        return {"zone": zone, "step_s": STEP_S, **columns}


def _known(value: float) -> float | None:
    return None if value != value else round(value, 3)  # noqa: PLR0124  (what is not a number differs from itself)
