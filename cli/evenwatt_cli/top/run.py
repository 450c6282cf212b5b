"""``evenwatt top``: the screen on a terminal, or one plain frame of it."""

from __future__ import annotations

import shutil
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from evenwatt_cli.exits import Exit
from evenwatt_cli.live.fleet import FleetView
from evenwatt_cli.operator_settings import OperatorSettings, load
from evenwatt_cli.status import ask_collector, ask_socket, worries
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

_PLAIN_COLUMNS = 100


def show_top(*, via: str, once: bool, config: Path | None) -> int:
    """Show the fleet until the person has seen enough.

    Raises:
        Failure: nobody can be asked, or standard output is no terminal.
    """
    settings = load(config)
    if not once and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure(
            "top needs a terminal; elsewhere use `evenwatt top --once`, `evenwatt status` or `evenwatt watch`"
        )
    document, local = _first(settings, via)
    view = FleetView()
    view.take(document, time.monotonic())
    if once:
        _print(view)
        return Exit.DEGRADED if worries(document) else Exit.OK
    from evenwatt_cli.top.app import Top
    from evenwatt_cli.top.sources import from_agent, from_collector, past_of, work_of

    source = partial(from_agent if local else from_collector, settings)
    work = None if local else partial(work_of, settings)
    before = None if local else partial(past_of, settings)
    app = Top(view, source, settings.socket if local else settings.collector_url, work, before)
    code = app.run()
    if app.trouble is not None:
        raise app.trouble
    return Exit.FAILURE if code is None else code


def _first(settings: OperatorSettings, via: str) -> tuple[dict[str, Any], bool]:
    """Return a whole document, so that what cannot be asked is said before the screen is taken; and if it is local."""
    if via not in {"auto", "collector", "local"}:
        raise Failure(f"--via {via!r}: expected auto, collector or local")
    if via != "local":
        try:
            document = ask_collector(settings)
        except Failure as failure:
            if via == "collector" or failure.exit_code in {Exit.USAGE, Exit.REJECTED}:
                raise
            try:
                return ask_socket(settings), True
            except Failure:
                raise failure from None
        if document["collector"]["role"] == "standby":
            active = document["collector"].get("active") or "the other collector"
            raise Failure(
                f"{settings.collector_url} stands by and has no stream; set collector_url to {active}, which is active",
                exit_code=Exit.FAILURE,
            )
        return document, False
    return ask_socket(settings), True


def _print(view: FleetView) -> None:
    """Print one frame without colour or position: for a pipe, a log, a screen reader."""
    from evenwatt_cli.top.columns import BAR, PAST, Order, columns, heading, line, ordered
    from evenwatt_cli.top.header import zone_lines

    now_s = time.monotonic()
    width = shutil.get_terminal_size((_PLAIN_COLUMNS, 0)).columns
    rows = ordered(view, Order(), "", None, now_s)
    several = len({row.row["zone"] for row in rows}) > 1
    shown = [one for one in columns(width, rows, zones=several) if one.title not in {BAR, PAST}]
    lines = zone_lines(view, None, width, len(view.zones))
    lines += [heading(shown, Order()), *(line(row, shown, view, now_s) for row in rows)]
    if not rows:
        lines.append([("No node has been heard yet.", "")])
    for pieces in lines:
        print("".join(text for text, _ in pieces).rstrip()[:width])
