"""The demo's report: what was counted against what is true, and what control was worth.

Counted joules come out of the collector's database, record by record; true joules from the twin's log over exactly
the time those records cover. Power over budget is the twin's true power every 10 ms, beside the same load on the same
machines without caps (the twin runs that shadow along), from the moment every node holds a lease.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.build import Made, open_and_build
from evenwatt_collector.report.model import By
from evenwatt_twin import truth
from evenwatt_twin.truth import OverBudget, Truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_cli.demo.scenario import Event, Node, Scenario


@dataclass(frozen=True, slots=True)
class Measured:
    """What the run has seen."""

    status: dict[str, Any]
    """The collector's last status document."""
    span_ns: tuple[int, int]
    """From when every node held a lease to the end of the run."""
    events: Sequence[Event]
    """Demand response; second 0 is the start of the span."""
    costs: dict[str, tuple[float, float]]
    """Each agent's memory in the end (MB, 10^6 bytes) and its mean processor use (percent of a core)."""


def make_report(scenario: Scenario, measured: Measured) -> dict[str, Any]:
    """Return the report as it is printed."""
    status = measured.status
    known = {node["node"]: node for node in status["nodes"]}
    truths = {node.name: Truth.load(scenario.truth(node.name)) for node in scenario.nodes}
    rows = [_node(node, known.get(node.name, {}), truths[node.name], measured) for node in scenario.nodes]
    rows += [_real(name, known.get(name, {}), measured) for name in measured.costs if name not in truths]
    fleet = list(truths.values())
    t0_ns, t1_ns = measured.span_ns
    with_control, without = (_over(fleet, scenario, measured, control=control) for control in (True, False))
    return {
        "seconds": (t1_ns - t0_ns) * 1e-9,
        "budget_w": scenario.budget_w,
        "nodes": rows,
        "peak_w": {
            "with_control": truth.peak_w(fleet, t0_ns, t1_ns),
            "without_control": truth.peak_w(fleet, t0_ns, t1_ns, control=False),
        },
        "peak_over_budget_w": {"with_control": with_control.peak_over_w, "without_control": without.peak_over_w},
        "over_budget_ws": {"with_control": with_control.over_ws, "without_control": without.over_ws},
        "work_lost_pct": 100.0 * truth.work_lost(fleet, t0_ns, t1_ns),
        "emissions_g": status["zones"][0]["emissions_g"],
        **_by_workload(scenario),
        "messages": status["messages"],
        "caps": status["caps"],
        "ledger": status["ledger"],
    }


def _by_workload(scenario: Scenario) -> dict[str, Any]:
    """Return what the ledger says, as ``evenwatt report --by workload`` would."""
    now_s = time.time()
    query = ReportQuery(by=By.WORKLOAD, start_s=now_s - 86_400, end_s=now_s, timezone="UTC")
    report = open_and_build(str(scenario.database), query, Made(now_s=now_s, version="demo", fleet="demo"))
    rows = [
        {"workload": row.name, "energy_j": row.figures.energy_j, "emissions_g": row.figures.location_g}
        for row in report.rows
    ]
    return {"reported": {"energy_j": report.total.energy_j, "emissions_g": report.total.location_g, "workloads": rows}}


def _over(fleet: Sequence[Truth], scenario: Scenario, measured: Measured, *, control: bool) -> OverBudget:
    """Return how the fleet kept to its budget, which is lower while an event lasts."""
    t0_ns, t1_ns = measured.span_ns
    edges = {t0_ns, t1_ns}
    for event in measured.events:
        edges |= {min(t1_ns, t0_ns + round(at_s * 1e9)) for at_s in (event.start_s, event.end_s)}
    found = []
    for start_ns, end_ns in pairwise(sorted(edges)):
        at_s = (start_ns - t0_ns) * 1e-9 + 1e-6
        budget_w = min(
            [scenario.budget_w, *(event.budget_w for event in measured.events if event.start_s <= at_s < event.end_s)]
        )
        found.append(truth.over_budget(fleet, budget_w, start_ns, end_ns, control=control))
    return OverBudget(
        max(part.peak_over_w for part in found),
        *(sum(c) for c in zip(*((p.over_ws, p.over_s) for p in found), strict=True)),
    )


def _node(node: Node, known: dict[str, Any], log: Truth, measured: Measured) -> dict[str, Any]:
    counted_j = float(known.get("energy_j") or 0.0)
    spans = known.get("covered_mono_ns", [])
    true_j = sum(log.energy_j(start_ns, end_ns) for start_ns, end_ns in spans)
    row = _real(node.name, known, measured)
    row["energy_true_j"] = true_j
    row["error_pct"] = 100.0 * (counted_j - true_j) / true_j if true_j else None
    # A twin that had to wait for a processor shows its counters late; what an agent read then was not its mistake.
    row["unshown_j"] = sum(log.unshown_j(edge_ns) for span_ns in spans for edge_ns in span_ns)
    return row


def _real(name: str, known: dict[str, Any], measured: Measured) -> dict[str, Any]:
    rss_mb, cpu_pct = measured.costs.get(name, (0.0, 0.0))
    return {
        "node": name,
        "energy_counted_j": float(known.get("energy_j") or 0.0),
        "energy_true_j": None,
        "error_pct": None,
        "emissions_g": known.get("emissions_g"),
        "counters": known.get("counters"),
        "rss_mb": round(rss_mb, 1),
        "cpu_pct": round(cpu_pct, 2),
    }
