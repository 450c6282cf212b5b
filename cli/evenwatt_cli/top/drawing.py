"""Watts as characters: sparklines, gauges and charts, with the cap drawn. Pure; a piece is a text and its style."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

Piece = tuple[str, str]
Watts = float | None
Second = tuple[Watts, Watts]
"""Watts, and the cap or budget then."""

CALM, NEAR, OVER, LINE, QUIET = "green", "yellow", "bold red", "bold cyan", "bright_black"
_UP: Final = " ▁▂▃▄▅▆▇█"
_RIGHT: Final = " ▏▎▍▌▋▊▉█"
_AT: Final = 0.97
"""From this share of a cap on, it is what holds the watts."""
_BEYOND: Final = 1.02
"""Counters and devices are not more exact than that."""


def colour(watts: float, cap_w: Watts) -> str:
    """Return calm, near its cap, or over it."""
    if not cap_w:
        return CALM
    return OVER if watts > _BEYOND * cap_w else NEAR if watts >= _AT * cap_w else CALM


def spark(past: Sequence[Second], width: int, top_w: float) -> list[Piece]:
    """Return one character per second, the newest last; a second of which nothing is known is a dot."""
    shown = list(past)[-width:] if width > 0 else []
    cells = [(" ", "")] * (width - len(shown)) + [_pillar(watts, top_w, cap_w) for watts, cap_w in shown]
    return joined(cells)


def _pillar(watts: Watts, top_w: float, cap_w: Watts) -> Piece:
    if watts is None:
        return "·", QUIET
    eighths = round(8 * watts / top_w) if top_w > 0 else 0
    return _UP[min(8, max(1, eighths))], colour(watts, cap_w)


def gauge(watts: Watts, cap_w: Watts, top_w: float, width: int) -> list[Piece]:
    """Return a bar from nothing to ``top_w``, with a tick where the cap is."""
    eighths = 0 if watts is None or top_w <= 0 else min(8 * width, max(0, round(8 * width * watts / top_w)))
    style = QUIET if watts is None else colour(watts, cap_w)
    tick = None if not cap_w or top_w <= 0 else min(width - 1, int(width * cap_w / top_w))
    cells: list[Piece] = []
    for cell in range(width):
        full = min(8, max(0, eighths - 8 * cell))
        if cell == tick:
            cells.append(("┃" if full == 8 else "│", LINE))
        else:
            cells.append((_RIGHT[full], style))
    return joined(cells)


def chart(past: Sequence[Second], width: int, height: int) -> tuple[list[list[Piece]], float]:
    """Return lines from top to bottom, one column per second, and the watts at the top.

    The cap of each second is a line, which a bar that reaches over it hides.
    """
    shown = list(past)[-width:]
    shown = [*[(None, None)] * (width - len(shown)), *shown]
    peak_w = max((watts for watts, _ in shown if watts is not None), default=0.0)
    most_w = max((limit_w for _, limit_w in shown if limit_w), default=0.0)
    top_w = max(1.08 * peak_w, 1.15 * most_w, 1.0)
    lines = [
        joined([_cell(watts, limit_w, row, height, top_w) for watts, limit_w in shown])
        for row in range(height - 1, -1, -1)
    ]
    return lines, top_w


def row_of(limit_w: Watts, height: int, top_w: float) -> int | None:
    """Return the row in which a cap's line is drawn, counted from below."""
    return None if not limit_w else min(height - 1, int(limit_w / top_w * height))


def _cell(watts: Watts, limit_w: Watts, row: int, height: int, top_w: float) -> Piece:
    at = row_of(limit_w, height, top_w)
    eighths = 0 if watts is None else min(8, max(0, round(8 * height * watts / top_w) - 8 * row))
    if row == at and eighths < 8:
        return "─", LINE
    if eighths == 0:
        return ("·", QUIET) if watts is None and row == 0 else (" ", "")
    return _UP[eighths], colour(watts or 0.0, limit_w)


def joined(cells: Sequence[Piece]) -> list[Piece]:
    """Return the same with neighbours of one style in one piece."""
    return [("".join(text for text, _ in same), style) for style, same in groupby(cells, key=lambda piece: piece[1])]
