"""The screen of ``evenwatt top``: textual around the pure parts beside it."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static

from evenwatt_cli.exits import Exit
from evenwatt_cli.top.columns import CARBON, ENERGY, NAME, ORDERS, POWER, STATE, Order
from evenwatt_cli.top.header import connection, labelled_chart, past, zone_lines
from evenwatt_cli.top.node import close_up
from evenwatt_cli.top.painted import text
from evenwatt_cli.top.table import NodeTable
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from evenwatt_cli.live.fleet import FleetView, Row
    from evenwatt_cli.top.drawing import Piece

    Work = Callable[[tuple[str, str]], Awaitable[list[dict[str, Any]]]]
    Before = Callable[[str], Awaitable[Row | None]]
    Source = Callable[[FleetView, Callable[[], None]], Awaitable[None]]

_DRAW_S = 0.5
_WORK_S = 2.0
_REMEMBERED = 64
_TALL, _MIDDLE, _LOW = 34, 24, 15
HELP = """\
[b]P E C[/b]   sort by power, energy, carbon
[b]N S[/b]     by name; by state, what needs a person first
[b]← →[/b]     by the next of these; [b]I[/b] turns the order round
[b]↑ ↓[/b]     choose a node; also k j, PgUp PgDn, Home End
[b]Enter[/b]   its counters, cap and work; Esc goes back
[b]/[/b]       only names with this text; Esc ends it
[b]z[/b]       only one zone, the next one, all
[b]Space[/b]   hold the picture still
[b]?[/b]       this help; [b]q[/b] quits

[ansi_green]█[/] below its cap  [ansi_yellow]█[/] at it  [b ansi_red]█[/] above it
[b ansi_cyan]│ ─[/] the cap or budget  · not heard  ~ estimated
Grey rows are old: the state says why.
"""


class Help(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter,space", "dismiss", show=False)]

    def compose(self) -> ComposeResult:
        """Make the one box."""
        yield Static(HELP, id="help")


class CloseUp(Screen[None]):
    """One node."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace,enter,q", "dismiss", show=False),
        Binding("question_mark", "app.help", show=False),
    ]

    def __init__(self, view: FleetView, key: tuple[str, str], work: Work | None) -> None:
        super().__init__()
        self._view, self._key, self._ask = view, key, work
        self._work: list[dict[str, Any]] | None = None

    def compose(self) -> ComposeResult:
        """Make the text and the line of keys."""
        with VerticalScroll():
            yield Static(id="close-up")
        yield Static(" Esc back   ↑↓ scroll   ? help", classes="keys")

    def on_mount(self) -> None:
        """Draw at once, and as long as it is open."""
        self.set_interval(_DRAW_S, self.draw)
        self.call_after_refresh(self.draw)
        if self._ask is not None:
            self.run_worker(self._keep_asking(self._ask))

    async def _keep_asking(self, ask: Work) -> None:
        """Who draws on it is asked for while one looks: the stream does not tell it of all nodes."""
        while True:
            self._work = await ask(self._key)
            await asyncio.sleep(_WORK_S)

    def draw(self) -> None:
        """Draw what is known now."""
        node = self._view.nodes.get(self._key)
        shown = self.query_one("#close-up", Static)
        if node is None:
            shown.update(text([[(f"{':'.join(self._key)} is no more; Esc goes back", "")]]))
            return
        if self._work is not None:
            node.row["work"] = self._work
        size = (max(20, self.size.width - 3), self.size.height)
        shown.update(text(close_up(node, self._view, time.monotonic(), size)))


