"""A device and its work as a table of power limits describes them, with counters as real ones are.

True time and power at a limit are the table's; only the table's limits can be set (nothing is interpolated). Around
them, over time:

- after a change of limit, speed and power go over to the new values exponentially (0.7 s);
- power rises by 2 % from cold to as hot as full power makes it, over a minute (leakage), around the table's value;
- speed and power wander by 0.5 % (standard deviation), with a memory of 10 s;
- each step of work differs by 5 %, power by 3 % a second;
- the energy counter is refreshed every 0.1 s, so that a reading is up to 0.1 s old.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from dataclasses import dataclass
from math import exp, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SETTLE_S = 0.7
LEAKAGE = 0.02
WARMING_S = 60.0
WANDER = 0.005
WANDER_S = 10.0
STEP_NOISE = 0.05
POWER_NOISE = 0.03
REFRESH_S = 0.1

SAMPLES = {
    "cifar100": 50_000,
    "imagenet": 1_281_167,
    "librispeech": 281_241,
    "movielens-1m": 4_970_845,  # 994,169 positives, four negatives drawn for each (He et al. 2017)
    "sentiment140": 1_600_000,
    "squad": 87_599,
}
"""Training samples an epoch, which make steps out of epochs; a step of other sets is taken to last 0.1 s."""
UNKNOWN_STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class Row:
    """One workload of a table; a unit of work is a step."""

    name: str
    power_w: dict[float, float]
    """By limit, ascending."""
    step_s: dict[float, float]
    """By limit."""

    @property
    def limits_w(self) -> tuple[float, ...]:
        return tuple(self.power_w)

    @property
    def energy_j(self) -> dict[float, float]:
        """True J per step, by limit."""
        return {limit: watts * self.step_s[limit] for limit, watts in self.power_w.items()}

    def regret(self, limit_w: float) -> float:
        """How much more energy a limit takes than the best, relative."""
        energy_j = self.energy_j
        return energy_j[limit_w] / min(energy_j.values()) - 1


def rows(path: Path) -> list[Row]:
    """Read a table; a row is a data set, network, optimizer and batch size with at least three limits."""
    found: dict[tuple[str, ...], dict[float, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            key = (line["dataset"], line["network"], line["optimizer"], line["batch_size"])
            figures = float(line["time_per_epoch"]), float(line["average_power"])
            if min(figures) > 0:
                found[key][float(line["power_limit"])].append(figures)
    return [_row(key, dict(sorted(by_limit.items()))) for key, by_limit in found.items() if len(by_limit) >= 3]


def _row(key: tuple[str, ...], by_limit: dict[float, list[tuple[float, float]]]) -> Row:
    epoch_s = {limit: sum(s for s, _ in each) / len(each) for limit, each in by_limit.items()}
    power_w = {limit: sum(w for _, w in each) / len(each) for limit, each in by_limit.items()}
    samples = SAMPLES.get(key[0])
    steps = samples / float(key[3]) if samples else epoch_s[max(epoch_s)] / UNKNOWN_STEP_S
    return Row("/".join(key), power_w, {limit: s / max(1.0, steps) for limit, s in epoch_s.items()})


class Plant:
    """One device with one row's work on it, from cold, at its highest limit."""

    def __init__(self, row: Row, seed: int) -> None:
        self.row = row
        self.limit_w = row.limits_w[-1]
        self.now_s = 0.0
        self.true_j = 0.0
        self._dice = random.Random(f"{row.name} {seed}")
        self._rate, self._power_w = 1 / row.step_s[self.limit_w], row.power_w[self.limit_w]
        self._slow = [0.0, 0.0]
        self._heat = 0.0
        self._most_w = max(row.power_w.values())
        self._read_j = 0.0

    def run(self, steps: int) -> tuple[float, float]:
        """Do so many steps; return the seconds, and the joules as the counter says."""
        dice = self._dice
        rate, power_w = 1 / self.row.step_s[self.limit_w], self.row.power_w[self.limit_w]
        about_s = steps / max(1e-9, self._settled(rate, self._rate, steps / rate))
        decay = exp(-about_s / WANDER_S)
        self._slow = [decay * x + WANDER * sqrt(1 - decay**2) * dice.gauss(0, 1) for x in self._slow]
        jitter = max(0.2, 1 + self._slow[0] + STEP_NOISE / sqrt(steps) * dice.gauss(0, 1))
        seconds = about_s * jitter
        mean_w = self._settled(power_w, self._power_w, seconds)
        warm = 1 + LEAKAGE * (self._heat - power_w / self._most_w)
        mean_w *= max(0.2, warm + self._slow[1] + POWER_NOISE / sqrt(seconds) * dice.gauss(0, 1))
        self._heat += (power_w / self._most_w - self._heat) * (1 - exp(-seconds / WARMING_S))
        left = exp(-seconds / SETTLE_S)
        self._rate += (rate - self._rate) * (1 - left)
        self._power_w += (power_w - self._power_w) * (1 - left)
        self.now_s += seconds
        self.true_j += mean_w * seconds
        read_j = max(self._read_j, self.true_j - mean_w * dice.random() * REFRESH_S)
        counted, self._read_j = read_j - self._read_j, read_j
        return seconds, counted

    @staticmethod
    def _settled(new: float, old: float, seconds: float) -> float:
        """Return the mean over the next seconds of what goes over from old to new."""
        return new + (old - new) * SETTLE_S / seconds * (1 - exp(-seconds / SETTLE_S))
