"""Intensities from a file of your own: CSV, or Parquet where pyarrow is installed. Read again whenever it changes.

CSV: UTF-8, commas; a header or none. The columns ``start`` and ``g_per_kwh`` are found by their names, ``end`` too
where it is there; otherwise the first column is the time and the second the intensity. A time is ISO 8601 (UTC unless
it has an offset), Unix seconds, or seconds since ``origin``. Without ``end`` a value holds to the next start, at most
for the usual distance of two starts. Parquet: the same columns; a time may be a timestamp. An empty value is a hole.
Values that cannot be (negative, beyond 5,000 g/kWh, not a number) are dropped one by one; a line that cannot be read
refuses the file, with the line.

What lies before now is ``measured`` (or what the settings say); what lies after it is a ``forecast``.
"""

from __future__ import annotations

import asyncio
import csv
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.carbon.providers.contract import DAY_S, HOUR_S, ProviderError, Trouble, unix_s, within
from evenwatt_collector.carbon.series import Reading, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evenwatt_collector.carbon.providers.settings import FileSettings
    from evenwatt_collector.carbon.series import Basis

UNITS: Final = {"g/kWh": 1.0, "kg/MWh": 1.0, "lb/MWh": 0.45359237}
"""Grams per kilowatt-hour in one of each."""

LARGEST_BYTES: Final = 256 * 2**20

_STARTS: Final = ("start", "start_s", "time", "utc_time", "datetime", "timestamp", "date")
_ENDS: Final = ("end", "end_s")
_VALUES: Final = ("g_per_kwh", "intensity_g_per_kwh", "intensity", "carbon_intensity", "carbon intensity")
_UNIX_FROM: Final = 631_152_000  # a smaller number cannot be a Unix time of 1990 or later
_AHEAD_S: Final = 2 * HOUR_S
"""An interval that is running may end this far ahead and still count as measured; see Reading.fault."""


@dataclass(frozen=True, slots=True)
class _Row:
    start_s: int
    end_s: int
    g_per_kwh: float


_Found = tuple[int, int | None, float | None]


