"""The status document, ``/api/v1/status``. Pure: views in, plain data out. ``docs/status.md`` describes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from evenwatt_collector.carbon import grams_per_hour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evenwatt_collector.books import Books
    from evenwatt_collector.carbon import Factor
    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.ingest import Ingest
    from evenwatt_collector.issuer import Issuer
    from evenwatt_collector.node import Node
    from evenwatt_collector.steering import Steering
    from evenwatt_collector.zone import Zone
    from evenwatt_wire import Event, ZoneSummary

Document = dict[str, Any]

_EVENTS_SHOWN = 50
_WORKLOADS_SHOWN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """Everything the document is made of."""

    epoch: int
    version: str
    role: str
    """``active`` where there is a standby, else ``alone``."""
    name: str
    shard: str
    """Which of several on one database this is; empty where there is one."""
    shards: list[Document]
    """All of them, with their zones and where they are asked."""
    zones: list[tuple[Zone, ZoneSummary]]
    linked: Callable[[str], bool]
    """Whether the collector's own connection for a zone stands."""
    fleet: Fleet
    books: Books
    ingest: Ingest
    issuer: Issuer | None
    steering: Steering
    broker: Document
    store: Document
    reasons: list[str]
    """Why the collector is not ready; empty when it is."""
    emissions: Document
    """Grids, budgets, alerts and webhooks."""
    planning: Document
    """Jobs, services and what plans rest on."""
    neighbours: Document
    """How what is told to other programs fares."""


def status_document(views: Views, nodes: list[Document]) -> Document:
    """Return everything a person or program may want to know at once; ``nodes`` are the rows of :func:`node_rows`."""
    return {
        "version": views.version,
        "role": views.role,
        "name": views.name,
        "shard": views.shard,
        "shards": views.shards,
        "epoch": views.epoch,
        "ready": not views.reasons,
        "reasons": views.reasons,
        "broker": views.broker,
        "store": views.store,
        "zones": [_zone(zone, summary, views) for zone, summary in views.zones],
        "nodes": nodes,
        "workloads": _workloads(views),
        **views.emissions,
        **views.planning,
        **views.neighbours,
        "events": _events(views.fleet),
        "messages": _messages(views),
        "caps": _caps(views.issuer),
        "ledger": {
            "records": views.books.records,
            "missing": views.books.missing,
            "duplicate": views.books.duplicate,
            "conflicts": views.books.conflicts,
        },
    }


def node_rows(views: Views, now_s: float) -> Iterator[Document]:
    """Yield a row for each node; thousands take long enough that other work should go on in between."""
    for zone, _ in views.zones:
        factor = zone.factor
        for node in views.fleet.in_zone(zone.name):
            yield _node(node, factor, views, now_s)


def _zone(zone: Zone, summary: ZoneSummary, views: Views) -> Document:
    fields: Document = msgspec.to_builtins(summary)
    steering = views.steering
    view = steering.zone(zone.name)
    return fields | {
        "intensity_year": zone.factor.year,
        "unmanaged_w": view.unmanaged_w if view else zone.settings.unmanaged_w,
        "linked": views.linked(zone.name),
        "controlled": view is not None,
        "budget_why": view.budget_why if view else "",
        "target_w": view.target_w if view else None,
        "dry_run": view.dry_run if view else False,
        "inside": steering.inside(zone.name),
    }


