"""Jobs as planning handles them: what is sound about them, where and how wide they can run, within which time. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isfinite, isnan
from typing import TYPE_CHECKING, Final, NamedTuple

from evenwatt_collector.plan.grid import EPS_S
from evenwatt_collector.plan.problem import J_PER_KWH

if TYPE_CHECKING:
    from evenwatt_collector.plan.grid import Grid
    from evenwatt_collector.plan.problem import Job

MOST_WIDTH: Final = 1024


@dataclass(frozen=True, slots=True)
class Option:
    """A place where a job can run."""

    place: int
    watts: float
    """At width 1."""
    speed: float
    """At width 1."""
    transfer_j: float
    transfer_s: float


class Piece(NamedTuple):
    """A segment with times from the start of the clock and the place by its number."""

    place: int
    start: float
    end: float
    width: int
    watts: float
    """On all of its width."""


@dataclass(slots=True)
class Work:
    """A job, checked. Times from the start of the clock."""

    job: Job
    options: tuple[Option, ...]
    speedup: tuple[float, ...]
    earliest: float
    deadline: float
    fault: str = ""
    """Why it can be placed nowhere."""
    pinned: Piece | None = None
    """What it runs in and cannot leave."""
    continues: int = -1
    """Number of the place where it runs now and may go on without a restart."""
    latest: float = inf
    """Deadline once what waits for it is counted; never after ``deadline``."""
    remarks: list[str] = field(default_factory=list)

    @property
    def plain(self) -> bool:
        """Whether pieces of it may lie anywhere and cost nothing: then filling the cleanest slots is exact."""
        job = self.job
        return job.interruptible and not job.restart_s > 0 and not job.least_run_s > 0 and len(self.speedup) == 1

    def length(self, option: Option, width: int = 1) -> float:
        """Return how long it runs, s, in one piece."""
        return self.job.length_s / (option.speed * self.speedup[width - 1])

    def shortest(self) -> float:
        """Return how long it takes at the least, s, from its earliest start on, transfers included."""
        width = max(range(len(self.speedup)), key=self.speedup.__getitem__) + 1
        return min((self.length(option, width) + option.transfer_s for option in self.options), default=inf)


def read(grid: Grid, job: Job) -> Work:
    """Check a job and return it as work; what is wrong with it stands in ``fault`` or ``remarks``."""
    remarks: list[str] = []
    earliest = grid.now if isnan(job.earliest_s) else max(grid.now, job.earliest_s - grid.start_s)
    deadline = inf if isnan(job.deadline_s) else job.deadline_s - grid.start_s
    if isnan(job.deadline_s):
        remarks.append("its deadline is not a number and is left out")
    options = _options(grid, job, remarks)
    work = Work(job, options, _speedup(job, remarks), earliest, deadline, latest=deadline, remarks=remarks)
    if not isfinite(earliest):
        work.fault = f"its earliest start is {job.earliest_s}, expected a time"
    elif not isfinite(job.length_s) or job.length_s < 0:
        work.fault = f"its length is {job.length_s} s, expected a number above 0"
    elif not options:
        wanted = ", ".join(job.at) or "none"
        work.fault = f"it can run nowhere: it allows {wanted}; there are {', '.join(grid.names) or 'no places'}"
    elif job.running is not None:
        _running(grid, work)
    return work


def _running(grid: Grid, work: Work) -> None:
    job, running = work.job, work.job.running
    place = grid.index.get(running.place, -1) if running else -1
    option = next((option for option in work.options if option.place == place), None)
    if running is None or option is None:
        work.remarks.append(f"it runs in {running.place if running else '?'}, where it is not allowed to")
        return
    if job.interruptible:
        work.continues = place
        stays = Option(place, option.watts, option.speed, 0.0, 0.0)  # its data is there
        work.options = tuple(stays if other is option else other for other in work.options)
        return
    width = min(max(1, running.width), len(work.speedup))
    start = min(grid.now, running.start_s - grid.start_s)
    work.pinned = Piece(place, start, grid.now + work.length(option, width), width, option.watts * width)


def _options(grid: Grid, job: Job, remarks: list[str]) -> tuple[Option, ...]:
    options = []
    for name, at in job.at.items():
        place = grid.index.get(name)
        if place is None:
            remarks.append(f"there is no place {name!r}")
        elif not (isfinite(at.power_w) and at.power_w >= 0 and isfinite(at.speed) and at.speed > 0):
            remarks.append(f"{name}: {at.power_w} W at speed {at.speed}, expected numbers of 0 or more, above 0")
        else:
            transfer_j = at.transfer_kwh * J_PER_KWH if at.transfer_kwh > 0 else 0.0
            options.append(Option(place, at.power_w, at.speed, transfer_j, max(0.0, at.transfer_s)))
    return tuple(options)


def _speedup(job: Job, remarks: list[str]) -> tuple[float, ...]:
    """Return the speeds that rise and rise ever less; what does not is cut off."""
    kept: list[float] = []
    for speed in job.speedup[:MOST_WIDTH]:
        gain = speed - (kept[-1] if kept else 0.0)
        before = kept[-1] - (kept[-2] if len(kept) > 1 else 0.0) if kept else inf
        if not (isfinite(speed) and gain > 0) or gain > before + EPS_S:
            break
        kept.append(speed)
    if len(kept) < len(job.speedup):
        remarks.append(f"its speed on {len(kept) + 1} slots is no concave rise and is left out")
    return tuple(kept) or (1.0,)
