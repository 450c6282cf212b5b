"""What stands above the nodes: the connection, the zones against their budgets, and the past as a chart. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenwatt_cli.live.fleet import age
from evenwatt_cli.reporting.words import mass
from evenwatt_cli.top.drawing import LINE, OVER, QUIET, Piece, chart, gauge, row_of
from evenwatt_cli.units import power

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_cli.live.fleet import FleetView, Row
    from evenwatt_cli.top.drawing import Second, Watts

_BAR = 16
_WIDE = 78
_BANDS = {"normal": "within", "hold": "holding", "cap": "capping", "brake": "BRAKING", "off": "not controlled"}


def connection(view: FleetView, source: str, now_s: float) -> list[Piece]:
    """Return the first line: whose figures these are, and whether they are of now."""
    stale = sum(not view.standing(thing, now_s).fresh for thing in view.nodes.values())
    count = f"{len(view.nodes)} node{'s' * (len(view.nodes) != 1)}"
    pieces = [("evenwatt top  ", "bold"), (f"{count}", ""), (f", {stale} not heard" if stale else "", "yellow")]
    if view.away_since_s is None:
        pieces.append(("  live", "green"))
    else:
        pieces.append((f"  reconnecting for {age(now_s - view.away_since_s)}: figures are old", OVER))
        pieces.append((f" ({view.away_why})", QUIET))
    pieces.append((f"  {source}", QUIET))
    return pieces


def zone_lines(view: FleetView, chosen: str | None, width: int, most: int) -> list[list[Piece]]:
    """Return a line for each zone, at most so many; what does not fit is counted."""
    rows = [thing.row for name, thing in sorted(view.zones.items()) if chosen in {None, name}]
    wide = max((len(row["zone"]) for row in rows), default=0)
    old = view.away_since_s is not None
    shown = [_zone(row, width, min(wide, 16), old=old) for row in rows[:most]]
    if len(rows) > most > 0:
        shown[-1] = [(f"… {len(rows) - most + 1} more zones; z chooses one", QUIET)]
    return shown


def _zone(row: Row, width: int, wide: int, *, old: bool) -> list[Piece]:
    old = old or not row.get("linked", True)
    style = QUIET if old else ""
    watts, budget_w = row["power_w"], row["budget_w"]
    pieces = [(row["zone"][:wide].ljust(wide) + " ", QUIET if old else "bold")]
    if budget_w:
        share = 100 * watts / budget_w
        over = OVER if share > 100 and not old else style
        pieces.append((f"{power(watts)} of {power(budget_w)} {share:.0f} % ", over))
        pieces += gauge(None if old else watts, budget_w, max(1.15 * budget_w, watts), _BAR if width >= _WIDE else 8)
        pieces.append((" ", ""))
    else:
        pieces.append((f"{power(watts)}, no budget ", style))
    band = "cut off" if not row.get("linked", True) else _BANDS.get(row["band"], row["band"])
    pieces.append((band, OVER if row["band"] == "brake" and not old else style))
    if row["alarms"] and width < _WIDE:
        pieces.append((f"  ! {len(row['alarms'])}", "red"))
    if width >= _WIDE:
        standing = f" {row['intensity_standing']}" if row.get("intensity_standing") else ""
        grams = f"{mass(row['emissions_g_per_h'])}/h at {row['intensity_g_per_kwh']:.0f} g/kWh"
        pieces.append((f"  {grams}{standing}", style))
    if row["alarms"] and width >= _WIDE:
        more = f" (and {len(row['alarms']) - 1} more)" if len(row["alarms"]) > 1 else ""
        pieces.append((f"  ! {' '.join(row['alarms'][0].split())}{more}", "red"))
    return pieces


def past(view: FleetView, chosen: str | None) -> tuple[list[Second], str]:
    """Return the watts and the budget of a zone, or of all, second by second, and what it is of."""
    rows = [view.zones[chosen].row] if chosen in view.zones else view.outer()
    things = [view.zones[row["zone"]] for row in rows]
    if not things:  # a node alone: what its own agent tells
        things = list(view.nodes.values())
        return _added([list(thing.past) for thing in things]), "here"
    return _added([list(thing.past) for thing in things]), chosen or "fleet"


def _added(pasts: Sequence[Sequence[Second]]) -> list[Second]:
    """Add series that end now; a second in which one of them is not known is not known."""
    length = max((len(one) for one in pasts), default=0)
    padded = [[*[(None, None)] * (length - len(one)), *one] for one in pasts]
    seconds = zip(*padded, strict=True)
    return [(_sum([watts for watts, _ in now]), _sum([limit_w for _, limit_w in now])) for now in seconds]


def _sum(watts: Sequence[Watts]) -> Watts:
    known = [one for one in watts if one is not None]
    return sum(known) if len(known) == len(watts) else None


def labelled_chart(past: Sequence[Second], name: str, size: tuple[int, int]) -> list[list[Piece]]:
    """Return a chart with its scale on the left and what the line is; ``size`` is width and height."""
    width, height = size
    gutter = 9
    lines, top_w = chart(past, max(1, width - gutter), height)
    limit_w = past[-1][1] if past else None
    row = row_of(limit_w, height, top_w)
    at = None if row is None else height - 1 - row
    labelled = []
    for number, drawn in enumerate(lines):
        label, style = "", QUIET
        if number == at and limit_w:
            label, style = power(limit_w), LINE
        elif number == 0:
            label = power(top_w)
        elif number == height - 1:
            label = name[:8]
        labelled.append([(label.rjust(gutter - 1) + " ", style), *drawn])
    return labelled