def _node(node: Node, factor: Factor, views: Views, now_s: float) -> Document:
    """Return a node's row; ``energy_j`` and ``emissions_g`` are sums of stored records, the rest is live."""
    birth, live, summary, stored = node.birth, node.live, node.summary, views.books.node(node.zone, node.name)
    lease = live.lease if live else None
    rule, slot = views.steering.rule(node.zone, node.name), views.steering.slot(node.zone, node.name)
    return {
        "node": node.name,
        "zone": node.zone,
        "state": node.state.value,
        "boot": node.boot,
        "age_s": node.age_s(now_s) if live else None,
        "emissions_g_per_h": grams_per_hour(live.total.mean_w, factor) if live else None,
        "silent": node.silent(now_s),
        "power_w": live.total.mean_w if live else None,
        "peak_w": node.peak_w(now_s) if live else None,
        "cap_w": node.cap_w,
        "at_cap": node.at_cap,
        "lease": lease.state.value if lease else None,
        "lease_by": node.leased_by,
        "lease_remaining_s": lease.remaining_s if lease else None,
        "quality": node.quality.value,
        "energy_j": stored.energy_j,
        "emissions_g": stored.grams,
        "live_total_j": live.total.total_j if live else None,
        "covered_mono_ns": stored.covered,
        "records": sum(boot.records for boot in stored.boots.values()),
        "missing": sum(boot.missing for boot in stored.boots.values()),
        "lost": node.lost,
        "two_agents": node.has_rival(now_s),
        "controllable": birth.controllable if birth else None,
        "floor_w": birth.floor_w if birth else None,
        "ceiling_w": birth.ceiling_w if birth else None,
        "fallback_w": birth.fallback_w if birth else None,
        "class": rule.kind or None,
        "priority": rule.priority if rule.priority is not None else birth.priority if birth else None,
        "would_w": views.steering.would_w(slot) if slot is not None else None,
        "counters": len(birth.domains) if birth else None,
        "total_formula": birth.total_formula if birth else None,
        "paused": summary.paused if summary else [],
        "spooled": summary.spooled if summary else None,
        "agent_cpu_pct": summary.cost_cpu_pct if summary else None,
        "agent_rss_mb": summary.rss_mb if summary else None,
        "domains": [{"id": d.id, "power_w": d.mean_w, "total_j": d.total_j} for d in live.domains] if live else [],
    }


def _events(fleet: Fleet) -> list[Document]:
    return [event_document(zone, event) for zone, event in list(fleet.events)[-_EVENTS_SHOWN:]]


def event_document(zone: str, event: Event) -> Document:
    """Return an event as data."""
    return {
        "zone": zone,
        "node": event.node,
        "wall_ms": event.wall_ms,
        "name": event.name,
        "subject": event.subject,
        "facts": dict(event.facts),
    }


def _workloads(views: Views) -> list[Document]:
    """Return who draws and emits most over the whole fleet now, as nodes tell it in their live windows."""
    found: dict[str, Document] = {}
    for zone, _ in views.zones:
        for one in zone.working(views.fleet):
            row = found.setdefault(one.name, {"workload": one.name, **dict.fromkeys(_WORK_FIGURES, 0)})
            for figure in _WORK_FIGURES:
                row[figure] += getattr(one, figure)
    return sorted(found.values(), key=lambda row: -row["power_w"])[:_WORKLOADS_SHOWN]


_WORK_FIGURES = ("power_w", "emissions_g_per_h", "nodes")


def _messages(views: Views) -> Document:
    """Live windows by their numbers, and what was dropped of any kind."""
    received, lost = views.ingest.counts["live", "ok"], views.fleet.lost
    return {
        "sent": received + lost,
        "received": received,
        "lost": lost,
        "stale": views.ingest.total("stale"),
        "retained": views.ingest.total("retained"),
        "refused": views.ingest.total("refused"),
        "malformed": views.ingest.total("malformed"),
        "by_kind": [
            {"kind": kind, "result": result, "count": count}
            for (kind, result), count in sorted(views.ingest.counts.items())
        ],
    }


def _caps(issuer: Issuer | None) -> Document:
    counts = asdict(issuer.counts) if issuer else dict.fromkeys(_CAP_FIELDS, 0)
    return counts | {"answer_p95_s": issuer.delay_s() if issuer else None}


_CAP_FIELDS = ("sent", "renewals", "applied", "clamped", "locked", "rejected", "expired")
