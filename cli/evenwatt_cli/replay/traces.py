"""Reads recorded work: power or load over time, requests of a language model, or batch jobs.

Which one a file is, its header says. Recorded watts become loads: a column's least is idle, its highest is full load.
Requests are served in order by the first free node; jobs go to the emptiest node.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_cli.replay.tables import read_table
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_cli.replay.tables import CsvTable
    from evenwatt_collector.control.arrays import Floats

TIMES: Final = frozenset(
    {"time", "timestamp", "t", "time_s", "t_s", "s", "seconds", "date", "datetime", "utc_time", "elapsed", "elapsed_s"}
)
_POWER: Final = re.compile(r"power|watt|(^|_)k?w$", re.IGNORECASE)
_LOAD: Final = re.compile(r"load|util", re.IGNORECASE)
ARRIVALS: Final = ("timestamp", "contexttokens", "generatedtokens")
JOBS: Final = ("arrival_time", "length", "cpus")
CORES: Final = 8.0
"""Of a node that jobs run on; their lengths are those of one that gives them all they ask for."""
PROMPT_TOKENS_PER_S: Final = 8_000.0
"""A request keeps its node at full power while its context is read (the order of an A100 with a 13B model) ..."""
TOKEN_S: Final = 0.03
DECODE_LOAD: Final = 0.6
"""... and below it while tokens are made, one after another, since that waits for memory (Patel et al., ISCA 2024)."""
BUSY: Final = 0.5
"""Nodes are so many for one copy of recorded requests that half of their time is busy."""


@dataclass(frozen=True, slots=True)
class PowerTrace:
    """Loads over time, straight between rows."""

    times_s: Floats
    loads: Floats
    """Rows x columns, from 0 to 1."""
    idle_w: Floats | None = None
    """What the columns' nodes draw at load 0, in watts; None for a trace of loads."""
    max_w: Floats | None = None


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """Requests, in the order of their arrival."""

    arrive_s: Floats
    prompt_s: Floats
    decode_s: Floats


@dataclass(frozen=True, slots=True)
class JobTrace:
    """Jobs, in the order of their arrival."""

    arrive_s: Floats
    length_s: Floats
    cpus: Floats


Trace = PowerTrace | RequestTrace | JobTrace


def read_trace(path: Path) -> Trace:
    """Read a trace of whichever kind.

    Raises:
        Failure: it is of no known kind, or a cell is wrong.
    """
    table = read_table(path)
    names = {column.lower(): column for column in table.columns}
    if set(ARRIVALS) <= set(names):
        return _requests(table, names)
    if set(JOBS) <= set(names):
        return _jobs(table, names)
    times = [column for column in table.columns if column.lower() in TIMES]
    power = [column for column in table.columns if _POWER.search(column)]
    load = [column for column in table.columns if _LOAD.search(column) and column not in power]
    unknown = [column for column in table.columns if column not in (*times, *power, *load)]
    if len(times) != 1 or bool(power) == bool(load) or unknown:
        raise Failure(
            f"{path}, line 1: cannot tell what this is a trace of; found the columns {', '.join(table.columns)}; expected "
            f"a time column and power columns (as time,power_w) or load columns (as time,load), or TIMESTAMP,"
            f"ContextTokens,GeneratedTokens, or arrival_time,length,cpus; rename or leave out "
            f"{', '.join(unknown) or 'columns'}"
        )
    return _power(table, times[0], power) if power else _loads(table, times[0], load)


def _seconds(table: CsvTable, column: str) -> Floats:
    """Return times as seconds after the first; numbers are seconds, anything else is a date and time (UTC)."""
    cells = table.text(column)
    try:
        float(cells[0])
    except ValueError:
        times_s = np.array([_moment_s(table, cell, line, column) for line, cell in enumerate(cells, start=2)])
    else:
        times_s = np.array(table.numbers(column))
    back = np.flatnonzero(np.diff(times_s) < 0)
    if len(back):
        line = int(back[0]) + 3
        raise Failure(f"{table.path}, line {line}, column {column}: time runs backwards; sort the rows by time")
    return times_s - times_s[0]


