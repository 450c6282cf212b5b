"""The last resort: the annual average of the packaged table, tagged ``fallback``, for any time.

One reading for each calendar year (UTC). The basis is the table's: life cycle for countries, direct where the row says
so, whatever the grid asks for: a figure of last resort is shown as what it is.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from evenwatt_collector.carbon.annual import annual_basis
from evenwatt_collector.carbon.providers.contract import DAY_S
from evenwatt_collector.carbon.series import Kind, Reading, Standing

if TYPE_CHECKING:
    from evenwatt_collector.carbon.annual import GridRow

SOURCE: Final = "annual-average"


class Annual:
    """One row of the table."""

    source = SOURCE
    kind = Kind.AVERAGE
    period_s = DAY_S
    ahead_period_s = DAY_S
    chunk_s = 366 * DAY_S
    lag_s = 0
    clock_off_s = None

    def __init__(self, row: GridRow, *, grid: str) -> None:
        self.row = row
        self._grid = grid

    @property
    def label(self) -> str:
        """What it is, for people: year, place, source and licence."""
        row = self.row
        return f"{row.code} {row.year} annual average, {row.source} ({row.licence})"

    async def past(self, start_s: int, end_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`: every calendar year that [start, end) touches."""
        return [self._year(year, now_s) for year in range(_year_of(start_s), _year_of(max(start_s, end_s - 1)) + 1)]

    async def ahead(self, horizon_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`: the years that the horizon touches."""
        return await self.past(now_s, now_s + horizon_s, now_s)

    def _year(self, year: int, now_s: int) -> Reading:
        start_s, end_s = (int(datetime(each, 1, 1, tzinfo=UTC).timestamp()) for each in (year, year + 1))
        return Reading(
            grid=self._grid,
            start_s=start_s,
            end_s=end_s,
            g_per_kwh=self.row.intensity_g_per_kwh,
            kind=Kind.AVERAGE,
            basis=annual_basis(self.row),
            source=SOURCE,
            standing=Standing.FALLBACK,
            issued_s=now_s,
            recorded_s=now_s,
        )


def _year_of(wall_s: int) -> int:
    return datetime.fromtimestamp(wall_s, UTC).year
