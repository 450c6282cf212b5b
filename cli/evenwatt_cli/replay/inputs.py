"""Traces and plants from files: what work asked for, and how fast devices work under a cap.

A trace is a CSV file with a header, of one of three shapes:

- power or load over time: a column ``t_s``, ``time``, ``seconds`` or ``timestamp``, and others with numbers;
- arrivals of requests: ``TIMESTAMP,ContextTokens,GeneratedTokens`` (the Azure LLM traces);
- arrivals of jobs: ``arrival_time,length,cpus``.

A plant is a CSV file of a power-limit sweep: ``dataset,network,batch_size,optimizer,power_limit,time_per_epoch,
average_power`` (the Zeus traces). Each network becomes a curve from power to speed.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_cli.replay.traffic import Intervals, Table
from evenwatt_daemon import Failure
from evenwatt_twin.speed import SpeedCurve, check_curve

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_cli.replay.traffic import Traffic
    from evenwatt_collector.control.arrays import Floats

_TIMES: Final = ("t_s", "time", "seconds", "timestamp", "time_s", "t", "date", "datetime", "utc_time")
_REQUESTS: Final = {"timestamp", "contexttokens", "generatedtokens"}
_JOBS: Final = {"arrival_time", "length"}
_MOST: Final = 1e15
"""Of any figure: sums of millions of rows stay finite, and no trace has more seconds, tokens or watts."""
_SWEEP: Final = ("dataset", "network", "power_limit", "time_per_epoch", "average_power")
CONTEXT_TOKENS_PER_S: Final = 8_000.0
"""Prefill of a 70-billion-parameter model on one server (order of magnitude of published A100 figures)."""
GENERATED_TOKENS_PER_S: Final = 40.0
"""Decoding of one request, likewise."""
BUSY: Final = 0.5
"""A pool of nodes is as large as it takes to be busy for this share of the time."""
FOOT: Final = (0.20, 0.0)
"""Below this share of its power a device does nothing: what is left is idle power."""
MOST_CURVES: Final = 16


def load_trace(path: Path, nodes: int, dt_s: float, seconds: float) -> Traffic:
    """Read a trace.

    Args:
        path: A CSV file.
        nodes: How many nodes it is dealt to.
        dt_s: Step.
        seconds: Length of the replay; arrivals of jobs are sped up to fit into it.

    Raises:
        Failure: it is not a trace; the text names what was found and what was expected.
    """
    header, rows = _read(path)
    names = {name.lower(): name for name in header}
    if set(names) >= _REQUESTS:
        return _requests(path, rows, names, nodes, dt_s)
    if set(names) >= _JOBS:
        return _jobs(path, rows, names, nodes, dt_s, seconds)
    time_column = next((names[name] for name in _TIMES if name in names), None)
    if time_column is None:
        raise Failure(
            f"{path}: columns {', '.join(header)}; expected a time column ({', '.join(_TIMES)}) and power or load "
            f"columns, or TIMESTAMP,ContextTokens,GeneratedTokens, or arrival_time,length,cpus"
        )
    return _series(path, rows, time_column, [name for name in header if name != time_column], nodes, dt_s)


def load_plant(path: Path) -> list[SpeedCurve]:
    """Read a sweep of power limits: one curve a network, at most ``MOST_CURVES``.

    Raises:
        Failure: it is none.
    """
    header, rows = _read(path)
    missing = [name for name in _SWEEP if name not in header]
    if missing:
        raise Failure(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(header)}; expected a power-limit sweep"
        )
    runs: dict[tuple[str, str], dict[tuple[str, ...], list[tuple[float, float, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for line, row in enumerate(rows, start=2):
        limit_w, time_s, power_w = (_number(path, line, row, name, above_0=True) for name in _SWEEP[2:])
        setting = tuple(row.get(name, "") for name in ("batch_size", "optimizer"))
        runs[row["dataset"], row["network"]][setting].append((limit_w, time_s, power_w))
    curves = [curve for settings in runs.values() if (curve := _curve(list(settings.values()))) is not None]
    if not curves:
        raise Failure(f"{path}: no network was run under two or more power limits; there is no curve in it")
    return curves[:MOST_CURVES]


def _curve(settings: list[list[tuple[float, float, float]]]) -> SpeedCurve | None:
    """Return the median over a network's settings, by power limit."""
    by_limit: dict[float, list[tuple[float, float]]] = defaultdict(list)
    for runs in settings:
        _, best_s, most_w = max(runs)
        for limit_w, time_s, power_w in runs:
            by_limit[limit_w].append((power_w / most_w, best_s / time_s))
    points = sorted((median(p for p, _ in pairs), median(s for _, s in pairs)) for pairs in by_limit.values())
    curve: list[tuple[float, float]] = [FOOT]
    for share, speed in points:
        if share > curve[-1][0] + 0.01 and share < 1.0:
            curve.append((share, min(1.0, max(speed, curve[-1][1]))))
    curve.append((1.0, 1.0))
    if len(curve) < 3:
        return None
    check_curve(tuple(curve))
    return tuple(curve)


