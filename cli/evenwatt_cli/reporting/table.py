"""Reports as text: a table that fits the terminal, and below it what an honest reader wants to know."""

from __future__ import annotations

import io
import re
import textwrap
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evenwatt_cli.reporting import words
from evenwatt_cli.reporting.sentences import compared_lines, coverage_lines, known_lines, score_lines, source_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_collector.report.document import Derived
    from evenwatt_collector.report.model import Figures, Report, Row

_WIDE, _NARROW = 76, 46
_TIED: Final = "\N{NO-BREAK SPACE}"
_UNIT: Final = re.compile(
    r"(?<=\d) (?=(%|[kMGmµ]?(Wh|g|t|l)\b|g/kWh|h|min|s|d\b|CO2e))|(?<=[a-z]) (?=CO2e)|(?<=x) (?=\d)|(?<=[EIMR]) (?=\d)"
)


def print_report(report: Report, derived: Derived, *, dynamic: bool = False, console: Console | None = None) -> None:
    """Print a report; ``dynamic`` shows energy above idle beside the whole."""
    out = console or Console(highlight=False, markup=False)
    head = f"{report.fleet} by {report.by}, {words.period(report.start_s, report.end_s, report.timezone)}"
    out.print(_wrapped(head, out.width, style="bold"))
    out.print(_table(report, out.width, dynamic=dynamic))
    sure = derived.total
    whole = words.mass_range(sure.low_g, sure.high_g)
    ranged = f"90 % range of the total: {whole} CO2e, location-based"
    lines = [ranged] if report.total.energy_j > 0 else []
    lines += [*coverage_lines(report, derived), *known_lines(report), *source_lines(report)]
    if derived.sci is not None:
        lines += score_lines(report, derived)
    if derived.comparison is not None:
        lines += compared_lines(derived.comparison, report.timezone)
    for line in lines:
        out.print(_wrapped(line, out.width))
    for note in report.notes:
        out.print(_wrapped(f"! {note}", out.width, style="yellow"))


def _wrapped(line: str, width: int, style: str = "") -> Text:
    """Return a line as a paragraph: what goes on is set in, and no number is parted from its unit."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    joined = _UNIT.sub(_TIED, _printable(line))
    paragraph = textwrap.fill(joined, width, subsequent_indent=indent, break_on_hyphens=False)
    return Text(paragraph.replace(_TIED, " "), style=style)


def _printable(text: str) -> str:
    """Return text without what could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def as_text(report: Report, derived: Derived, *, dynamic: bool = False, width: int = 80) -> str:
    """Return what :func:`print_report` prints, without colours."""
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, color_system=None)
    with console.capture() as captured:
        print_report(report, derived, dynamic=dynamic, console=console)
    return captured.get()


Column = tuple[str, "Callable[[Figures], str]"]


def _table(report: Report, width: int, *, dynamic: bool) -> Table:
    whole = report.total.location_g
    energy: Column = ("ENERGY", lambda f: words.energy(f.energy_j))
    location: Column = ("CO2e", lambda f: words.mass(f.location_g))
    part: Column = ("SHARE", lambda f: words.share(f.location_g / whole if whole > 0 else None))
    optional: list[Column] = []
    if dynamic:
        optional += [
            ("ABOVE IDLE", lambda f: words.energy(f.dynamic_j)),
            ("CO2e OF IT", lambda f: words.mass(f.location_dynamic_g)),
        ]
    if report.total.market_g is not None:
        optional.append(("MARKET", lambda f: words.mass(f.market_g)))
    if report.total.embodied_g is not None:
        optional.append(("EMBODIED", lambda f: words.mass(f.embodied_g)))
    if width >= _WIDE:
        columns = [energy, location, *optional, part]
    elif width >= _NARROW:
        columns = [energy, location, *(optional[:1] if dynamic else []), part]
    else:
        columns = [location, *optional[1:2]] if dynamic else [energy, location]
    return _filled(report, columns, width)


def _filled(report: Report, columns: list[Column], width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0), collapse_padding=True)
    cells = [[form(figures) for _, form in columns] for figures in (*(r.figures for r in report.rows), report.total)]
    widest = [max(len(title), *(len(row[i]) for row in cells)) for i, (title, _) in enumerate(columns)]
    room = max(6, width - sum(widest) - len(columns) - 1)
    table.add_column(report.by.upper(), no_wrap=True, overflow="ellipsis", max_width=room)
    for title, _ in columns:
        table.add_column(title, justify="right", no_wrap=True, overflow="ellipsis")
    for row, line in zip(report.rows, cells, strict=False):
        table.add_row(_name(report, row), *line, style="dim" if row.residual else "")
    table.add_row("total", *cells[-1], style="bold")
    return table


_PLACED: Final = ("node", "task")


def _name(report: Report, row: Row) -> Text:
    """Return a row's name; a rest that belongs to nobody is marked, a name from outside never is markup."""
    shown = f"{row.zone}:{row.name}" if report.by in _PLACED and row.zone and not row.residual else row.name
    return Text(_printable(f"* {shown}" if row.residual else shown))
