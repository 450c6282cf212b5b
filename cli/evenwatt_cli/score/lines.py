"""Paragraphs and tables that fit the terminal, of names that may have come from anywhere."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence


def console() -> Console:
    """Return where to print; a pipe gets lines of 100."""
    found = Console(highlight=False, markup=False)
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, markup=False, width=100)


def put(out: Console, line: str, style: str = "") -> None:
    """Print a line as a paragraph; what goes on is set in."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    text = textwrap.fill(printable(line), out.width, subsequent_indent=indent, break_on_hyphens=False)
    out.print(Text(text, style=style))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> Table:
    """Return a table; the first ``left`` columns stand to the left, the others to the right."""
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for i, head in enumerate(heads):
        made.add_column(head, justify="left" if i < left else "right", overflow="ellipsis", no_wrap=True)
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def printable(text: str) -> str:
    """Return text without what could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
