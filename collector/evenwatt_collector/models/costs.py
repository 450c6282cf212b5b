"""What a unit costs on a node: measured there, else on nodes of its kind, else published elsewhere. Pure.

These three are never mixed: a cost says which it is, and a published figure is used for a variant only where nothing
was measured.
"""

from __future__ import annotations

from enum import StrEnum
from math import hypot
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evenwatt_collector.carbon.shares import HOUR_S
from evenwatt_collector.models.measured import Estimate, Measured, grouped, measure
from evenwatt_collector.report.uncertainty import QUALITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.models.measured import Piece
    from evenwatt_collector.models.registry import DeviceKind, Published, Registry, Variant

INFER: Final = "infer"
"""The phase whose runs say what a unit costs."""
PUBLISHED_RELATIVE: Final = 0.5
"""Half of the 90 % range of a figure from elsewhere: our choice, as wide as for energy of unknown quality. Other
software, batch sizes and inputs change joules per unit by more than any meter does."""
ALONE_RELATIVE: Final = 0.3
"""The same of a single piece of work, whose spread nobody knows: our choice, as for a model that is not calibrated."""


class Origin(StrEnum):
    """Where a cost is from, the best first."""

    NODE = "measured"
    KIND = "measured on its kind"
    PUBLISHED = "published"


class Cost(Struct, frozen=True, kw_only=True):
    """Joules per unit on a node, and how fast."""

    origin: Origin
    joules_per_unit: float
    relative: float
    """Half of the 90 % interval, relative: spread of the work and how its energy was metered."""
    latency_s: float | None
    latency_measured: bool
    units_per_s: float | None
    caveats: list[str] = []
    detail: str = ""
    """Runs and date, or the published source."""

    @property
    def measured(self) -> bool:
        """Whether it was measured here."""
        return self.origin is not Origin.PUBLISHED


class Costs:
    """What is known of every variant's cost.

    Args:
        registry: Variants, kinds of devices, published figures.
        pieces: What tasks did here.
        now_s: Unix time, for what is stale.
    """

    def __init__(self, registry: Registry, pieces: Sequence[Piece], now_s: float) -> None:
        self.registry, self._now_s = registry, now_s
        self.measured: list[Measured] = []
        """By node, then by kind."""
        self._at: dict[tuple[str, str, str], Cost] = {}
        self._of_kind: dict[tuple[str, str], Cost] = {}
        self._kinds: dict[tuple[str, str], DeviceKind | None] = {}
        self._published: dict[tuple[str, str], list[Published]] = {}
        for row in registry.published:
            self._published.setdefault((row.label, row.unit), []).append(row)
        by_label = grouped(pieces, {INFER})
        for variant in registry.variants:
            self._add(variant, by_label.get(variant.label, []))

    def cost(self, variant: Variant, zone: str, node: str) -> Cost | None:
        """Return what a unit costs on a node; None if nothing is known."""
        found = self._at.get((variant.label, zone, node))
        if found is not None:
            return found
        kind = self.kind_of(zone, node)
        if kind is not None and (alike := self._of_kind.get((variant.label, kind.name))) is not None:
            return alike
        published = [
            row
            for row in self._published.get((variant.label, variant.unit), ())
            if row.device in {"", kind.name if kind else ""}
        ]
        # The one for this very kind before one for any; of those the one that came last.
        best = max(published, key=lambda row: (bool(row.device), row.imported_s), default=None)
        return None if best is None else _from_published(best)

    def kind_of(self, zone: str, node: str) -> DeviceKind | None:
        """Return the kind of a node; looked up once a node."""
        if (zone, node) not in self._kinds:
            self._kinds[zone, node] = self.registry.kind_of(zone, node)
        return self._kinds[zone, node]

    def _add(self, variant: Variant, pieces: list[Piece]) -> None:
        places: dict[tuple[str, str], list[Piece]] = {}
        kinds: dict[str, list[Piece]] = {}
        for piece in pieces:
            places.setdefault((piece.zone, piece.node), []).append(piece)
            kind = self.kind_of(piece.zone, piece.node)
            if kind is not None:
                kinds.setdefault(kind.name, []).append(piece)
        for (zone, node), there in sorted(places.items()):
            kind = self.kind_of(zone, node)
            found = measure(there, variant.unit, zone=zone, node=node, kind=kind.name if kind else "")
            if found is not None:
                self._at[variant.label, zone, node] = self._from_measured(found, Origin.NODE)
                self.measured.append(found)
        for name, alike in sorted(kinds.items()):
            found = measure(alike, variant.unit, kind=name)
            if found is not None:
                self._of_kind[variant.label, name] = self._from_measured(found, Origin.KIND)
                self.measured.append(found)

    def _from_measured(self, found: Measured, origin: Origin) -> Cost:
        spread = found.joules_per_unit.relative
        metering = QUALITY["measured" if found.metered_share >= 0.5 else "estimated"].relative
        return Cost(
            origin=origin,
            joules_per_unit=found.joules_per_unit.mean,
            relative=hypot(ALONE_RELATIVE if spread is None else spread, metering),
            latency_s=_mean(found.latency_s),
            latency_measured=found.latency_measured,
            units_per_s=_mean(found.units_per_s),
            caveats=found.caveats(self._now_s),
            detail=f"{found.runs} run{'s' if found.runs > 1 else ''}, the last {_ago(self._now_s - found.last_s)}",
        )


def _from_published(row: Published) -> Cost:
    counts = f", counts {row.boundary}" if row.boundary else ""
    return Cost(
        origin=Origin.PUBLISHED,
        joules_per_unit=row.joules_per_unit,
        relative=PUBLISHED_RELATIVE,
        latency_s=row.latency_s,
        latency_measured=False,
        units_per_s=row.units_per_s,
        caveats=["published elsewhere, not measured here"],
        detail=f"{row.source}{counts}",
    )


def _mean(found: Estimate | None) -> float | None:
    return None if found is None else found.mean


def _ago(seconds: float) -> str:
    if seconds < 2 * HOUR_S:
        return f"{max(0.0, seconds) / 60:.0f} min ago"
    return f"{seconds / HOUR_S:.0f} h ago" if seconds < 48 * HOUR_S else f"{seconds / (24 * HOUR_S):.0f} days ago"
