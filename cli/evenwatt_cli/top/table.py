"""The table of nodes on the screen: only the lines that are seen are made, so that thousands of nodes cost no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView

from evenwatt_cli.top.columns import Column, Order, columns, heading, line, ordered
from evenwatt_cli.top.painted import strip

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.strip import Strip

    from evenwatt_cli.live.fleet import FleetView, Thing


class NodeTable(ScrollView, can_focus=True):
    """Nodes, one in a line; one of them is chosen, and stays so when the order changes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "move(-1000000)", "first", show=False),
        Binding("end", "move(1000000)", "last", show=False),
        Binding("enter", "open", "open", show=False),
    ]

    class Opened(Message):
        """A node is to be looked at closely."""

        def __init__(self, key: tuple[str, str]) -> None:
            super().__init__()
            self.key = key

    def __init__(self, view: FleetView, clock: Callable[[], float]) -> None:
        super().__init__()
        self._view, self._clock = view, clock
        self._rows: list[Thing] = []
        self._shown: list[Column] = []
        self._cursor = 0
        self._chosen: tuple[str, str] | None = None
        self.order = Order()
        self.wanted = ""
        self.zone: str | None = None

    def renew(self) -> None:
        """Order the rows again, and draw what is seen of them."""
        self._rows = ordered(self._view, self.order, self.wanted, self.zone, self._clock())
        keys = [(thing.row["zone"], thing.row["node"]) for thing in self._rows]
        if self._chosen in keys and self._chosen is not None:
            self._cursor = keys.index(self._chosen)
        self._cursor = min(self._cursor, max(0, len(keys) - 1))
        several = self.zone is None and len({zone for zone, _ in keys}) > 1
        self._shown = columns(self.size.width, self._rows, zones=several)
        self.virtual_size = Size(self.size.width, len(keys) + 1)
        self.refresh()

    def on_resize(self) -> None:
        """Fit the columns to the new width."""
        self.renew()

    def render_line(self, y: int) -> Strip:
        """Draw one line; the first one is the heading, wherever the rest is scrolled to."""
        width = self.size.width
        if y == 0:
            return strip(heading(self._shown, self.order), width)
        number = y - 1 + self.scroll_offset.y
        if number >= len(self._rows):
            nothing = "no node matches; / changes the filter" if self.wanted else "no node has been heard yet"
            return strip([(nothing, "bright_black")] if not self._rows and y == 1 else [], width)
        chosen = number == self._cursor and self.has_focus
        return strip(line(self._rows[number], self._shown, self._view, self._clock(), chosen=chosen), width)

    def choose_from_top(self) -> None:
        """Go to the first row: what a new order puts first is what was asked for."""
        self._cursor, self._chosen = 0, None
        self.scroll_to(y=0, animate=False)

    def action_move(self, by: int) -> None:
        """Go up or down."""
        if not self._rows:
            return
        self._cursor = min(len(self._rows) - 1, max(0, self._cursor + by))
        row = self._rows[self._cursor].row
        self._chosen = (row["zone"], row["node"])
        self.scroll_to_region(Region(0, self._cursor, 1, 2), animate=False, force=True)
        self.refresh()

    def action_page(self, by: int) -> None:
        """Go a screen up or down."""
        self.action_move(by * max(1, self.size.height - 2))

    def action_open(self) -> None:
        """Look at the chosen node closely."""
        if self._rows:
            row = self._rows[self._cursor].row
            self.post_message(self.Opened((row["zone"], row["node"])))
