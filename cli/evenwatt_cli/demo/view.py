"""What a person sees while the demo runs: a live picture on a terminal, or a line every few seconds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from types import TracebackType

_BAR: Final = 24
_PROGRESS_S: Final = 5.0
_COLUMNS: Final = (
    ("node", "left"), ("class", "left"), ("power", "right"), ("", "left"), ("cap", "right"), ("lease", "left"),
)  # fmt: skip


_WORKLOADS: Final = 6
_WORKLOAD_COLUMNS: Final = (("workload", "left"), ("power", "right"), ("emits", "right"), ("nodes", "right"))


class View(Protocol):
    """Something that shows the status again and again."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, status: dict[str, Any], elapsed_s: float, seconds: float) -> None:
        """Show the collector's status document."""


class Progress:
    """One line every five seconds on standard error."""

    def __init__(self) -> None:
        self._due_s = 0.0
        self._peak_w = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, status: dict[str, Any], elapsed_s: float, seconds: float) -> None:
        """Say where the run is."""
        if not status.get("zones"):
            return
        zone = status["zones"][0]
        self._peak_w = max(self._peak_w, zone["power_w"])
        if elapsed_s < self._due_s:
            return
        paused = [node["node"] for node in status["nodes"] if node.get("paused")]
        print(
            f"demo: {elapsed_s:3.0f} of {seconds:.0f} s  {zone['power_w']:5.0f} W, up to {self._peak_w:5.0f} W "
            f"of {zone['budget_w']:.0f} W  {zone['emissions_g_per_h']:4.0f} g/h  {zone['band']}"
            f"{'  paused: ' + ', '.join(paused) if paused else ''}\n"
            f"      by workload: {_by_workload(status['workloads']) or 'nothing is known yet'}",
            file=sys.stderr,
        )
        self._due_s = elapsed_s + _PROGRESS_S
        self._peak_w = 0.0


class LiveView:
    """Watts, budget, grams, caps and events, redrawn twice a second."""

    def __init__(self) -> None:
        self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, status: dict[str, Any], elapsed_s: float, seconds: float) -> None:
        """Draw the picture."""
        if not status.get("zones"):
            return
        zone = status["zones"][0]
        left = f"{max(0.0, seconds - elapsed_s):.0f} s left, Ctrl-C ends"
        tables = Group(_nodes(status["nodes"]), _workloads(status["workloads"]))
        picture = Group(_headline(zone), tables, _events(status.get("events", [])))
        self._live.update(Panel(picture, title=f"evenwatt demo: zone {zone['zone']}", subtitle=left))


def _headline(zone: dict[str, Any]) -> Text:
    budget_w, power_w = zone["budget_w"] or 1.0, zone["power_w"]
    linked = zone.get("linked", True)
    colour = {"normal": "green", "hold": "yellow", "cap": "dark_orange", "brake": "red"}.get(zone["band"], "white")
    colour = colour if linked else "dim"
    text = Text(f"{power_w:7.0f} W of {budget_w:.0f} W ")
    text.append(_bar(power_w, budget_w, 30), style=colour)
    text.append(f" {zone['band']}" if linked else " old: no connection to the broker", style=colour)
    if zone.get("budget_why"):
        text.append(f"  budget: {zone['budget_why']}", style="dim")
    text.append(f"\nleased {zone['leased_w']:.0f} W at most   {zone['emissions_g_per_h']:.0f} g CO2e/h   ")
    text.append(f"grid {zone['intensity_g_per_kwh']:.0f} g/kWh ({zone['intensity_source']}, ")
    text.append(f"{zone['intensity_standing']})")
    return text


def _nodes(nodes: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column, side in _COLUMNS:
        table.add_column(column, justify=side)  # type: ignore[arg-type]  # rich's literal type
    for node in nodes:
        power_w, cap_w = node.get("power_w") or 0.0, node.get("cap_w")
        at_cap = cap_w is not None and power_w > 0.95 * cap_w
        scale_w = max(node.get("ceiling_w") or 0.0, power_w, 1.0)
        table.add_row(
            node["node"],
            f"{node.get('class') or '-'} {node.get('priority') or 0}",
            f"{power_w:.0f} W",
            Text(_bar(power_w, scale_w, _BAR, cap_w), style=_colour(node, at_cap=at_cap)),
            "-" if cap_w is None else f"{cap_w:.0f} W",
            _lease(node),
        )
    return table


def _colour(node: dict[str, Any], *, at_cap: bool) -> str:
    if node.get("silent"):
        return "dim"
    return "dark_orange" if at_cap else "green"


def _lease(node: dict[str, Any]) -> Text:
    if node.get("silent"):
        return Text(f"silent for {node['age_s']:.0f} s", style="dim")
    if node.get("paused"):
        return Text("paused", style="magenta")
    return Text(str(node.get("lease") or node.get("state") or ""))


def _by_workload(workloads: list[dict[str, Any]]) -> str:
    return ", ".join(f"{row['workload']} {row['emissions_g_per_h']:.0f} g/h" for row in workloads[:_WORKLOADS])


def _workloads(workloads: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column, side in _WORKLOAD_COLUMNS:
        table.add_column(column, justify=side)  # type: ignore[arg-type]  # rich's literal type
    for row in workloads[:_WORKLOADS]:
        table.add_row(
            row["workload"], f"{row['power_w']:.0f} W", f"{row['emissions_g_per_h']:.0f} g/h", str(row["nodes"])
        )
    return table


def _events(events: list[dict[str, Any]]) -> Text:
    lines = [f"{event.get('node', '')}: {event.get('name', '')} {event.get('subject', '')}" for event in events[-4:]]
    return Text("\n".join(["", *lines]), style="dim")


def _bar(value: float, full: float, width: int, mark: float | None = None) -> str:
    """Draw a bar; ``|`` stands where the cap is."""
    filled = min(width, max(0, round(width * value / full)))
    cells = ["█"] * filled + ["·"] * (width - filled)
    if mark is not None and mark < full:
        cells[min(width - 1, max(0, round(width * mark / full)))] = "|"
    return "".join(cells)
