"""What intensities a report rests on, put together over zones. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evenwatt_collector.carbon.emissions import JOULES_PER_KWH
from evenwatt_collector.carbon.series import Basis, Kind, Standing
from evenwatt_collector.carbon.weigh import Use
from evenwatt_collector.report.model import Used

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class _Entry:
    use: Use
    zones: set[str] = field(default_factory=set)


class Sources:
    """Uses by grid, kind, basis, source and standing."""

    def __init__(self) -> None:
        self._entries: dict[tuple[object, ...], _Entry] = {}

    def add(self, zone: str, use: Use) -> None:
        """Take in what a source contributed to a zone."""
        key = (use.grid, use.kind, use.basis, use.source, use.standing)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(Use(use.kind, use.basis, use.source, use.standing, use.grid))
        entry.use.add(use)
        entry.zones.add(zone)

    def add_row(self, zone: str, row: tuple[Any, ...]) -> None:
        """Take in a sum over rows of ``day_used``."""
        kind, basis, source, standing, grid, *figures = row
        self.add(zone, Use(Kind(kind), Basis(basis), source, Standing(standing), grid, *figures))

    def used(self, detail: Callable[[Use], str]) -> tuple[Used, ...]:
        """Return them, the most used first."""
        entries = sorted(self._entries.values(), key=lambda entry: -entry.use.energy_j)
        return tuple(
            Used(
                grid=entry.use.grid,
                zones=tuple(sorted(entry.zones)),
                kind=entry.use.kind,
                basis=entry.use.basis,
                source=entry.use.source,
                standing=entry.use.standing,
                mean_g_per_kwh=entry.use.grams / (entry.use.energy_j / JOULES_PER_KWH),
                least_g_per_kwh=entry.use.least_g_per_kwh,
                most_g_per_kwh=entry.use.most_g_per_kwh,
                energy_j=entry.use.energy_j,
                detail=detail(entry.use),
            )
            for entry in entries
            if entry.use.energy_j > 0
        )
