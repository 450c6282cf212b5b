"""Prometheus metrics in base units, made from the status document when they are asked for.

Labels are ``zone`` and ``node``, and ``kind`` and ``result`` from fixed lists: their number is bounded by the fleet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evenwatt_collector.status import Document

Family = CounterMetricFamily | GaugeMetricFamily

_NODE_COUNTERS = {
    "energy_j": ("evenwatt_energy_joules", "Energy of a node's stored ledger records."),
    "emissions_g": ("evenwatt_carbon_grams", "Grams of CO2e of a node's stored ledger records."),
    "live_total_j": ("evenwatt_live_energy_joules", "Energy since the node's agent began; resets with it."),
    "lost": ("evenwatt_live_lost", "Live windows that never came."),
}
_NODE_GAUGES = {
    "emissions_g_per_h": ("evenwatt_carbon_grams_per_hour", "Grams of CO2e that a node emits per hour now."),
    "power_w": ("evenwatt_power_watts", "Mean power of a node over its latest window."),
    "cap_w": ("evenwatt_power_cap_watts", "Cap of a node, read back from its devices."),
    "age_s": ("evenwatt_node_age_seconds", "Time since a node's latest window."),
    "spooled": ("evenwatt_node_spooled_records", "Ledger records a node still keeps."),
}
_ZONE_GAUGES = {
    "budget_w": ("evenwatt_zone_budget_watts", "Hard budget of a zone."),
    "power_w": ("evenwatt_zone_power_watts", "Power of a zone, unmanaged power included."),
    "leased_w": ("evenwatt_zone_leased_watts", "The most a zone may draw: leases, fallbacks and unmanaged power."),
    "emissions_g_per_h": ("evenwatt_zone_carbon_grams_per_hour", "Grams of CO2e that a zone emits per hour now."),
    "intensity_g_per_kwh": ("evenwatt_grid_intensity_grams_per_kwh", "Carbon intensity of a zone's grid."),
    "pue": ("evenwatt_zone_pue_ratio", "Power usage effectiveness a zone's grams are counted with."),
    "nodes": ("evenwatt_zone_nodes", "Nodes of a zone."),
    "silent": ("evenwatt_zone_silent_nodes", "Nodes of a zone that ought to speak and do not."),
    "capped": ("evenwatt_zone_capped_nodes", "Nodes of a zone that draw all they may."),
}
_WORKLOAD_GAUGES = {
    "power_w": ("evenwatt_workload_power_watts", "Power of a workload over its nodes; the largest 50."),
    "emissions_g_per_h": ("evenwatt_workload_carbon_grams_per_hour", "Grams of CO2e that a workload emits per hour."),
}
_CAP_RESULTS = ("applied", "clamped", "locked", "rejected", "expired")


def render_metrics(status: Document) -> bytes:
    """Return the metrics of a status document in the Prometheus text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gatherer(status))
    return generate_latest(registry)


class _Gatherer(Collector):
    """Turns the status document into metric families."""

    def __init__(self, status: Document) -> None:
        self._status = status

    def collect(self) -> Iterator[Family]:
        """Yield every family."""
        status = self._status
        yield from _nodes(status["nodes"])
        yield from _zones(status["zones"])
        for key, (name, text) in _WORKLOAD_GAUGES.items():
            yield _fill(GaugeMetricFamily(name, text, labels=("workload",)), status["workloads"], key, ("workload",))
        yield from _carbon(status)
        yield from _jobs(status)
        yield from _service(status)


def _nodes(nodes: list[Document]) -> Iterator[Family]:
    labels = ("zone", "node")
    for key, (name, text) in _NODE_COUNTERS.items():
        yield _fill(CounterMetricFamily(name, text, labels=labels), nodes, key, labels)
    for key, (name, text) in _NODE_GAUGES.items():
        yield _fill(GaugeMetricFamily(name, text, labels=labels), nodes, key, labels)
    up = GaugeMetricFamily("evenwatt_node_ready", "1 when a node has joined and not left.", labels=labels)
    for node in nodes:
        up.add_metric((node["zone"], node["node"]), float(node["state"] == "ready"))
    yield up


def _zones(zones: list[Document]) -> Iterator[Family]:
    for key, (name, text) in _ZONE_GAUGES.items():
        yield _fill(GaugeMetricFamily(name, text, labels=("zone",)), zones, key, ("zone",))
    alarms = GaugeMetricFamily("evenwatt_zone_alarms", "Alarms of a zone.", labels=("zone",))
    for zone in zones:
        alarms.add_metric((zone["zone"],), len(zone["alarms"]))
    yield alarms


