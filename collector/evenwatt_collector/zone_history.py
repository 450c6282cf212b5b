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
_MEANS: Final = ("power_w", "emissions_g_per_h")
"""What moves within a step is its mean: of a load in bursts, a sample now and then would show anything."""
_OF_NODES: Final = (*_MEANS, "leased_w")
"""What is not known, and not nothing, before a node has been heard."""


class ZoneHistory:
    """Each zone's summaries, a step at a time."""

    def __init__(self) -> None:
        self._zones: dict[str, dict[str, array[float]]] = {}
        self._within: dict[str, tuple[int, list[float]]] = {}
        """How many summaries of the step that runs were heard, and the sums of what is kept as means."""
        self._due_s = float("-inf")

    def add(self, now_s: float, summaries: Iterable[ZoneSummary]) -> None:
        """Take the summaries of a moment (Unix time); once a step has passed, keep what it came to."""
        if now_s < self._due_s - STEP_S:
            self._zones.clear()  # the clock was set back: moments would no longer ascend
            self._within.clear()
            self._due_s = now_s
        ends = now_s >= self._due_s
        for summary in summaries:
            times, sums = self._within.get(summary.zone, (0, [0.0] * len(_MEANS)))
            if summary.nodes:
                times, sums = times + 1, [one + getattr(summary, name) for one, name in zip(sums, _MEANS, strict=True)]
                self._within[summary.zone] = (times, sums)
            if ends:
                self._keep(now_s, summary, {name: one / times for name, one in zip(_MEANS, sums, strict=True) if times})
        if ends:
            self._due_s = now_s + STEP_S
            self._within.clear()

    def _keep(self, now_s: float, summary: ZoneSummary, means: dict[str, float]) -> None:
        kept = self._zones.get(summary.zone)
        if kept is None:
            if len(self._zones) >= _ZONES:
                return
            kept = self._zones[summary.zone] = {name: array("d") for name in ("at_s", *COLUMNS)}
        kept["at_s"].append(now_s)
        for name in COLUMNS:
            unheard = not summary.nodes and name in _OF_NODES
            value = None if unheard else means.get(name, getattr(summary, name))
            kept[name].append(_NOT_KNOWN if value is None else value)
        if len(kept["at_s"]) > _SAMPLES:
            for column in kept.values():
                del column[0]

    def document(self, zone: str, since_s: float) -> Document | None:
        """Return a zone's steps since a moment (Unix time), the oldest first, in columns; None without any."""
        kept = self._zones.get(zone)
        if kept is None:
            return None
        picked = [i for i, at_s in enumerate(kept["at_s"]) if at_s >= since_s]
        columns = {name: [_known(column[i]) for i in picked] for name, column in kept.items()}
        return {"zone": zone, "step_s": STEP_S, **columns}


def _known(value: float) -> float | None:
    return None if value != value else round(value, 3)  # noqa: PLR0124  (what is not a number differs from itself)
