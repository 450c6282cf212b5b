"""The table of nodes: which columns fit, what stands in them, and in which order rows are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_cli.reporting.words import mass
from evenwatt_cli.top.drawing import QUIET, Piece, gauge, spark
from evenwatt_cli.units import energy, power

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evenwatt_cli.live.fleet import FleetView, Row, Thing

NAME, ZONE, STATE, POWER, BAR, CAP, BY, ENERGY, CARBON, PAST = (
    "NODE", "ZONE", "STATE", "POWER", "OF ITS CAP", "CAP", "CAP BY", "ENERGY", "CO2e/h", "PAST",
)  # fmt: skip
_SHOWN: Final = (NAME, ZONE, STATE, POWER, BAR, CAP, BY, ENERGY, CARBON, PAST)
_WIDTHS: Final = {NAME: 8, POWER: 8, STATE: 12, CAP: 8, PAST: 8, CARBON: 9, ENERGY: 9, BAR: 12, ZONE: 10, BY: 10}
"""In the order in which they are given up last, with the least they need."""
_RIGHT: Final = frozenset({POWER, CAP, ENERGY, CARBON})
_MOST: Final = {NAME: 24, ZONE: 16}
_LINES_S: Final = 120


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table."""

    title: str
    width: int


@dataclass(frozen=True, slots=True)
class Order:
    """By what rows are sorted."""

    key: str = POWER
    turned: bool = False
    """Smallest first for figures, last first for names."""


ORDERS: Final = (POWER, ENERGY, CARBON, NAME, STATE)


def columns(width: int, nodes: Sequence[Thing], *, zones: bool) -> list[Column]:
    """Return the columns that fit into a width, separated by one blank; the past takes what is left."""
    widths: dict[str, int] = {}
    left = width
    for title, least in _WIDTHS.items():
        if title == ZONE and not zones:
            continue
        if least + (1 if widths else 0) <= left or not widths:
            widths[title] = least
            left -= least + (1 if len(widths) > 1 else 0)
    for title, key in ((NAME, "node"), (ZONE, "zone")):
        if title in widths:
            longest = max((len(thing.row[key]) for thing in nodes), default=0)
            more = max(0, min(longest, _MOST[title]) - widths[title])
            widths[title] += min(more, left)
            left -= min(more, left)
    if PAST in widths:
        widths[PAST] = min(_LINES_S, widths[PAST] + left)
    return [Column(title, widths[title]) for title in _SHOWN if title in widths]


def heading(shown: Sequence[Column], order: Order) -> list[Piece]:
    """Return the line of titles; that of the order has an arrow."""
    pieces: list[Piece] = []
    for column in shown:
        chosen = column.title == order.key
        arrow = ("↑" if order.turned else "↓") if chosen else ""
        text = _fit(column.title + arrow, column.width, right=column.title in _RIGHT)
        pieces.append((text, "bold cyan" if chosen else "bold"))
        pieces.append((" ", ""))
    return pieces[:-1]


def line(node: Thing, shown: Sequence[Column], view: FleetView, now_s: float, *, chosen: bool = False) -> list[Piece]:
    """Return a node's line; where its figures are old, all of it is grey and the state says so.

    Of the chosen one only the words are turned round: colours of bars mean something.
    """
    row = node.row
    standing = view.standing(node, now_s)
    grey = "" if standing.fresh else QUIET
    top_w = scale_w(node)
    pieces: list[Piece] = []
    for column in shown:
        if column.title == PAST:
            pieces += spark(node.past, column.width, top_w)
        elif column.title == BAR and standing.fresh:
            pieces += gauge(row["power_w"], row["cap_w"], top_w, column.width)
        else:
            style = standing.style if column.title == STATE else grey
            text = standing.words if column.title == STATE else _text(node, column.title)
            pieces.append((_fit(text, column.width, right=column.title in _RIGHT), "reverse" if chosen else style))
        pieces.append((" ", "reverse" if chosen and column.title not in {PAST, BAR} else ""))
    return pieces[:-1]


def scale_w(node: Thing) -> float:
    """Return the watts that fill a node's bar: the most it can be told to draw, or has drawn."""
    row = node.row
    peak_w = max((watts for watts, _ in node.past if watts is not None), default=0.0)
    known = (row.get("ceiling_w"), row["cap_w"], row["power_w"], peak_w)
    return max((float(watts) for watts in known if watts), default=1.0)


def ordered(view: FleetView, order: Order, wanted: str, zone: str | None, now_s: float) -> list[Thing]:
    """Return the nodes of a zone (None: all) whose names or zones hold the wanted text, in order."""
    found = [
        thing
        for (of_zone, name), thing in view.nodes.items()
        if (zone is None or zone == of_zone) and (wanted in name or wanted in of_zone)
    ]
    found.sort(key=lambda thing: (thing.row["zone"], thing.row["node"]))
    if order.key == NAME:
        found.sort(key=lambda thing: str(thing.row["node"]), reverse=order.turned)
    elif order.key == STATE:
        found.sort(key=lambda thing: _rank(view, thing, now_s), reverse=order.turned)
    else:
        key = _FIGURES[order.key]
        found.sort(key=lambda thing: _figure(thing, key), reverse=not order.turned)
    return found


_FIGURES: Final = {POWER: "power_w", ENERGY: "energy_j", CARBON: "emissions_g_per_h"}


def _figure(thing: Thing, key: str) -> float:
    value = thing.row.get(key)
    return float("-inf") if value is None else float(value)


def _rank(view: FleetView, thing: Thing, now_s: float) -> tuple[int, str]:
    """What needs a person comes first."""
    standing = view.standing(thing, now_s)
    return (0 if not standing.fresh else 2 if standing.style == "green" else 1), standing.words.split()[0]


def _text(node: Thing, title: str) -> str:
    return _TEXTS[title](node.row)


_TEXTS: Final[dict[str, Callable[[Row], str]]] = {
    NAME: lambda row: str(row["node"]),
    ZONE: lambda row: str(row["zone"]),
    POWER: lambda row: power(row["power_w"]) + ("~" if row.get("quality") == "estimated" else ""),
    BAR: lambda _row: "",
    CAP: lambda row: power(row["cap_w"]),
    BY: lambda row: str(row.get("lease_by") or row.get("lease") or "-"),
    ENERGY: lambda row: energy(row["energy_j"]),
    CARBON: lambda row: mass(row.get("emissions_g_per_h")),
}


def _fit(text: str, width: int, *, right: bool = False) -> str:
    cut = text if len(text) <= width else text[: width - 1] + "…"
    return cut.rjust(width) if right else cut.ljust(width)
