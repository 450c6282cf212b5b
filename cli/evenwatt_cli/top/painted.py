"""Pieces on a terminal: lines for the screen, and for a frame that is only printed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_cli.top.drawing import Piece


@lru_cache(maxsize=64)
def style_of(words: str) -> Style:
    """Return a style; parsing one takes longer than drawing with it."""
    return Style.parse(words)


def strip(pieces: Sequence[Piece], width: int) -> Strip:
    """Return one line of the screen, exactly so wide."""
    return Strip([Segment(text, style_of(style)) for text, style in pieces]).adjust_cell_length(width)


def text(lines: Sequence[Sequence[Piece]]) -> Text:
    """Return lines as text that is cut at the edge and never wrapped."""
    made = Text(no_wrap=True, overflow="ellipsis", end="")
    for number, pieces in enumerate(lines):
        if number:
            made.append("\n")
        for words, style in pieces:
            made.append(words, style)
    return made