def _moment_s(table: CsvTable, cell: str, line: int, column: str) -> float:
    try:
        # Some traces write seven digits of a second, of which Python reads six.
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", cell))
    except ValueError:
        raise Failure(
            f"{table.path}, line {line}, column {column}: found {cell!r}, expected seconds or a time such as "
            "2024-05-01 12:00:00; mend it"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _strictly(table: CsvTable, column: str) -> Floats:
    times_s = _seconds(table, column)
    if len(times_s) < 2 or times_s[-1] <= 0:
        raise Failure(f"{table.path}, column {column}: all rows are of the same moment; expected two moments or more")
    return times_s


def _power(table: CsvTable, time: str, columns: list[str]) -> PowerTrace:
    times_s = _strictly(table, time)
    scale = np.array([1000.0 if column.lower().endswith("kw") else 1.0 for column in columns])
    watts = np.array([table.numbers(column, least=0.0) for column in columns]).T * scale
    idle_w, max_w = watts.min(axis=0), watts.max(axis=0)
    flat = max_w - idle_w < 1e-6 * np.maximum(1.0, max_w)
    if flat.any():
        name = columns[int(np.argmax(flat))]
        raise Failure(f"{table.path}, column {name}: the same power in every row; leave it out, it asks for no control")
    return PowerTrace(times_s, (watts - idle_w) / (max_w - idle_w), idle_w, max_w)


def _loads(table: CsvTable, time: str, columns: list[str]) -> PowerTrace:
    times_s = _strictly(table, time)
    loads = np.array([table.numbers(column, least=0.0) for column in columns]).T
    if loads.max() > 100.0:
        raise Failure(f"{table.path}: a load of {loads.max():g}; expected 0 to 1, or percent up to 100")
    return PowerTrace(times_s, loads / (100.0 if loads.max() > 1.0 else 1.0))


def _requests(table: CsvTable, names: dict[str, str]) -> RequestTrace:
    time, context, made = (names[name] for name in ARRIVALS)
    prompt_s = np.array(table.numbers(context, least=0.0)) / PROMPT_TOKENS_PER_S
    decode_s = np.array(table.numbers(made, least=0.0)) * TOKEN_S
    return RequestTrace(_strictly(table, time), prompt_s, decode_s)


def _jobs(table: CsvTable, names: dict[str, str]) -> JobTrace:
    arrive, length, cpus = (names[name] for name in JOBS)
    return JobTrace(
        _strictly(table, arrive), np.array(table.numbers(length, least=0.0)), np.array(table.numbers(cpus, least=0.0))
    )


def serve(trace: RequestTrace, dt_s: float, seconds: float) -> Floats:
    """Return the loads of a pool of nodes that serves a trace's requests, an array of steps x nodes.

    Args:
        trace: The requests; they begin anew when they end.
        dt_s: Step; a request that is shorter fills a part of one.
        seconds: How long.
    """
    length_s = trace.arrive_s[-1] + float(np.mean(np.diff(trace.arrive_s)))
    work_s = trace.prompt_s + trace.decode_s
    nodes = max(1, round(float(work_s.sum()) / length_s / BUSY))
    steps = round(seconds / dt_s)
    loads = np.zeros((steps, nodes))
    free_s = [(0.0, node) for node in range(nodes)]
    for turn in range(int(seconds // length_s) + 1):
        for arrive_s, prompt_s, decode_s in zip(trace.arrive_s, trace.prompt_s, trace.decode_s, strict=True):
            at_s = turn * length_s + float(arrive_s)
            if at_s >= seconds:
                break
            soonest_s, node = heappop(free_s)
            begin_s = max(at_s, soonest_s)
            middle_s, end_s = begin_s + float(prompt_s), begin_s + float(prompt_s + decode_s)
            _fill(loads[:, node], begin_s / dt_s, middle_s / dt_s, 1.0)
            _fill(loads[:, node], middle_s / dt_s, end_s / dt_s, DECODE_LOAD)
            heappush(free_s, (end_s, node))
    return np.minimum(loads, 1.0)


def _fill(load: Floats, begin: float, end: float, level: float) -> None:
    """Add a level from one time to another, both in steps and not whole."""
    first, last = int(begin), min(int(end), len(load) - 1)
    if first >= len(load):
        return
    if first == last:
        load[first] += level * (min(end, first + 1) - begin)
        return
    load[first] += level * (first + 1 - begin)
    load[first + 1 : last] += level
    load[last] += level * min(1.0, end - last)


def place(trace: JobTrace, nodes: int, seconds: float) -> tuple[Floats, Floats]:
    """Return times and loads (rows x nodes) of the trace's busiest ``seconds``, each job on the emptiest node.

    A step of the load stands as two rows a millisecond apart. Jobs beyond a node's cores slow one another down: its
    load stays at 1. The recorded cluster had room for all; here it is as large as the fleet, so its jobs are multiplied
    until half of all cores are busy over the whole trace.
    """
    end_s = trace.arrive_s + trace.length_s
    busy = float((trace.length_s * trace.cpus).sum()) / float(trace.arrive_s[-1])
    copies = max(1, round(BUSY * nodes * CORES / max(busy, 1e-9)))
    used = [(0.0, node) for node in range(nodes)]
    heapify(used)
    starts = np.repeat(np.arange(len(trace.arrive_s)), copies)
    events = sorted(
        [(float(trace.arrive_s[job]), 1, at, job) for at, job in enumerate(starts)]
        + [(float(end_s[job]), 0, at, job) for at, job in enumerate(starts)]
    )
    return _window(*_run(events, trace.cpus, nodes), seconds)


def _run(events: list[tuple[float, int, int, int]], cpus: Floats, nodes: int) -> tuple[Floats, Floats]:
    in_use = np.zeros(nodes)
    home: dict[int, int] = {}
    times, rows = [events[0][0]], [in_use.copy()]
    for at_s, begins, number, job in events:
        if begins:
            home[number] = int(np.argmin(in_use))
            in_use[home[number]] += cpus[job]
        elif number in home:
            in_use[home.pop(number)] -= cpus[job]
        if at_s > times[-1] + 0.001:
            times.append(at_s)
            rows.append(in_use.copy())
        else:
            rows[-1] = in_use.copy()
    return np.array(times), np.minimum(1.0, np.array(rows) / CORES)


def _window(times_s: Floats, loads: Floats, seconds: float) -> tuple[Floats, Floats]:
    """Cut out the busiest part, and make steps of what would be slopes."""
    total = np.concatenate(([0.0], np.cumsum(loads[:-1].mean(axis=1) * np.diff(times_s))))
    whole = np.interp(times_s + seconds, times_s, total) - total
    first_s = times_s[int(np.argmax(whole))]
    inside = np.flatnonzero((times_s > first_s) & (times_s < first_s + seconds))
    before = max(0, int(np.searchsorted(times_s, first_s, side="right")) - 1)
    at = np.concatenate(([before], inside))
    begins_s = np.concatenate(([first_s], times_s[inside])) - first_s
    ends_s = np.concatenate((begins_s[1:] - 0.001, [max(seconds, begins_s[-1] + 0.001)]))
    return np.stack((begins_s, ends_s), axis=1).ravel(), np.repeat(loads[at], 2, axis=0)
