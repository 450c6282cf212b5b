"""The status document as text that fits 80 columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evenwatt_cli.reporting.words import mass
from evenwatt_cli.units import energy, power

if TYPE_CHECKING:
    from collections.abc import Callable

_STATES: Final = {
    "ready": "green", "init": "yellow", "paused": "yellow", "disconnected": "dim", "lost": "red", "silent": "red",
}  # fmt: skip


def print_status(document: dict[str, Any], console: Console | None = None) -> None:
    """Print zones first, then one line per node, then what a single node's own agent adds."""
    out = console or Console(highlight=False, markup=False)
    _collector(out, document.get("collector"))
    for zone in document["zones"]:
        _zone(out, zone)
    for budget in document.get("budgets", []):
        _budget(out, budget)
    if document.get("workloads"):
        out.print(_workloads(document["workloads"], out.width))
    _jobs(out, document)
    otlp = document.get("otlp")
    if otlp and otlp["trouble"]:
        _say(out, f"! metrics are not exported: {otlp['trouble']}", "yellow")
    if document["nodes"]:
        out.print(_nodes(document["nodes"], out.width))
        for node in document["nodes"]:
            if node["paused"]:
                _say(out, f"  {node['node']} paused: {', '.join(node['paused'])}", "yellow")
    else:
        out.print("No node has been heard yet. Is an agent running? Try `evenwatt demo` to see one.")
    if "local" in document:
        _local(out, document["local"])


def _collector(out: Console, said: dict[str, Any] | None) -> None:
    """Which of two collectors was asked, and which one acts; nothing where there is only one."""
    if said is None or said["role"] == "alone":
        return
    if said["role"] == "standby":
        active = f"{said['active']} is active" if said["active"] else "the active one was not heard yet"
        out.print(f"collector {said['name']} stands by; {active}, epoch {said['epoch']}")
    else:
        out.print(f"collector {said['name']} is active, epoch {said['epoch']}")


def _zone(out: Console, zone: dict[str, Any]) -> None:
    line, known = f"zone {zone['zone']}: {power(zone['power_w'])}", zone.get("linked", True)
    if zone["budget_w"]:
        share = 100 * zone["power_w"] / zone["budget_w"]
        line += f" of {power(zone['budget_w'])} budget ({share:.0f} %), "
        line += (
            _BANDS.get(zone["band"], zone["band"]) if known else _OLD
        ) + f"; at most {power(zone['leased_w'])} by its leases"
    else:
        line += ", no budget set" + ("" if known else f"; {_OLD}")
    _say(out, line, "bold")
    carbon = f"  {zone['emissions_g_per_h']:.0f} g CO2e/h at {zone['intensity_g_per_kwh']:.0f} g/kWh"
    if zone["pue"] and zone["pue"] != 1:
        carbon += f", PUE {zone['pue']:g}"
    standing = f", {zone['intensity_standing']}" if zone.get("intensity_standing") else ""
    _say(out, f"{carbon} ({zone['intensity_source']}{standing}); {zone['emissions_g']:.1f} g so far")
    nodes = zone["nodes"]
    heads = f"  {nodes} {'node' if nodes == 1 else 'nodes'}, {zone['capped']} at {'its' if nodes == 1 else 'their'} cap"
    _say(out, heads + (f", {zone['silent']} silent" if zone["silent"] else ""))
    for alarm in zone["alarms"] or []:
        _say(out, f"  ! {alarm}", "red")


_OLD: Final = "old figures: the collector is cut off"


def _say(out: Console, words: str, style: str = "") -> None:
    """Print a line that may be longer than the terminal is wide: what goes on stands further in than it began."""
    begins = len(words) - len(words.lstrip())
    lines = textwrap.wrap(words, out.width, subsequent_indent=" " * (begins + 2), break_on_hyphens=False)
    out.print(Text("\n".join(lines), style=style))


def _jobs(out: Console, document: dict[str, Any]) -> None:
    """Jobs in one line, late ones and services in one each; `evenwatt jobs` has the rest."""
    planning = document.get("planning")
    counts = {state: count for state, count in (planning or {}).get("by_state", {}).items() if count}
    if planning and counts:
        words = ", ".join(f"{count} {state}" for state, count in counts.items())
        _say(out, f"jobs: {words}" + ("" if planning["dispatching"] else " (planned and advised, not started here)"))
    for job in document.get("jobs", []):
        if job["late"] and job["state"] not in {"done", "failed", "cancelled"}:
            _say(out, f"  ! {job['name']} ({job['id']}) will be late: {job['why']}", "red")
    for service in document.get("services", []):
        where = f"{service['zone']}:{service['node']}" if service["node"] else service["zone"]
        weight = f"{service['g_per_unit']:.3g} g a {service['unit']}"
        _say(out, f"service {service['service']}: {service['variant']} on {where}, {weight}")


def _budget(out: Console, budget: dict[str, Any]) -> None:
    each = "day" if budget["grams_per_day"] else "month"
    spent = "not known" if budget["spent_g"] is None else mass(budget["spent_g"])
    line = f"budget {budget['budget']} ({budget['scope']}): {spent} of "
    line += f"{mass(budget['grams_per_day'] or budget['grams_per_month'])} this {each}"
    if budget["rate_g_per_h"] is not None:
        line += f", at {mass(budget['rate_g_per_h'])}/h"
    _say(out, line)


