"""A zone's rows of energy, weighed: the columns that days and reports are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.carbon.shares import HOUR_S
from evenwatt_collector.carbon.site import device_line, held_at
from evenwatt_collector.carbon.weigh import Factors, factors, used, weigh
from evenwatt_collector.storage.energy import BLOCK_HOURS, Asked, Then, fetch, pieces
from evenwatt_collector.storage.hours import NODE, OWNER
from evenwatt_collector.storage.intensity import known

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from evenwatt_collector.carbon.site import Devices
    from evenwatt_collector.carbon.weigh import Known
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

_FACTORS_KEPT: Final = 4
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
        self._then: Then | None = None
        self._span = (0, 0)
        """Hours of which intensities are in memory."""
        self._told: Known | None = None
        self._factors: dict[tuple[int, int], Factors] = {}
        """By block of hours and slots an hour."""

    @property
    def embodied(self) -> bool:
        """Whether any node has a device configured."""
        return any(self._devices.values())

    def pieces(self, cut: int, period: Period, known_at_ms: int, node: int | None = None) -> list[Period]:
        """Return stretches of a period in which all rows of a cut lie: so many that each takes little memory."""
        found = pieces(self._connection, self._asked(cut, period, known_at_ms, node), self._known_then(known_at_ms))
        if found:
            self._reach(min(first for first, _ in found), max(last for _, last in found))
        return [
            Period(
                first_hour=first,
                last_hour=last,
                start_s=max(period.start_s, first * HOUR_S),
                end_s=min(period.end_s, last * HOUR_S),
            )
            for first, last in found
        ]

    def table(self, cut: int, period: Period, known_at_ms: int, node: int | None = None) -> Table:
        """Return the rows of a cut; ``OWNER`` rows carry embodied grams by their share of their node's energy."""
        asked = self._asked(cut, period, known_at_ms, node)
        known_s = known_at_ms / 1e3
        found = [_within(energy, period, known_s) for energy in self._fetch(asked)]
        parts = [part for energy in found for part in self._weighed(energy)]
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

    def used(self, periods: Iterable[Period], known_at_ms: int) -> list[SourceUse]:
        """Return what each source of average intensity contributed to some stretches of time."""
        found: dict[tuple[object, ...], SourceUse] = {}
        for use in (use for period in periods for use in self._used(period, known_at_ms)):
            key = (use.grid, use.basis, use.source, use.standing)
            if key in found:
                found[key].add(use)
            else:
                found[key] = use
        return list(found.values())

    def _used(self, period: Period, known_at_ms: int) -> Iterator[SourceUse]:
        for energy in self._fetch(self._asked(NODE, period, known_at_ms)):
            for part, made in self._blocks(_within(energy, period, known_at_ms / 1e3)):
                joules = np.zeros((len(made.pue), part.slots))
                np.add.at(joules, part.hours - made.first_hour, part.joules.sum(axis=1))
                yield from used(made, joules)

    @property
    def recorded_s(self) -> int:
        """When the newest of the readings in memory was recorded."""
        told = self._told
        return max((one.recorded_s for one in (*told.average, *told.marginal)), default=0) if told else 0

    def _asked(self, cut: int, period: Period, known_at_ms: int, node: int | None = None) -> Asked:
        return Asked(
            cut=cut,
            zone=self._zone,
            first_hour=period.first_hour,
            last_hour=period.last_hour,
            known_at_ms=known_at_ms,
            node=node,
        )

    def _known_then(self, known_at_ms: int) -> Then:
        if self._then is None or self._then.known_at_ms != known_at_ms:
            self._then = Then(self._connection, self._zone, known_at_ms)
        return self._then

    def _fetch(self, asked: Asked) -> list[Energy]:
        then = self._known_then(asked.known_at_ms)
        if asked.cut != NODE:
            return fetch(self._connection, asked, then)
        if self._fetched is None or self._fetched[0] != asked:
            self._fetched = (asked, fetch(self._connection, asked, then))
        return self._fetched[1]

    def _blocks(self, energy: Energy) -> Iterator[tuple[Energy, Factors]]:
        """Yield rows with the factors of their hours, block by block: a period may be as long as anybody likes."""
        self._reach(int(energy.hours.min()), int(energy.hours.max()) + 1)
        blocks = energy.hours // BLOCK_HOURS
        for block in np.unique(blocks).tolist():
            rows = blocks == block
            yield energy if rows.all() else energy.only(rows), self._made(block, energy.slots)

    def _reach(self, first_hour: int, last_hour: int) -> None:
        """Have in memory what is known of intensity in these hours."""
        if self._span[0] <= first_hour and last_hour <= self._span[1]:
            return
        told = known(self._connection, self._zone, first_hour * HOUR_S, last_hour * HOUR_S, self._known_at_s)
        if told is None:
            raise LookupError(f"nothing is known of the site of zone {self._name!r}")
        self._span, self._told = (first_hour, last_hour), told
        self._factors.clear()

    def _made(self, block: int, slots: int) -> Factors:
        made = self._factors.get((block, slots))
        if made is None:
            assert self._told is not None  # noqa: S101  (it has just been read)
            first, last = max(self._span[0], block * BLOCK_HOURS), min(self._span[1], (block + 1) * BLOCK_HOURS)
            told = self._told.within(first * HOUR_S, last * HOUR_S)
            if len(self._factors) >= _FACTORS_KEPT:
                self._factors.clear()
            made = self._factors[block, slots] = factors(told, first, last - first, slots)
        return made

    def _weighed(self, energy: Energy) -> list[Table]:
        return [self._weighed_by(made, part) for part, made in self._blocks(energy)]

    @staticmethod
    def _weighed_by(made: Factors, energy: Energy) -> Table:
        weighed = weigh(made, energy.hours, energy.joules)
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
