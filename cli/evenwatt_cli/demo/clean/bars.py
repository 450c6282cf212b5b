"""The grid's hours as columns: its intensity, and each job's waiting, running and planned hours below it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from evenwatt_cli.demo.clean.day import HOURS

if TYPE_CHECKING:
    from evenwatt_cli.demo.clean.day import GridDay

HOURS_SHOWN: Final = 56
"""Where a terminal has 80 columns."""
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_ROWS: Final = 2
_MOST_G: Final = 480.0
_CLEAN, _DIRTY, _NOW = "green", "dark_orange", "bold white"


def curve(day: GridDay, first: int, now_s: float, hours: int = HOURS_SHOWN) -> list[Text]:
    """Return the intensity of each hour as bars, the highest row first; forecasts are dim."""
    now = day.number(now_s)
    rows = [Text() for _ in range(_ROWS)]
    for hour in range(first, first + hours):
        value = day.measured_g(hour) if hour <= now else day.forecast_g(hour)
        colour = _CLEAN if value < day.median_g else _DIRTY
        style = f"bold {colour}" if hour == now else colour if hour < now else f"dim {colour}"
        level = round(min(1.0, value / _MOST_G) * _ROWS * 8)
        for i, row in enumerate(rows):
            part = min(8, max(0, level - 8 * (_ROWS - 1 - i)))
            row.append(
                _EIGHTHS[part], style=f"bold {style}" if hour == now else style if hour < now else f"dim {style}"
            )
    return rows


def legend() -> Text:
    """Say what the signs mean."""
    return Text.assemble(
        ("▲", _NOW), " now  · waits  ▒ planned  ", ("█", _CLEAN), " runs, clean  ", ("█", _DIRTY), " dirty  ",
        "| deadline; cap",
    )  # fmt: skip


def ruler(day: GridDay, first: int, now_s: float, hours: int = HOURS_SHOWN) -> Text:
    """Return the hours of the day under the curve, with ``▲`` at now."""
    cells = [" "] * hours
    for i in range(hours):
        at = (first + i + day.first) % HOURS
        if at % 6 == 0:
            for j, digit in enumerate(f"{at:02d}"):
                if i + j < hours:
                    cells[i + j] = digit
    text = Text("".join(cells), style="dim")
    now = day.number(now_s) - first
    if 0 <= now < hours:
        text = Text.assemble(text[:now], ("▲", _NOW), text[now + 1 :])
    return text


def job_bar(job: dict[str, Any], day: GridDay, first: int, now_s: float, hours: int = HOURS_SHOWN) -> Text:
    """Return a job's hours: ``·`` waiting, ``█`` it ran, ``▒`` planned, ``|`` its deadline."""
    now, text = day.number(now_s), Text()
    begin, end = day.number(job["submitted_s"]), day.number(job["ended_s"] or now_s)
    ran = [(day.number(run["started_s"]), day.number(_end_s(run, now_s))) for run in job["runs"] if run["started_s"]]
    planned = [(day.number(piece["start_s"]), day.number(piece["end_s"] - 1e-3)) for piece in job["pieces"]]
    deadline = day.number(job["deadline_s"]) if job["deadline_s"] else None
    for hour in range(first, first + hours):
        if any(start <= hour <= stop for start, stop in ran):
            text.append("█", style=_CLEAN if day.measured_g(hour) < day.median_g else _DIRTY)
        elif hour > now and any(start <= hour <= stop for start, stop in planned):
            text.append("▒", style="dim")
        elif hour == deadline and not job["ended_s"]:
            text.append("|", style="dim")
        else:
            text.append("·" if begin <= hour <= end else " ", style="dim")
    return text


def _end_s(run: dict[str, Any], now_s: float) -> float:
    return float(run["ended_s"]) if run["ended_s"] is not None else now_s
