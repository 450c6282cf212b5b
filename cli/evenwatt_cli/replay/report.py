"""What replays say: a table, a document, and a page of its own with plots (inline SVG, nothing is fetched)."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evenwatt_cli.plots import Frame, polyline

if TYPE_CHECKING:
    from evenwatt_cli.replay.engine import Run
    from evenwatt_collector.control.arrays import Floats

Results = Mapping[str, Sequence["Run"]]
"""Runs by scenario, in the order of rules."""

COLUMNS: Final = (
    ("over_budget_ws", "over, W*s", ".0f"),
    ("worst_overshoot_pct", "worst %", ".1f"),
    ("seconds_above", "above s", ".1f"),
    ("work_lost_pct", "lost %", ".2f"),
    ("peak_to_average", "peak/avg", ".2f"),
    ("ramp_p99_w_per_s", "ramp W/s", ".0f"),
    ("settle_s", "settle s", ".2f"),
    ("jain", "jain", ".3f"),
    ("reversals_per_h", "turns/h", ".0f"),
    ("max_lease_to_budget", "lease/B", ".3f"),
)
OURS: Final = "evenwatt"
_WIDTH, _HEIGHT, _LEFT = 860, 230, 64
_FRAME: Final = Frame(_WIDTH, _HEIGHT, _LEFT, bottom=24, head=20)
_COLOURS: Final = {OURS: "#0b7a4b", "uncapped": "#b03a2e", "pi": "#7d3c98", "dynamo-three-band": "#b9770e"}
_OTHER: Final = "#8a94a0"


def document(results: Results) -> list[dict[str, Any]]:
    """Return the machine-readable part: scenarios with every rule's figures."""
    return [
        {
            "name": name,
            "policies": {run.name: run.measures.as_dict() for run in runs},
            "work_lost_by_priority_pct": {
                run.name: {str(p): round(lost, 3) for p, lost in run.work_by_class.items()} for run in runs
            },
        }
        for name, runs in results.items()
    ]


def verdict(results: Results) -> dict[str, Any]:
    """Return how ours stands against the rules.

    ``beaten_on``: scenarios in which a rule is better on both watt-seconds over budget and work lost.
    """
    beaten = []
    sums: dict[str, list[float]] = {}
    for name, runs in results.items():
        ours = next((run.measures for run in runs if run.name == OURS), None)
        for run in runs:
            total = sums.setdefault(run.name, [0.0, 0.0])
            total[0] += run.measures.over_budget_ws
            total[1] += run.measures.work_lost_pct / len(results)
            if ours is not None and run.name != OURS:
                less_over = run.measures.over_budget_ws < ours.over_budget_ws
                if less_over and run.measures.work_lost_pct < ours.work_lost_pct:
                    beaten.append(f"{name}: {run.name}")
    return {
        "beaten_on": beaten,
        "all_scenarios": {
            name: {"over_budget_ws": round(over, 3), "work_lost_pct": round(lost, 3)}
            for name, (over, lost) in sums.items()
        },
    }


def table(name: str, runs: Sequence[Run]) -> str:
    """Return a scenario's figures as text."""
    width = max(len(run.name) for run in runs)
    lines = [name, " " * width + "".join(f"{title:>11}" for _, title, _ in COLUMNS)]
    for run in runs:
        figures = run.measures.as_dict()
        cells = (format(figures[key], form) for key, _, form in COLUMNS)
        lines.append(f"{run.name:<{width}}" + "".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)


def page(results: Results, title: str) -> str:
    """Return a page with a plot and a table for every scenario."""
    parts = [_HEAD.replace("TITLE", html.escape(title))]
    for name, runs in results.items():
        parts += [f"<h2>{html.escape(name)}</h2>", _plot(runs), _html_table(runs)]
    return "\n".join([*parts, "</main>", "</html>"])


