"""One node closely: its past with its cap, who set that, its counters, and the work on it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenwatt_cli.reporting.words import mass
from evenwatt_cli.top.drawing import QUIET, Piece
from evenwatt_cli.top.header import labelled_chart
from evenwatt_cli.units import energy, power

if TYPE_CHECKING:
    from evenwatt_cli.live.fleet import FleetView, Row, Thing

Line = list[Piece]
_CHART = 8
_NAMES = 32


def close_up(node: Thing, view: FleetView, now_s: float, size: tuple[int, int]) -> list[Line]:
    """Return the lines of a node's own screen; ``size`` is its width and height."""
    width, height = size
    row = node.row
    standing = view.standing(node, now_s)
    lines: list[Line] = [[(f"{row['zone']}:{row['node']}  ", "bold"), (standing.words, standing.style)]]
    if not standing.fresh:
        lines[0].append(("  these figures are old", "yellow"))
    tall = max(3, min(_CHART, height - 14))
    lines += labelled_chart(list(node.past), "0 W", (width, tall))
    lines.append([])
    lines += _facts(row)
    lines += _counters(row)
    lines += _work(row)
    lines += _jobs(row, view)
    return lines


def _facts(row: Row) -> list[Line]:
    capped = power(row["cap_w"]) if row["cap_w"] else "none"
    if row.get("lease_by") or row.get("lease"):
        capped += f", {row.get('lease') or ''} by {row.get('lease_by') or 'nobody'}".replace(" by nobody", "")
    if row.get("lease_remaining_s"):
        capped += f", {row['lease_remaining_s']:.0f} s left when heard"
    bounds = [
        f"{word} {power(row[key])}"
        for word, key in (("floor", "floor_w"), ("ceiling", "ceiling_w"), ("fallback", "fallback_w"))
        if row.get(key) is not None
    ]
    peak = f", peak {power(row['peak_w'])}" if row.get("peak_w") is not None else ""
    rate = f", {mass(row['emissions_g_per_h'])}/h" if row.get("emissions_g_per_h") is not None else ""
    facts = [
        ("power", f"{power(row['power_w'])}{peak} ({row['quality'] or 'unknown quality'})"),
        ("cap", capped),
        ("bounds", ", ".join(bounds)),
        ("account", f"{energy(row['energy_j'])}, {mass(row['emissions_g'])}{rate}"),
        ("class", " ".join(str(row[key]) for key in ("class", "priority") if row.get(key) is not None)),
        ("paused", ", ".join(row["paused"] or ())),
        ("total", row.get("total_formula") or ""),
        ("agent", _agent(row)),
    ]
    return [[(f"{name:<9}", QUIET), (said, "")] for name, said in facts if said]


def _agent(row: Row) -> str:
    parts = []
    if row.get("agent_rss_mb") is not None:
        parts.append(f"{row['agent_cpu_pct']:.1f} % of a processor, {row['agent_rss_mb']:.0f} MB")
    if row.get("spooled"):
        parts.append(f"{row['spooled']} records wait to be stored")
    if row.get("missing"):
        parts.append(f"{row['missing']} records missing")
    return "; ".join(parts)


def _counters(row: Row) -> list[Line]:
    domains: list[dict[str, Any]] = row.get("domains") or []
    lines: list[Line] = [[], [(f"{'COUNTER':<{_NAMES}} {'POWER':>9} {'COUNTED':>11}", "bold")]] if domains else []
    for domain in domains:
        name = str(domain["id"])[:_NAMES]
        lines.append([(f"{name:<{_NAMES}} {power(domain['power_w']):>9} {energy(domain['total_j']):>11}", "")])
    return lines


def _work(row: Row) -> list[Line]:
    work: list[dict[str, Any]] = row.get("work") or []
    lines: list[Line] = [[], [(f"{'WHO DRAWS IT':<{_NAMES}} {'POWER':>9}", "bold")]] if work else []
    for one in work:
        name = f"{one['kind']}/{one['name']}" if one["name"] else one["kind"]
        lines.append([(f"{name[:_NAMES]:<{_NAMES}} {power(one['power_w']):>9}", "")])
    return lines


def _jobs(row: Row, view: FleetView) -> list[Line]:
    here = [job for job in view.jobs.values() if (job["zone"], job["node"]) == (row["zone"], row["node"])]
    here = [job for job in here if job["state"] not in {"done", "failed", "cancelled"}]
    lines: list[Line] = [[], [("JOBS", "bold")]] if here else []
    for job in here:
        done = f" {100 * job['done']:.0f} %" if job.get("done") else ""
        lines.append([(f"{job['name']}: {job['state']}{done}", ""), (f"  {job['id']}", QUIET)])
    return lines
