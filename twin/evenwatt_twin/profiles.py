"""Load profiles: what the work asks of a machine, as a function of time.

Pure: seconds in, load in [0, 1] out; the same profile gives the same load at the same second, always. Only ``Replay``
touches a file, once, when ``load_function`` prepares it.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

if TYPE_CHECKING:
    from collections.abc import Callable

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]


class Steady(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="steady"):
    """The same load for ever."""

    load: Share = 0.5


class Burst(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="burst"):
    """From ``low`` to ``high`` and back, once a period.

    The defaults are the shape of A100 inference: idle, then full power for one or two 250 ms samples, once a second.
    """

    period_s: Positive = 1.0
    width_s: NotNegative = 0.5
    """From the start of the rise to the start of the fall."""
    rise_s: NotNegative = 0.25
    """Length of the rise, and of the fall."""
    low: Share = 0.0
    high: Share = 1.0
    phase_s: float = 0.0
    """The first burst starts at this second."""
    jitter_s: NotNegative = 0.0
    """Each burst starts late by up to this much, drawn from ``seed`` and the burst's number."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.width_s < self.rise_s or self.width_s + self.rise_s + self.jitter_s > self.period_s:
            raise ValueError("a burst needs rise_s <= width_s and width_s + rise_s + jitter_s <= period_s")


class TrainingSteps(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="training"):
    """Steps of a training job: compute at full load, then a dip while gradients are exchanged."""

    step_s: Positive = 1.2
    compute_share: Share = 0.8
    """Share of each step spent computing."""
    dip: Share = 0.25
    """Load during the exchange."""
    load: Share = 1.0
    """Load while computing."""
    jitter: Annotated[float, Meta(ge=0.0, le=0.2)] = 0.0
    """The compute share of each step varies by up to this much either way, drawn from ``seed``."""
    seed: int = 0


class Diurnal(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="diurnal"):
    """A day's swell: a raised cosine between ``low`` and ``high``."""

    period_s: Positive = 86_400.0
    low: Share = 0.2
    high: Share = 0.9
    peak_s: float = 54_000.0
    """Second of the period with the highest load; 15:00 of a day that starts at midnight."""


class Replay(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="replay"):
    """The load of a CSV file, straight between its rows, repeated when it ends."""

    path: str
    time_column: str = "t_s"
    value_column: str = "load"
    scale: Positive = 1.0
    """Values are divided by this to give a load; what lies outside [0, 1] then is cut off."""
    speed: Positive = 1.0
    """Seconds of the file that pass in one second."""


Profile = Steady | Burst | TrainingSteps | Diurnal | Replay


def load_function(profile: Profile, folder: Path | None = None) -> Callable[[float], float]:
    """Prepare a profile.

    Args:
        profile: Which.
        folder: Where a relative ``Replay.path`` starts; the current directory by default.

    Returns:
        A function from seconds since the start to load in [0, 1].

    Raises:
        ValueError: the replay file lacks the columns or has fewer than two rows.
        OSError: the replay file cannot be read.
    """
    match profile:
        case Steady(load):
            return lambda _t_s: load
        case Burst():
            return lambda t_s: _burst(profile, t_s)
        case TrainingSteps():
            return lambda t_s: _training(profile, t_s)
        case Diurnal():
            return lambda t_s: _diurnal(profile, t_s)
        case Replay():
            return _replay(profile, folder or Path())


def _burst(burst: Burst, t_s: float) -> float:
    since = t_s - burst.phase_s
    if since < 0.0:
        return burst.low
    number, at = divmod(since, burst.period_s)
    if burst.jitter_s:
        at -= burst.jitter_s * _draw(burst.seed, int(number))
    if at < 0.0 or at >= burst.width_s + burst.rise_s:
        return burst.low
    if at < burst.rise_s:
        share = at / burst.rise_s
    elif at < burst.width_s:
        share = 1.0
    else:
        share = 1.0 - (at - burst.width_s) / burst.rise_s
    return burst.low + (burst.high - burst.low) * share


def _training(steps: TrainingSteps, t_s: float) -> float:
    number, at = divmod(t_s, steps.step_s)
    compute = steps.compute_share
    if steps.jitter:
        compute += steps.jitter * (2.0 * _draw(steps.seed, int(number)) - 1.0)
    return steps.load if at < compute * steps.step_s else steps.dip


def _diurnal(day: Diurnal, t_s: float) -> float:
    swell = 0.5 + 0.5 * math.cos(2.0 * math.pi * (t_s - day.peak_s) / day.period_s)
    return day.low + (day.high - day.low) * swell


def _replay(replay: Replay, folder: Path) -> Callable[[float], float]:
    times, loads = _read_csv(replay, folder / replay.path)
    start, length = times[0], times[-1] - times[0]

    def load(t_s: float) -> float:
        t = start + (t_s * replay.speed) % length
        after = min(bisect_right(times, t), len(times) - 1)
        left, right = times[after - 1], times[after]
        share = (t - left) / (right - left)
        return loads[after - 1] + (loads[after] - loads[after - 1]) * share

    return load


def _read_csv(replay: Replay, path: Path) -> tuple[list[float], list[float]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        missing = {replay.time_column, replay.value_column} - set(rows.fieldnames or ())
        if missing:
            have = ", ".join(rows.fieldnames or ())
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}; it has {have}")
        pairs = [(float(row[replay.time_column]), float(row[replay.value_column])) for row in rows]
    times = [time for time, _ in pairs]
    if len(pairs) < 2 or any(b <= a for a, b in pairwise(times)):
        raise ValueError(f"{path} needs two or more rows whose {replay.time_column} rises")
    return times, [min(1.0, max(0.0, value / replay.scale)) for _, value in pairs]


def _draw(seed: int, number: int) -> float:
    """Return a number in [0, 1) that depends on nothing but its arguments (SplitMix64)."""
    mask = 0xFFFF_FFFF_FFFF_FFFF
    z = (seed * 0x9E37_79B9_7F4A_7C15 + (number + 1) * 0xD1B5_4A32_D192_ED03) & mask
    z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & mask
    return (z ^ (z >> 31)) / 2.0**64
