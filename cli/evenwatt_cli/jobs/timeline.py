"""The plan as lines of text: above, each zone's intensity as a curve; below, a bar for each job. Pure.

All zones share one scale, so that heights compare. Where no forecast reaches, the curve is dotted: what counts there
is a fallback. A column stands for an equal piece of time, and a bar fills those that it covers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import TYPE_CHECKING, Final

from rich.text import Text

from evenwatt_cli.jobs.words import NO_SERVICES, shortened
from evenwatt_cli.reporting.words import digits, mass
from evenwatt_cli.units import power
from evenwatt_collector.jobs.model import JobState
from evenwatt_collector.jobs.times import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from evenwatt_collector.jobs.desk import PlaceView, PlannedView, PlanView

_LEAST_WIDTH: Final = 40
_MOST_WIDTH: Final = 160
_LEAST_SLOTS: Final = 12
_DAY_S: Final = 86_400
_STEPS_S: Final = (
    10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, _DAY_S, 2 * _DAY_S, 4 * _DAY_S,
    7 * _DAY_S,
)  # fmt: skip
_APART: Final = 2
"""Columns between one time and the next, at the least."""
_RIGHT: Final = 19
"""Columns of the figures and the state."""


@dataclass(frozen=True, slots=True)
class _Signs:
    levels: str
    dotted: str
    whole: str
    part: str
    running: str
    deadline: str


_UNICODE: Final = _Signs("▁▂▃▄▅▆▇█", "·", "█", "▌", "▓", "│")
_ASCII: Final = _Signs("_.,-=+*#", ":", "#", "+", "%", "|")


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things stand: labels on the left, the time in columns, figures on the right."""

    left: int
    columns: int
    start_s: float
    end_s: float

    @property
    def step_s(self) -> float:
        return (self.end_s - self.start_s) / self.columns

    def column(self, at_s: float) -> int:
        return int((at_s - self.start_s) // self.step_s)


def timeline(
    plan: PlanView,
    width: int,
    *,
    hours: float | None = None,
    limit: int = 20,
    ascii_only: bool = False,
    serving: Mapping[str, str] = NO_SERVICES,
) -> Iterator[Text]:
    """Yield the lines.

    Args:
        plan: As the collector gives it.
        width: Columns of the terminal.
        hours: How far to show; default: to the end of the last job, or of its deadline.
        limit: Jobs at most.
        ascii_only: The terminal knows no other signs.
        serving: What services run and where, by job.
    """
    signs = _ASCII if ascii_only else _UNICODE
    yield _head(plan)
    if plan.places and plan.slots:
        frame = _frame(plan, min(max(width, _LEAST_WIDTH), _MOST_WIDTH), hours)
        yield _times(frame, plan.now_s)
        scale = _scale(plan.places, frame, plan)
        for place in plan.places:
            yield _curve(place, plan, frame, scale, signs)
            yield Text(_room(place, plan), style="dim")
        jobs = sorted(
            plan.jobs, key=lambda job: (not job.pieces, job.pieces[0].start_s if job.pieces else 0.0, job.job)
        )
        for job in jobs[:limit]:
            yield _served(job, frame, serving) if job.job in serving else _bar(job, plan, frame, signs)
        if len(jobs) > limit:
            yield Text(f"and {len(jobs) - limit} more; --limit shows them")
    if not plan.jobs:
        yield Text("No job is open. Submit one with `evenwatt submit`.")
    for job in plan.jobs[:limit]:
        if job.late or not (job.pieces or job.job in serving):
            yield Text(
                f"! {job.name} ({job.job[:8]}): {job.why or 'not planned'}", style="red" if job.late else "yellow"
            )
    for note in plan.notes:
        yield Text(f"! {note}", style="yellow")


def legend(*, ascii_only: bool = False) -> Text:
    """Return what the signs stand for."""
    signs = _ASCII if ascii_only else _UNICODE
    words = (
        f"{signs.whole} planned  {signs.part} in part  {signs.running} runs now  {signs.deadline} deadline  "
        f"{signs.dotted} no forecast"
    )
    return Text(words, style="dim")


def _head(plan: PlanView) -> Text:
    solver = f" ({plan.solver})" if plan.solver else ""
    count = f"{len(plan.jobs)} job{'s' if len(plan.jobs) != 1 else ''}"
    head = Text(f"plan made {in_words(plan.now_s - plan.made_s)} ago{solver}, {count}", style="bold")
    if not plan.dispatching:
        head.append("; nothing is started here: jobs are planned and advised only")
    return head


def _frame(plan: PlanView, width: int, hours: float | None) -> _Frame:
    left = 12 if width < 70 else 18
    columns = max(10, width - left - _RIGHT)
    ends = [piece.end_s for job in plan.jobs for piece in job.pieces]
    ends += [job.deadline_s for job in plan.jobs if job.deadline_s is not None]
    wanted_s = (
        3600 * hours if hours is not None else max([_LEAST_SLOTS * plan.slot_s, *(end - plan.start_s for end in ends)])
    )
    reach_s = min(max(plan.slot_s, wanted_s), plan.slot_s * plan.slots)
    return _Frame(left, columns, plan.start_s, plan.start_s + ceil(reach_s / plan.slot_s) * plan.slot_s)


def _times(frame: _Frame, now_s: float) -> Text:
    """Return the times of day above the columns, at midnight the day, and where now is."""
    step_s = next((s for s in _STEPS_S if s / frame.step_s >= len(_clock(0.0, s)) + _APART), _STEPS_S[-1])
    line = [" "] * frame.columns
    if 0 <= frame.column(now_s) < frame.columns:
        _write(line, frame.column(now_s), f"now {_clock(now_s, step_s)}")
        _write(line, frame.column(now_s), "now")  # where there was no room for the time as well
    every_s = min(step_s, 3600)
    at_s = frame.start_s - frame.start_s % every_s
    while at_s < frame.end_s:
        local = datetime.fromtimestamp(at_s).astimezone()
        into_s = 3600 * local.hour + 60 * local.minute + local.second
        due = into_s == 0 and local.toordinal() * _DAY_S % step_s == 0 if step_s > _DAY_S else into_s % step_s == 0
        if due and at_s >= frame.start_s:
            _write(line, frame.column(at_s), _clock(at_s, step_s) if into_s else f"{local:%a %d}")
        at_s += every_s
    return Text(" " * frame.left + "".join(line).rstrip(), style="dim")


def _clock(at_s: float, step_s: int) -> str:
    local = datetime.fromtimestamp(at_s).astimezone()
    return f"{local:%H:%M:%S}" if step_s < 60 else f"{local:%H:%M}"


def _write(line: list[str], column: int, text: str) -> None:
    """Write a text into a line where there is room for it."""
    around = line[max(0, column - 1) : column + len(text) + 1]
    if column + len(text) <= len(line) and not "".join(around).strip():
        line[column : column + len(text)] = text


def _columns(values: Sequence[float], plan: PlanView, frame: _Frame) -> list[float]:
    """Return the mean of slots over the time of each column."""
    found = []
    for column in range(frame.columns):
        from_s = frame.start_s + column * frame.step_s
        first = (from_s - plan.start_s) / plan.slot_s
        last = first + frame.step_s / plan.slot_s
        total = weight = 0.0
        for slot in range(int(first), min(len(values), ceil(last - 1e-9))):
            share = min(slot + 1, last) - max(slot, first)
            total += share * values[slot]
            weight += share
        found.append(total / weight if weight > 0 else 0.0)
    return found


def _scale(places: Sequence[PlaceView], frame: _Frame, plan: PlanView) -> tuple[float, float]:
    shown = [value for place in places for value in _columns(place.intensity_g_per_kwh, plan, frame)]
    return min(shown), max(shown)


def _curve(place: PlaceView, plan: PlanView, frame: _Frame, scale: tuple[float, float], signs: _Signs) -> Text:
    least, most = scale
    values = _columns(place.intensity_g_per_kwh, plan, frame)
    known = (plan.start_s + place.known_slots * plan.slot_s - frame.start_s) / frame.step_s
    line = Text(_label(place.zone, frame.left), style="bold")
    for column, value in enumerate(values):
        height = (value - least) / (most - least) if most > least else 0.0
        if column + 0.5 < known:
            line.append(signs.levels[min(7, int(8 * height))], style=_COLOURS[min(2, int(3 * height))])
        else:
            line.append(signs.dotted, style="dim")
    figures = dict.fromkeys((f"{min(values):.0f}", f"{max(values):.0f}"))
    line.append(f" {'-'.join(figures)}")
    line.append(" g/kWh")
    return line


def _room(place: PlaceView, plan: PlanView) -> str:
    facts = [f"now {digits(place.intensity_g_per_kwh[0])} g/kWh"] if place.intensity_g_per_kwh else []
    if place.slots_free is not None and place.slots_free:
        facts.append(f"{place.slots_free[0]:g} slots free")
    if place.power_free_w is not None and place.power_free_w:
        facts.append(f"{power(max(0.0, place.power_free_w[0]))} free")
    known_s = min(place.known_slots, plan.slots) * plan.slot_s
    facts.append(f"forecast for {in_words(known_s)}" if known_s else "no forecast")
    return "  " + "; ".join(facts)


def _served(job: PlannedView, frame: _Frame, serving: Mapping[str, str]) -> Text:
    words = shortened(f"serving {serving[job.job]}", frame.columns + _RIGHT)
    return Text(_label(job.name, frame.left)).append(words, style="green")


def _bar(job: PlannedView, plan: PlanView, frame: _Frame, signs: _Signs) -> Text:
    cells = [" "] * frame.columns
    covered = [0.0] * frame.columns
    for piece in job.pieces:
        for column in range(max(0, frame.column(piece.start_s)), min(frame.columns, frame.column(piece.end_s) + 1)):
            from_s = frame.start_s + column * frame.step_s
            both_s = min(piece.end_s, from_s + frame.step_s) - max(piece.start_s, from_s)
            covered[column] += max(0.0, both_s) / frame.step_s
    running = job.state in {JobState.RUNNING, JobState.STARTING, JobState.STOPPING}
    now = frame.column(plan.now_s)
    for column, share in enumerate(covered):
        if share > 0:
            full = signs.running if running and column == now else signs.whole
            cells[column] = full if share >= 0.5 else signs.part
    if job.deadline_s is not None:
        column = frame.column(job.deadline_s)
        if 0 <= column < frame.columns and cells[column] == " ":
            cells[column] = signs.deadline
    line = Text(_label(job.name, frame.left))
    line.append("".join(cells), style="red" if job.late else "green" if running else "cyan")
    line.append(f" {mass(job.grams)}")
    line.append(f" {'late' if job.late and job.pieces else job.state.value}")
    return line


def _label(text: str, width: int) -> str:
    return f"{shortened(text, width - 1):<{width}}"


_COLOURS: Final = ("green", "yellow", "red")
