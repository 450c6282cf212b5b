"""A zone's rows of energy, weighed: the columns that days and reports are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.shares import HOUR_S
from evenwatt_collector.carbon.site import device_line, held_at
from evenwatt_collector.carbon.weigh import Factors, factors, used, weigh
from evenwatt_collector.storage.energy import Asked, fetch
from evenwatt_collector.storage.hours import NODE, OWNER
from evenwatt_collector.storage.intensity import known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from evenwatt_collector.carbon.site import Devices
    from evenwatt_collector.carbon.weigh import Use as SourceUse
    from evenwatt_collector.storage.connection import Connection
    from evenwatt_collector.storage.energy import Energy

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

COLUMNS: Final = (
    "energy_j", "dynamic_j", "gpu_j", "integrated_j", "estimated_j", "unknown_j", "covered_s", "site_j", "location_g",
    "location_dynamic_g", "market_g", "marginal_g", "marginal_j", "embodied_g", "water_l", "by_estimated_j",
    "by_forecast_j", "by_fallback_j",
)  # fmt: skip
"""Of the table ``day``, and of every table here."""

AT: Final = {name: i for i, name in enumerate(COLUMNS)}


@dataclass(frozen=True, slots=True)
class Table:
    """Weighed rows; NaN in ``market_g``, ``embodied_g`` and ``water_l`` where nothing is configured."""

    hours: Ints
    nodes: Ints
    owners: Ints
    columns: Floats
    """(row, column)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Which hours, and within them from when to when."""

    first_hour: int
    last_hour: int
    """Not included."""
    start_s: float
    end_s: float

    @classmethod
    def of(cls, start_s: float, end_s: float) -> Period:
        """Return the hours that [start, end) touches."""
        return cls(first_hour=int(start_s // HOUR_S), last_hour=int(-(-end_s // HOUR_S)), start_s=start_s, end_s=end_s)


class ZoneBook:
    """One zone over a period, as known at a moment.

    Args:
        connection: To read from.
        zone: Its number.
        name: Its name; facts of its site must be known.
        devices: What nodes weigh, by pattern.
        nodes: Names of the zone's nodes by number.
        known_at_s: What was recorded of intensity and site up to this moment counts; None: everything.
    """

    def __init__(
        self,
        connection: Connection,
        zone: tuple[int, str],
        devices: Mapping[str, Devices],
        nodes: Mapping[int, str],
        known_at_s: float | None = None,
    ) -> None:
        self._connection, (self._zone, self._name) = connection, zone
        self._nodes, self._known_at_s = nodes, known_at_s
        self._devices = {number: device_line(self._name, node, devices) for number, node in nodes.items()}
        self._fetched: tuple[Asked, list[Energy]] | None = None
        """The last rows by node: a report needs them for its rows, for covered time and for its sources."""
        self._factors: dict[tuple[int, int, int], Factors] = {}

    @property
    def embodied(self) -> bool:
        """Whether any node has a device configured."""
        return any(self._devices.values())

    def table(self, cut: int, period: Period, known_at_ms: int, node: int | None = None) -> Table:
        """Return the rows of a cut; ``OWNER`` rows carry embodied grams by their share of their node's energy."""
        asked = Asked(
            cut=cut,
            zone=self._zone,
            first_hour=period.first_hour,
            last_hour=period.last_hour,
            known_at_ms=known_at_ms,
            node=node,
        )
        known_s = known_at_ms / 1e3
        parts = [self._weighed(_within(energy, period, known_s)) for energy in self._fetch(asked)]
        if not parts:
            empty = np.empty(0, dtype=np.int64)
            return Table(empty, empty, empty, np.empty((0, len(COLUMNS))))
        table = Table(
            np.concatenate([part.hours for part in parts]),
            np.concatenate([part.nodes for part in parts]),
            np.concatenate([part.owners for part in parts]),
            np.concatenate([part.columns for part in parts]),
        )
        if cut == NODE:
            self._embody_nodes(table)
        elif cut == OWNER and self.embodied:
            self._embody_owners(table, self.table(NODE, period, known_at_ms, node))
        return table

    def used(self, period: Period, known_at_ms: int) -> list[SourceUse]:
        """Return what each source of average intensity contributed."""
        asked = Asked(
            cut=NODE,
            zone=self._zone,
            first_hour=period.first_hour,
            last_hour=period.last_hour,
            known_at_ms=known_at_ms,
        )
        found: dict[tuple[object, ...], SourceUse] = {}
        for energy in (_within(part, period, known_at_ms / 1e3) for part in self._fetch(asked)):
            made = self._made(energy)
            joules = np.zeros((len(made.pue), energy.slots))
            np.add.at(joules, energy.hours - made.first_hour, energy.joules.sum(axis=1))
            for use in used(made, joules):
                key = (use.grid, use.basis, use.source, use.standing)
                if key in found:
                    found[key].add(use)
                else:
                    found[key] = use
        return list(found.values())

    def _fetch(self, asked: Asked) -> list[Energy]:
        if asked.cut != NODE:
            return fetch(self._connection, asked)
        if self._fetched is None or self._fetched[0] != asked:
            self._fetched = (asked, fetch(self._connection, asked))
        return self._fetched[1]

    def _made(self, energy: Energy) -> Factors:
        """Return factors of the hours that hold energy: a period may be as long as anybody likes."""
        first, last = int(energy.hours.min()), int(energy.hours.max()) + 1
        key = (first, last, energy.slots)
        made = self._factors.get(key)
        if made is None:
            told = known(self._connection, self._zone, first * HOUR_S, last * HOUR_S, self._known_at_s)
            if told is None:
                raise LookupError(f"nothing is known of the site of zone {self._name!r}")
            made = self._factors[key] = factors(told, first, last - first, energy.slots)
        return made

    def _weighed(self, energy: Energy) -> Table:
        weighed = weigh(self._made(energy), energy.hours, energy.joules)
        columns = np.full((len(energy.hours), len(COLUMNS)), np.nan)
        for name in weighed.__slots__:
            columns[:, AT[name]] = getattr(weighed, name)
        for i, name in enumerate(("gpu_j", "integrated_j", "estimated_j", "unknown_j", "covered_s")):
            columns[:, AT[name]] = energy.scalars[:, i]
        return Table(energy.hours, energy.nodes, energy.owners, columns)

    def _embody_nodes(self, table: Table) -> None:
        rates = [self._rate(node, hour) for node, hour in zip(table.nodes.tolist(), table.hours.tolist(), strict=True)]
        table.columns[:, AT["embodied_g"]] = np.array(rates) * table.columns[:, AT["covered_s"]]

    def _rate(self, node: int, hour: int) -> float:
        line = self._devices.get(node)
        return held_at(line, hour * HOUR_S).rate_g_per_s if line else float("nan")

    def _embody_owners(self, table: Table, whole: Table) -> None:
        """Share out what each node weighs in each hour, by energy."""
        keys = np.stack(
            (np.concatenate((whole.nodes, table.nodes)), np.concatenate((whole.hours, table.hours))), axis=1
        )
        _, which = np.unique(keys, axis=0, return_inverse=True)
        of_node, of_row = which[: len(whole.nodes)].ravel(), which[len(whole.nodes) :].ravel()
        size = int(which.max()) + 1 if len(which) else 0
        embodied_g = np.bincount(of_node, whole.columns[:, AT["embodied_g"]], size)
        energy_j = table.columns[:, AT["energy_j"]]
        sums_j, counts = np.bincount(of_row, energy_j, size), np.bincount(of_row, minlength=size)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(sums_j[of_row] > 0, energy_j / sums_j[of_row], 1.0 / counts[of_row])
        table.columns[:, AT["embodied_g"]] = embodied_g[of_row] * part


def _within(energy: Energy, period: Period, known_s: float) -> Energy:
    """Cut rows to a period that begins or ends within an hour; what a running slot holds was used up to now."""
    first_s, last_s = period.first_hour * HOUR_S, period.last_hour * HOUR_S
    if (period.start_s, period.end_s) == (first_s, last_s):
        return energy
    slot_s = HOUR_S / energy.slots
    begins = energy.hours[:, None] * HOUR_S + np.arange(energy.slots) * slot_s
    lasts = np.minimum(slot_s, np.maximum(known_s - begins, 1e-3))
    inside = np.minimum(begins + lasts, period.end_s) - np.maximum(begins, period.start_s)
    share = np.clip(inside / lasts, 0.0, 1.0)
    joules = energy.joules * share[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = joules.sum(axis=(1, 2)) / energy.joules.sum(axis=(1, 2))
    kept = np.where(np.isfinite(kept), kept, share.mean(axis=1))
    return replace(energy, joules=joules, scalars=energy.scalars * kept[:, None])