def _carbon(status: Document) -> Iterator[Family]:
    """Yield who speaks for each grid, what of each budget is spent, and how webhooks fare."""
    speaks = GaugeMetricFamily(
        "evenwatt_grid_speaking", "1 for what decides a grid's intensity now.", labels=("grid", "source", "standing")
    )
    for grid in status["grids"]:
        speaks.add_metric((grid["grid"], grid["source"], grid["standing"]), 1.0)
    yield speaks
    for key, (name, text) in {
        "spent_g": ("evenwatt_budget_spent_grams", "Grams of CO2e of a budget's running day or month."),
        "rate_g_per_h": ("evenwatt_budget_rate_grams_per_hour", "What a budget's scope emits, mean of ten minutes."),
    }.items():
        yield _fill(
            GaugeMetricFamily(name, text, labels=("budget", "scope")), status["budgets"], key, ("budget", "scope")
        )
    alerts = GaugeMetricFamily("evenwatt_alerts_open", "Open alerts by severity.", labels=("severity",))
    for severity in ("page", "ticket", "info"):
        alerts.add_metric((severity,), sum(alert["severity"] == severity for alert in status["alerts"]))
    yield alerts
    for key, (name, text) in {
        "queued": ("evenwatt_webhook_queued_alerts", "Alerts that wait for a webhook."),
        "dropped": ("evenwatt_webhook_dropped_alerts", "Alerts that found no room or no receiver in time."),
    }.items():
        yield _fill(GaugeMetricFamily(name, text, labels=("webhook",)), status["webhooks"], key, ("webhook",))


def _jobs(status: Document) -> Iterator[Family]:
    """Yield how many jobs are in which state, and whether plans are made."""
    planning = status["planning"]
    jobs = GaugeMetricFamily("evenwatt_jobs", "Jobs by state; ended ones of the last day.", labels=("state",))
    for state, count in planning["by_state"].items():
        jobs.add_metric((state,), count)
    yield jobs
    yield GaugeMetricFamily("evenwatt_jobs_late", "Open jobs that will miss their deadline.", planning["late"])
    services = GaugeMetricFamily(
        "evenwatt_service_grams_per_unit",
        "Expected grams of CO2e of a unit of a service's work.",
        labels=("service", "variant"),
    )
    for service in status["services"]:
        services.add_metric((service["service"], service["variant"]), service["g_per_unit"])
    yield services


def _service(status: Document) -> Iterator[Family]:
    messages = CounterMetricFamily("evenwatt_messages", "Messages by kind and result.", labels=("kind", "result"))
    for row in status["messages"]["by_kind"]:
        messages.add_metric((row["kind"], row["result"]), row["count"])
    yield messages
    caps, ledger = status["caps"], status["ledger"]
    yield CounterMetricFamily("evenwatt_caps_sent", "Caps sent.", caps["sent"])
    answers = CounterMetricFamily("evenwatt_caps", "Caps by what became of them.", labels=("result",))
    for result in _CAP_RESULTS:
        answers.add_metric((result,), caps[result])
    yield answers
    text = "Messages that let the leases of a whole zone go on."
    yield CounterMetricFamily("evenwatt_lease_renewals", text, caps["renewals"])
    if caps["answer_p95_s"] is not None:
        text = "95 % of caps are read back within this time."
        yield GaugeMetricFamily("evenwatt_cap_answer_p95_seconds", text, caps["answer_p95_s"])
    exports = CounterMetricFamily(
        "evenwatt_otlp_exports", "Exports to an OpenTelemetry receiver by result.", labels=("result",)
    )
    if status["otlp"] is not None:
        for result, key in (("ok", "exported"), ("failed", "failed")):
            exports.add_metric((result,), status["otlp"][key])
    yield exports
    yield CounterMetricFamily("evenwatt_ledger_records", "Ledger records stored.", ledger["records"])
    yield CounterMetricFamily("evenwatt_ledger_duplicates", "Records that came again.", ledger["duplicate"])
    yield CounterMetricFamily("evenwatt_ledger_conflicts", "Records unlike those stored.", ledger["conflicts"])
    yield GaugeMetricFamily("evenwatt_ledger_missing_records", "Records known to exist, not stored.", ledger["missing"])
    yield GaugeMetricFamily("evenwatt_store_waiting_records", "Records to be written.", status["store"]["waiting"])
    yield GaugeMetricFamily("evenwatt_collector_ready", "1 when broker and store work.", float(status["ready"]))


def _fill(family: Family, rows: list[Document], key: str, labels: tuple[str, ...]) -> Family:
    for row in rows:
        if row[key] is not None:
            family.add_metric(tuple(row[label] for label in labels), row[key])
    return family