def _workloads(workloads: list[dict[str, Any]], width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
    table.add_column("WORKLOAD", overflow="ellipsis", no_wrap=True, max_width=max(8, min(30, width - 27)))
    for title in ("POWER", "CO2e/h", "NODES"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in workloads[:_SHOWN_PARTS]:
        table.add_row(row["workload"], power(row["power_w"]), mass(row["emissions_g_per_h"]), str(row["nodes"]))
    return table


_BANDS = {
    "normal": "within target",
    "hold": "near its budget: holding",
    "cap": "held to its budget: capping",
    "brake": "over budget: braking",
    "off": "not controlled",
}


_LEFT = frozenset({"NODE", "STATE", "CAP BY"})
_GIVEN_UP = ("CAP BY", "ENERGY", "CO2e", "SEEN")
"""Columns that are left out where the terminal is too narrow, in this order."""
_LEAST, _MOST = 12, 20
"""Characters of a name that are shown, at least and at the most."""


def _nodes(nodes: list[dict[str, Any]], width: int) -> Table:
    rows = [{title: tell(node) for title, tell in _CELLS.items()} for node in nodes]
    wide = {title: max(len(title), *(len(row[title]) for row in rows)) for title in _CELLS}
    wide["NODE"] = min(wide["NODE"], _MOST)
    titles = list(_CELLS)
    for title in _GIVEN_UP:
        if sum(wide[one] + 2 for one in titles) - wide["NODE"] + min(wide["NODE"], _LEAST) <= width:
            break
        titles.remove(title)
    rest = sum(wide[title] + 2 for title in titles if title != "NODE")
    wide["NODE"] = max(1, min(wide["NODE"], width - rest - 2))
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
    for title in titles:
        justify: Literal["left", "right"] = "left" if title in _LEFT else "right"
        table.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis", width=wide[title])
    for row in rows:
        table.add_row(*(row[title] for title in titles))
    return table


def _state(node: dict[str, Any]) -> Text:
    state = "silent" if node.get("silent") else node["state"] or "?"
    if state == "ready" and node["paused"]:
        state = "paused"
    return Text(state, style=_STATES.get(state, ""))


def _by(node: dict[str, Any]) -> str:
    if node.get("silent"):
        return "unknown"
    return (node["lease"] or "-") + (" (operator)" if node.get("lease_by") == "operator" else "")


_CELLS: Final[dict[str, Callable[[dict[str, Any]], Text | str]]] = {
    "NODE": lambda node: str(node["node"]),
    "STATE": _state,
    "POWER": lambda node: power(node["power_w"]) + ("~" if node["quality"] == "estimated" else ""),
    "CAP": lambda node: power(node["cap_w"]),
    "CAP BY": _by,
    "ENERGY": lambda node: energy(node["energy_j"]),
    "CO2e": lambda node: "-" if node["emissions_g"] is None else f"{node['emissions_g']:.1f} g",
    "SEEN": lambda node: "-" if node["age_s"] is None else f"{node['age_s']:.0f} s",
}


_SHOWN_PARTS = 8


def _account(out: Console, account: dict[str, Any]) -> None:
    """Who draws what, the largest first; then the tasks, and what looking costs."""
    rows = account["parts"]
    if rows:
        out.print("who draws it (latest second):")
    for row in rows[:_SHOWN_PARTS]:
        name = f"{row['kind']}/{row['name']}" if row["name"] else row["kind"]
        out.print(Text(f"  {_short(name, 40):<40} {row['power_w']:>9.1f} W"))
    if rows[_SHOWN_PARTS:]:
        rest_w = sum(row["power_w"] for row in rows[_SHOWN_PARTS:])
        out.print(f"  {f'{len(rows) - _SHOWN_PARTS} more':<40} {rest_w:>9.1f} W")
    for task in account["tasks"]:
        words = f"task {_short(task['name'], 24)}: {energy(task['energy_j'])} in {task['duration_s']:.0f} s"
        out.print(Text(f"{words}, {power(task['mean_power_w'])}, {task['state']}"))
    idle = account["idle"].get("cpu")
    known = f"{power(idle['power_w'])} ({idle['basis']})" if idle and idle["basis"] != "unknown" else "not known yet"
    out.print(f"idle power: {known}; looking costs {account['cost_w']:.2f} W")
    if account["trouble"]:
        out.print(Text(f"! attribution: {account['trouble']}", style="yellow"))


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _local(out: Console, local: dict[str, Any]) -> None:
    out.print(f"\nnode power = {local['birth']['total_formula']}")
    counted = {domain["id"] for domain in local["birth"]["domains"] if domain["in_total"]}
    for window in local["window"] or []:
        if window["id"] != "node":
            note = "" if window["id"] in counted else "  (shown, not added)"
            out.print(f"  {window['id']:<28} {power(window['mean_w']):>9}  {window['quality']}{note}")
    if local["unmetered_w"] is not None:
        out.print(f"  {'unmetered (fans, losses)':<28} {power(local['unmetered_w']):>9}  machine meter less the total")
    if local["account"] is not None:
        _account(out, local["account"])
    link = local["link"]
    _say(out, f"broker: {link['state']}" + (f" ({link['trouble']})" if link["trouble"] else ""))
    if link["spool"]["trouble"]:
        _say(out, f"! records cannot be kept on disk: {link['spool']['trouble']}", "red")
    if local["control_trouble"]:
        _say(out, f"! control: {local['control_trouble']}", "yellow")
    for problem in local["problems"]:
        _say(out, f"! {problem['path']}: {problem['found']}; {problem['fix']}", "yellow")
