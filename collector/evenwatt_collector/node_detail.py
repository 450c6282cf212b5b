"""One node down to its counters: what its inventory and its latest window say. Pure: views in, plain data out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from evenwatt_collector.node import Node
    from evenwatt_wire import Birth, Live

Document = dict[str, Any]


def node_detail(node: Node, now_s: float) -> Document:
    """Return a node's counters, actuators, lease and work; its row in the status document has the rest.

    Args:
        node: The node.
        now_s: Monotonic time.
    """
    birth, live, summary = node.birth, node.live, node.summary
    return {
        "node": node.name,
        "zone": node.zone,
        "state": node.state.value,
        "boot": node.boot,
        "version": birth.version if birth else None,
        "age_s": node.age_s(now_s) if live else None,
        "total_formula": birth.total_formula if birth else None,
        "total": _window(live) if live else None,
        "counters": _counters(birth, live),
        "actuators": msgspec.to_builtins(birth.actuators) if birth else [],
        "lease": _lease(node, live),
        "work": [{"kind": one.kind, "name": one.name, "power_w": one.power_w} for one in live.work] if live else [],
        "pausable": birth.pausable if birth else [],
        "paused": summary.paused if summary else [],
        "templates": [template.name for template in birth.templates] if birth else [],
        "job_slots": birth.job_slots if birth else None,
        "window_s": birth.window_s if birth else None,
        "ledger_s": birth.ledger_s if birth else None,
        "summary": msgspec.to_builtins(summary) if summary else None,
    }


def _window(live: Live) -> Document:
    return {
        "power_w": live.total.mean_w,
        "min_w": live.total.min_w,
        "max_w": live.total.max_w,
        "total_j": live.total.total_j,
        "quality": live.total.quality.value,
        "duration_s": live.duration_s,
        "samples": live.samples,
        "late": live.late,
        "wall_ms": live.wall_ms,
    }


def _counters(birth: Birth | None, live: Live | None) -> list[Document]:
    """Return what the inventory lists, each with its latest window; what is not in the window has no figures."""
    windows = {window.id: window for window in live.domains} if live else {}
    found = []
    for domain in birth.domains if birth else []:
        window = windows.get(domain.id)
        found.append(
            {
                "id": domain.id,
                "kind": domain.kind,
                "source": domain.source,
                "parent": domain.parent,
                "in_total": domain.in_total,
                "resolution_j": domain.resolution_j,
                "quality": (window or domain).quality.value,
                "power_w": window.mean_w if window else None,
                "min_w": window.min_w if window else None,
                "max_w": window.max_w if window else None,
                "total_j": window.total_j if window else None,
            }
        )
    return found


def _lease(node: Node, live: Live | None) -> Document | None:
    if live is None:
        return None
    lease = live.lease
    return {
        "state": lease.state.value,
        "by": node.leased_by,
        "cap_w": node.cap_w,
        "epoch": lease.epoch,
        "seq": lease.seq,
        "remaining_s": lease.remaining_s,
    }