_HEAD: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TITLE</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;background:#fbfcfd;margin:0}
main{max-width:900px;margin:0 auto;padding:24px 16px}
h1{font-size:22px;margin:0 0 4px} h2{font-size:17px;margin:32px 0 8px} p{margin:4px 0 12px;color:#556372}
svg{width:100%;height:auto;background:#fff;border:1px solid #dde3e9;border-radius:6px}
.wide{overflow-x:auto} table{border-collapse:collapse;margin-top:10px;font-size:13px;min-width:100%}
td,th{padding:4px 9px;text-align:right;border-bottom:1px solid #e7ebef;white-space:nowrap}
th{color:#556372;font-weight:600} td:first-child,th:first-child{text-align:left}
tr.ours td{background:#e9f6ef;font-weight:600}
</style>
<main>
<h1>TITLE</h1>
<p>True power of the fleet every second (its highest in that second) against its hard budget. Every way to control runs
on the same machines, work, network and dice.</p>"""


def _html_table(runs: Sequence[Run]) -> str:
    head = "".join(f"<th>{html.escape(title)}</th>" for _, title, _ in COLUMNS)
    rows = []
    for run in runs:
        figures = run.measures.as_dict()
        cells = "".join(f"<td>{format(figures[key], form)}</td>" for key, _, form in COLUMNS)
        rows.append(f"<tr{' class=ours' if run.name == OURS else ''}><td>{html.escape(run.name)}</td>{cells}</tr>")
    return f'<div class="wide"><table><tr><th>rule</th>{head}</tr>{"".join(rows)}</table></div>'


def _plot(runs: Sequence[Run]) -> str:
    series = {run.name: _per_second(run.power_w, run.dt_s, np.max) / 1e3 for run in runs}
    budget = _per_second(runs[0].budget_w, runs[0].dt_s, np.min) / 1e3
    top = 1.05 * max(float(budget.max()), *(float(values.max()) for values in series.values()))
    order = sorted(series, key=lambda name: (name == OURS, name in _COLOURS))
    lines = [_line(series[name], top, _COLOURS.get(name, _OTHER), 2.0 if name == OURS else 1.0) for name in order]
    lines.append(_line(budget, top, "#111", 1.6, dash="6 4"))
    marks = "".join(
        f'<text x="{_LEFT - 8}" y="{_FRAME.y(value, top) + 4:.0f}" text-anchor="end" font-size="11" fill="#556372">'
        f"{value:.3g} kW</text>"
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{_FRAME.y(value, top):.1f}" y2="{_FRAME.y(value, top):.1f}" '
        f'stroke="#eef1f4"/>'
        for value in np.linspace(0.0, top / 1.05, 5)
    )
    shown = [name for name in (OURS, "uncapped", "dynamo-three-band", "pi") if name in series]
    legend = "".join(
        f'<text x="{_LEFT + 10 + 165 * i}" y="14" font-size="12" fill="{colour}">{html.escape(name)}</text>'
        for i, (name, colour) in enumerate([*((n, _COLOURS[n]) for n in shown), ("budget (dashed)", "#111")])
    )
    seconds = len(budget)
    ends = (
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}" font-size="11" fill="#556372">0 s</text>'
        f'<text x="{_WIDTH - 4}" y="{_HEIGHT - 6}" text-anchor="end" font-size="11" fill="#556372">{seconds} s</text>'
    )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{marks}{"".join(lines)}{legend}{ends}</svg>'


def _line(values: Floats, top: float, colour: str, width: float, *, dash: str = "") -> str:
    most = 1_500
    if len(values) > most:
        values = values[: len(values) // most * most].reshape(most, -1).max(axis=1)
    last = max(1, len(values) - 1)
    style = f'stroke="{colour}" stroke-width="{width}"' + (f' stroke-dasharray="{dash}"' if dash else "")
    return polyline(_FRAME, ((i / last, float(value)) for i, value in enumerate(values)), top, style)


def _per_second(values: Floats, dt_s: float, fold: Any) -> Floats:
    steps = max(1, round(1.0 / dt_s))
    whole = len(values) // steps * steps
    folded: Floats = fold(values[:whole].reshape(-1, steps), axis=1) if whole else values
    return folded