class Top(App[int]):
    """The nodes, and what is above them."""

    ENABLE_COMMAND_PALETTE = False
    CSS: ClassVar[str] = """
    Static { text-wrap: nowrap; text-overflow: ellipsis; }
    #above { height: auto; }
    #filter { display: none; height: 1; border: none; padding: 0; }
    NodeTable { height: 1fr; scrollbar-size: 1 1; }
    .keys { height: 1; color: ansi_bright_black; dock: bottom; }
    Help { align: center middle; }
    #help { text-wrap: wrap; width: 60; max-width: 100%; height: auto; border: round ansi_bright_black; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c,ctrl+q", "leave", priority=False, show=False),
        Binding("question_mark,f1", "help", show=False),
        *(Binding(f"{key},{key.lower()}", f"sort('{order}')", show=False)
          for key, order in (("P", POWER), ("E", ENERGY), ("C", CARBON), ("N", NAME), ("S", STATE))),
        Binding("left", "sort_beside(-1)", show=False),
        Binding("right", "sort_beside(1)", show=False),
        Binding("I,i", "turn", show=False),
        Binding("slash", "filter", show=False),
        Binding("escape", "all", show=False),
        Binding("z,Z", "zone", show=False),
        Binding("space", "hold", show=False),
    ]  # fmt: skip

    def __init__(
        self, view: FleetView, source: Source, name: str, work: Work | None = None, before: Before | None = None
    ) -> None:
        super().__init__(ansi_color=True)
        self._work, self._before = work, before
        self._view, self._source, self._named = view, source, name
        self._news = self._held = False
        self.trouble: Failure | None = None

    def compose(self) -> ComposeResult:
        """Make the parts from top to bottom."""
        yield Static(id="above")
        yield NodeTable(self._view, time.monotonic)
        yield Input(placeholder="part of a name or zone", id="filter", compact=True)
        yield Static(id="below", classes="keys")

    def on_mount(self) -> None:
        """Listen, and draw twice a second; signals end it as a key does."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.action_leave)
        self.query_one(NodeTable).focus()
        self.set_interval(_DRAW_S, self._draw)
        self.set_interval(1.0, lambda: self._view.second(time.monotonic()))
        self.run_worker(self._listen(), exit_on_error=False)
        self._view.second(time.monotonic())
        if self._before is not None:
            self.run_worker(self._remember(self._before))
        self.call_after_refresh(self.draw)

    async def _remember(self, before: Before) -> None:
        """Ask for the minutes before, so that charts are not empty at first; beyond so many zones they begin empty."""
        zones = [row["zone"] for row in self._view.outer()]
        zones += sorted(set(self._view.zones) - set(zones))
        for zone in zones[:_REMEMBERED]:
            history = await before(zone)
            if history is not None:
                self._view.seed(history)
                self._heard()

    async def _listen(self) -> None:
        try:
            await self._source(self._view, self._heard)
        except Failure as failure:
            self.trouble = failure
            self.exit(failure.exit_code)

    def _heard(self) -> None:
        self._news = True

    def _draw(self) -> None:
        if (self._news or self._view.away_since_s is not None) and not self._held:
            self._news = False
            self.draw()

    def draw(self) -> None:
        """Draw what is known now."""
        if len(self.screen_stack) > 1 and isinstance(self.screen, CloseUp):
            return
        self.screen_stack[0].query_one("#above", Static).update(text(self._above()))
        table = self.screen_stack[0].query_one(NodeTable)
        table.renew()
        held = "   HELD: space goes on" if self._held else ""
        only = f"   only {table.wanted!r}" if table.wanted else ""
        only += f"   only zone {table.zone}" if table.zone else ""
        self.screen_stack[0].query_one("#below", Static).update(
            text([[(f" ? help   P/E/C sort   / filter   Enter open   q quit{only}{held}", "")]])
        )

    def _above(self) -> list[list[Piece]]:
        width, height = self.size.width, self.size.height
        table = self.screen_stack[0].query_one(NodeTable)
        lines = [connection(self._view, self._named, time.monotonic())]
        lines += zone_lines(self._view, table.zone, width, 6 if height >= _TALL else 3 if height >= _LOW else 1)
        tall = 7 if height >= _TALL else 4 if height >= _MIDDLE else 0
        if tall:
            lines += labelled_chart(*past(self._view, table.zone), (width, tall))
        return lines

    def on_resize(self) -> None:
        """Fit everything to the new size."""
        self.call_after_refresh(self.draw)

    def on_node_table_opened(self, message: NodeTable.Opened) -> None:
        """Look at a node closely."""
        self.push_screen(CloseUp(self._view, message.key, self._work), lambda _: self.draw())

    def action_leave(self) -> None:
        """End."""
        self.exit(Exit.OK)

    def action_help(self) -> None:
        """Show the keys."""
        if not isinstance(self.screen, Help):
            self.push_screen(Help())

    def action_sort(self, key: str) -> None:
        """Sort by a column; by the same one again: the other way round."""
        table = self.query_one(NodeTable)
        table.order = Order(key, turned=not table.order.turned if table.order.key == key else False)
        table.choose_from_top()
        self.draw()

    def action_sort_beside(self, by: int) -> None:
        """Sort by the column before or after."""
        at = ORDERS.index(self.query_one(NodeTable).order.key)
        self.action_sort(ORDERS[(at + by) % len(ORDERS)])

    def action_turn(self) -> None:
        """Turn the order round."""
        self.action_sort(self.query_one(NodeTable).order.key)

    def action_zone(self) -> None:
        """Show the next zone alone; after the last one all."""
        table = self.query_one(NodeTable)
        known = [None, *sorted(self._view.zones)]
        at = known.index(table.zone) if table.zone in known else 0
        table.zone = known[(at + 1) % len(known)]
        table.choose_from_top()
        self.draw()

    def action_hold(self) -> None:
        """Hold the picture still, or go on."""
        self._held = not self._held
        self.draw()

    def action_filter(self) -> None:
        """Ask for a part of a name."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Filter while it is typed."""
        table = self.query_one(NodeTable)
        table.wanted = message.value.strip()
        table.choose_from_top()
        self.draw()

    def on_input_submitted(self) -> None:
        """Keep the filter, and go back to the nodes."""
        self._close_filter()

    def action_all(self) -> None:
        """End the filter."""
        self.query_one("#filter", Input).value = ""
        self._close_filter()
        self.draw()

    def _close_filter(self) -> None:
        self.query_one("#filter", Input).display = False
        self.query_one(NodeTable).focus()