def _series(
    path: Path, rows: list[dict[str, str]], time_column: str, columns: list[str], nodes: int, dt_s: float
) -> Table:
    if not columns:
        raise Failure(f"{path}: no column beside {time_column}; expected power in watts or load")
    values = {name: _column(path, rows, name) for name in columns}
    times_s = _times_s(path, rows, time_column)
    if len(times_s) < 2 or np.any(np.diff(times_s) <= 0):
        raise Failure(f"{path}: {time_column} must rise from row to row, over two rows or more")
    loads = [_as_load(name, column) for name, column in values.items()]
    return Table(nodes, dt_s, times_s, np.column_stack(loads))


def _as_load(name: str, column: Floats) -> Floats:
    """Power goes from its lowest to its highest; a load is one already, or in percent."""
    if "load" in name.lower() or "util" in name.lower():
        return np.clip(column / (100.0 if column.max() > 1.5 else 1.0), 0.0, 1.0)
    low, high = float(column.min()), float(column.max())
    return (column - low) / (high - low) if high > low else np.full(len(column), 0.5)


def _requests(path: Path, rows: list[dict[str, str]], names: dict[str, str], nodes: int, dt_s: float) -> Intervals:
    times_s = _times_s(path, rows, names["timestamp"])
    tokens = [
        (_number(path, line, row, names["contexttokens"]), _number(path, line, row, names["generatedtokens"]))
        for line, row in enumerate(rows, start=2)
    ]
    lengths_s = np.array([seen / CONTEXT_TOKENS_PER_S + made / GENERATED_TOKENS_PER_S for seen, made in tokens])
    order = np.argsort(times_s, kind="stable")
    return _dealt(times_s[order], lengths_s[order], nodes, dt_s)


def _jobs(
    path: Path, rows: list[dict[str, str]], names: dict[str, str], nodes: int, dt_s: float, seconds: float
) -> Intervals:
    pairs = [
        (_number(path, line, row, names["arrival_time"]), _number(path, line, row, names["length"]))
        for line, row in enumerate(rows, start=2)
    ]
    times_s, lengths_s = (np.array(column) for column in zip(*sorted(pairs), strict=True))
    faster = max(1.0, float(times_s[-1] - times_s[0]) / seconds)
    return _dealt(times_s / faster, lengths_s / faster, nodes, dt_s)


def _dealt(times_s: Floats, lengths_s: Floats, nodes: int, dt_s: float) -> Intervals:
    """Serve arrivals in pools of nodes, each arrival on the node that is free first."""
    times_s = times_s - times_s[0]
    span_s = max(float(times_s[-1]), 1.0)
    pool = min(nodes, max(1, round(float(lengths_s.sum()) / span_s / BUSY)))
    free_s = np.zeros(pool)
    begin_s, end_s, which = np.empty(len(times_s)), np.empty(len(times_s)), np.empty(len(times_s), dtype=np.int64)
    for i, (at_s, length_s) in enumerate(zip(times_s, lengths_s, strict=True)):
        node = int(np.argmin(free_s))
        begin_s[i] = max(at_s, free_s[node])
        free_s[node] = end_s[i] = begin_s[i] + length_s
        which[i] = node
    return Intervals(nodes, dt_s, begin_s, end_s, which, pool, span_s)


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            header = list(reader.fieldnames or ())
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; give a CSV file that can be read") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise Failure(f"{path}: not a CSV file ({error})") from None
    if not rows:
        raise Failure(f"{path}: no rows; expected a header and numbers below it")
    if len(set(header)) < len(header):
        raise Failure(f"{path}: columns {', '.join(header)}: a name stands twice; give each column its own")
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise Failure(f"{path}:{line}: not as many cells as the header has ({len(header)}); mend the row")
    return header, rows


def _number(path: Path, line: int, row: dict[str, str], name: str, *, above_0: bool = False) -> float:
    try:
        value = float(row[name])
    except ValueError:
        raise Failure(
            f"{path}:{line}: column {name!r} holds {row[name]!r}; expected a number; mend it or leave the column out"
        ) from None
    if not 0 <= value <= _MOST or (above_0 and value == 0):
        least = "above 0" if above_0 else "from 0"
        raise Failure(f"{path}:{line}: column {name!r} holds {row[name]}; expected a number {least} to {_MOST:g}")
    return value


def _column(path: Path, rows: list[dict[str, str]], name: str) -> Floats:
    return np.array([_number(path, line, row, name) for line, row in enumerate(rows, start=2)])


def _times_s(path: Path, rows: list[dict[str, str]], name: str) -> Floats:
    texts = [row[name] for row in rows]
    try:
        return np.array([float(text) for text in texts])
    except ValueError:
        pass
    try:
        return np.array([_moment_s(text) for text in texts])
    except ValueError as error:
        raise Failure(f"{path}: column {name!r}: {error}; expected seconds or ISO 8601 times") from None


def _moment_s(text: str) -> float:
    """Return seconds of a time; one without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
