"""What one sample of every counter costs: the C loop, the shipping sampler, and the peers, all in one run."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from sensing import peers, servers
from sensing.machine import BenchError, counters, said, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensing.plan import Plan

RATES_HZ: Final = (100, 1000)
SYSFS: Final = Path("/sys")
_HERE: Final = Path(__file__).parent
_LEAST_RATE: Final = 0.5
"""A peer that reaches less than this share of the rate asked for is named with the rate that it reached."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One subject at one rate."""

    name: str
    asked_hz: float
    rate_hz: float
    cpu_pct: float
    """Of one core."""
    sample_us: float
    """Processor time of one sample."""
    counters: int
    """Counter reads in one sample."""
    late: int


def floor_and_ours(loop: Path, plan: Plan) -> tuple[dict[int, float], dict[int, Cost], list[Cost]]:
    """Alternate the C loop and our sampler.

    Returns:
        Median over rounds of ours / C for each rate; ours for each rate (its median round); all rows for the table.
    """
    ratios: dict[int, float] = {}
    ours: dict[int, Cost] = {}
    rows: list[Cost] = []
    paths = counters(SYSFS)
    for rate_hz in RATES_HZ:
        pairs = []
        for turn in range(plan.rounds):
            say(f"C loop and sampler at {rate_hz} Hz, round {turn + 1} of {plan.rounds}")
            seconds = str(plan.sample_s)
            low = said([str(loop), str(rate_hz), seconds, *paths]) | {"counters": len(paths)}
            high = said([sys.executable, str(_HERE / "ours.py"), str(SYSFS), str(rate_hz), seconds])
            pairs.append((_cost("C loop", rate_hz, low), _cost("evenwatt sampler", rate_hz, high)))
        ratios[rate_hz] = median(high.sample_us / low.sample_us for low, high in pairs)
        floor = _middle([low for low, _ in pairs])
        ours[rate_hz] = _middle([high for _, high in pairs])
        rows += [floor, ours[rate_hz]]
    return ratios, ours, rows


def of_peers(there: peers.Peers, folder: Path, plan: Plan) -> list[Cost]:
    """Measure every usable peer; one that fails is noted with its reason and the run goes on."""
    subjects: list[tuple[str, str, int, Callable[[], dict[str, Any]]]] = []
    for rate_hz in RATES_HZ:
        exporter = partial(servers.node_exporter, folder, rate_hz, plan.sample_s)
        subjects.append(("node_exporter", "node_exporter", rate_hz, exporter))
        subjects.append(("denki", "denki", rate_hz, partial(servers.denki, folder, rate_hz, plan.sample_s)))
    readers = ("codecarbon", "pyrapl")
    subjects += [(name, name, 100, partial(_python_peer, name, 100, plan.sample_s)) for name in readers]
    subjects.append(("codecarbon", "codecarbon_tracker", 10, partial(_python_peer, "tracker", 10, plan.sample_s)))
    rows = []
    for peer, name, rate_hz, measure in subjects:
        if peer not in there.usable:
            continue
        say(f"{name} at {rate_hz} Hz")
        try:
            rows.append(_cost(name, rate_hz, measure()))
        except (BenchError, OSError, TimeoutError) as error:
            there.miss(peer, f"{there.versions[peer]} failed: {error}")
    return rows


def ratios_of(rows: list[Cost], ours: dict[int, Cost]) -> dict[str, Any]:
    """Cost of a peer's sample / cost of ours: per rate for servers, at 100 Hz for the rest.

    The tracker sleeps between measurements 100 ms apart; it too is compared with our sample at 100 Hz.
    """
    ratios: dict[str, Any] = {}
    for row in rows:
        base = ours.get(round(row.asked_hz), ours[100])
        value = round(row.sample_us / base.sample_us, 2)
        if row.name in ("node_exporter", "denki"):
            ratios.setdefault(row.name, {})[str(round(row.asked_hz))] = value
        else:
            ratios[row.name] = value
    return ratios


def reached(row: Cost) -> bool:
    """Whether it kept up with the rate asked for."""
    return row.rate_hz >= _LEAST_RATE * row.asked_hz


def _python_peer(name: str, rate_hz: float, seconds: float) -> dict[str, Any]:
    return said([str(peers.PYTHON), str(_HERE / "paced.py"), name, str(rate_hz), str(seconds)])


def _cost(name: str, asked_hz: float, got: dict[str, Any]) -> Cost:
    samples, wall_s, used_s = got["samples"], got["wall_s"], got["cpu_s"]
    if not samples or wall_s <= 0 or used_s <= 0:
        raise BenchError(f"{name} at {asked_hz} Hz took {samples} samples in {used_s} s of processor time")
    return Cost(
        name, asked_hz, samples / wall_s, 100.0 * used_s / wall_s, 1e6 * used_s / samples, got["counters"], got["late"]
    )


def _middle(costs: list[Cost]) -> Cost:
    return sorted(costs, key=lambda cost: cost.sample_us)[len(costs) // 2]