class FileSource:
    """One file."""

    chunk_s = 366 * DAY_S
    lag_s = 0
    clock_off_s = None

    def __init__(self, settings: FileSettings, grid: str, basis: Basis) -> None:
        """Args: the settings; the grid and its basis, which a file has unless its own settings say otherwise."""
        self._path = Path(settings.path)
        self.period_s, self.ahead_period_s = settings.period_s, 3 * settings.period_s
        self._grid = grid
        self.source = settings.name
        self.kind = settings.kind
        self._basis = settings.basis or basis
        self._factor = UNITS[settings.unit]
        self._origin_s = None if settings.origin is None else int(settings.origin.timestamp())
        self._standing = Standing(settings.standing)
        self._rows: list[_Row] = []
        self._seen: tuple[int, int] | None = None

    async def past(self, start_s: int, end_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`."""
        rows = await self._read()
        asked = _between(rows, start_s, min(end_s, now_s))
        return within((self._reading(row, now_s) for row in asked if _over(row, now_s)), start_s, min(end_s, now_s))

    async def ahead(self, horizon_s: int, now_s: int) -> list[Reading]:
        """See :class:`Provider`."""
        rows = await self._read()
        asked = _between(rows, now_s, now_s + horizon_s)
        coming = (self._reading(row, now_s, Standing.FORECAST) for row in asked if not _over(row, now_s))
        return within(coming, now_s, now_s + horizon_s)

    def _reading(self, row: _Row, now_s: int, standing: Standing | None = None) -> Reading:
        return Reading(
            grid=self._grid,
            start_s=row.start_s,
            end_s=row.end_s,
            g_per_kwh=row.g_per_kwh,
            kind=self.kind,
            basis=self._basis,
            source=self.source,
            standing=standing or self._standing,
            issued_s=min(now_s, self._changed_s),
            recorded_s=now_s,
        )

    @property
    def _changed_s(self) -> int:
        return self._seen[0] // 10**9 if self._seen else 0

    async def _read(self) -> list[_Row]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise ProviderError(
                Trouble.UNREACHABLE, f"{self._path}: {error.strerror}; write the file or correct its path", retry_s=60
            ) from None
        if found.st_size > LARGEST_BYTES:
            raise ProviderError(
                Trouble.NONSENSE,
                f"{self._path}: {found.st_size >> 20} MB, expected {LARGEST_BYTES >> 20} at the most; split it",
            )
        seen = (found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            self._rows = await asyncio.to_thread(self._load)
            self._seen = seen
        return self._rows

    def _load(self) -> list[_Row]:
        try:
            if self._path.suffix.lower() in {".parquet", ".pq"}:
                return self._finish(list(self._parquet()))
            with self._path.open(encoding="utf-8-sig", newline="") as lines:
                return self._finish(list(self._csv(csv.reader(lines))))
        except UnicodeDecodeError as error:
            raise self._fault(None, f"bytes that are not UTF-8 at {error.start}", "save it as UTF-8") from None
        except csv.Error as error:
            raise self._fault(None, str(error), "commas between columns, one line a value") from None
        except OSError as error:
            text = f"{self._path}: {error.strerror}; give this user read access"
            raise ProviderError(Trouble.UNREACHABLE, text, retry_s=60) from None

    def _csv(self, lines: Any) -> Iterator[_Found]:
        columns: tuple[int, int | None, int] | None = None
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns = self._columns(cells, lines.line_num)
                if not _is_time(cells[columns[0]]):
                    continue
            first, last, value = columns
            if len(cells) <= max(first, value, last or 0):
                raise self._fault(
                    lines.line_num, f"{len(cells)} columns ({','.join(cells)[:60]!r})", "as many as above"
                )
            yield (
                self._time(cells[first], lines.line_num),
                None if last is None else self._time(cells[last], lines.line_num),
                self._value(cells[value], lines.line_num),
            )

    def _columns(self, head: Sequence[str], line: int) -> tuple[int, int | None, int]:
        names = [cell.strip().casefold() for cell in head]
        start = next((names.index(name) for name in _STARTS if name in names), 0)
        end = next((names.index(name) for name in _ENDS if name in names), None)
        value = next((names.index(name) for name in _VALUES if name in names), 1)
        if len(names) < 2:
            raise self._fault(line, f"one column ({head[0][:60]!r})", "a time, a comma and g/kWh")
        if self._factor == 1.0 and any(hint in names[value] for hint in ("lb", "pound")):
            raise self._fault(line, f"a column {head[value]!r}", "g/kWh; set unit = 'lb/MWh' if that is what it holds")
        return start, end, value

    def _parquet(self) -> Iterator[_Found]:
        try:
            from pyarrow import ArrowException  # noqa: PLC0415  (50 MB that only a Parquet file needs)
            from pyarrow.parquet import read_table  # noqa: PLC0415
        except ImportError:
            text = f"{self._path}: Parquet needs pyarrow; install evenwatt[parquet] or write CSV"
            raise ProviderError(Trouble.UNREACHABLE, text) from None
        try:
            table = read_table(self._path)
        except (ArrowException, OSError) as error:
            raise self._fault(None, f"{type(error).__name__}: {error}"[:200], "a Parquet file") from None
        first, last, value = self._columns(table.column_names, 0)
        columns = [table.column(i).to_pylist() for i in (first, first if last is None else last, value)]
        for line, (start, end, found) in enumerate(zip(*columns, strict=True), start=1):
            yield self._time(start, line), None if last is None else self._time(end, line), self._value(found, line)

    def _time(self, cell: Any, line: int) -> int:
        try:
            if isinstance(cell, datetime):
                return int((cell if cell.tzinfo else cell.replace(tzinfo=UTC)).timestamp())
            text = str(cell).strip()
            try:
                number = float(text)
            except ValueError:
                return unix_s(text)
            if self._origin_s is not None:
                return self._origin_s + int(number)
            if number >= _UNIX_FROM:
                return unix_s(datetime.fromtimestamp(number, UTC).isoformat())
        except (ValueError, OverflowError, OSError):
            pass
        raise self._fault(
            line, f"the time {str(cell)[:40]!r}", "ISO 8601 or Unix seconds; for elapsed seconds set origin"
        )

    def _value(self, cell: Any, line: int) -> float | None:
        text = "" if cell is None else str(cell).strip()
        if not text:
            return None
        try:
            return float(text) * self._factor
        except ValueError:
            raise self._fault(line, f"the value {text[:40]!r}", "a number of g/kWh") from None

    def _finish(self, found: list[_Found]) -> list[_Row]:
        if not found:
            raise self._fault(None, "no values", "a time, a comma and g/kWh on each line")
        found.sort(key=lambda row: row[0])
        gaps = [after[0] - before[0] for before, after in pairwise(found) if after[0] > before[0]]
        usual_s = Counter(gaps).most_common(1)[0][0] if gaps else HOUR_S
        rows = []
        for i, (start_s, end_s, value) in enumerate(found):
            following_s = next((row[0] for row in found[i + 1 : i + 3] if row[0] > start_s), start_s + usual_s)
            until_s = end_s if end_s is not None else min(following_s, start_s + usual_s)
            if value is not None:
                rows.append(_Row(start_s, until_s, value))
        return rows

    def _fault(self, line: int | None, found: str, expected: str) -> ProviderError:
        where = f"{self._path}:{line}" if line else str(self._path)
        return ProviderError(Trouble.NONSENSE, f"{where}: found {found}, expected {expected}")


def _between(rows: list[_Row], start_s: int, end_s: int) -> list[_Row]:
    """Rows, in the order of their starts, that may overlap [start, end): from one that holds at the start."""
    first = bisect_left(rows, start_s, key=lambda row: row.start_s)
    while first > 0 and rows[first - 1].end_s > start_s:
        first -= 1
    return rows[first : bisect_left(rows, end_s, key=lambda row: row.start_s)]


def _is_time(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        try:
            datetime.fromisoformat(cell.strip())
        except ValueError:
            return False
    return True


def _over(row: _Row, now_s: int) -> bool:
    return row.start_s < now_s and row.end_s <= now_s + _AHEAD_S
