"""The fleet as OpenTelemetry metrics. Pure: a picture in, the protocol's messages out.

Names, units and attributes of ``hw.*`` are those of the hardware semantic conventions 1.44.0, whose status is
"development" (https://opentelemetry.io/docs/specs/semconv/hardware/): a node is a resource with ``host.name``, its
whole is ``hw.host.energy`` and ``hw.host.power`` only, its counters are ``hw.energy`` and ``hw.power``. What the
conventions do not have is called ``evenwatt.*``.

Energy and grams are cumulative sums of the stored ledger: they only grow, and neither a restart of an agent or of the
collector nor a receiver that was away loses a joule. They rise when records come, about once a minute. Their start is
the time of the first record, and stays the same for as long as the database does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from evenwatt_collector import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from evenwatt_collector.neighbours.picture import Component, Host, Place

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
TYPES: Final = {
    "package": "cpu", "core": "cpu", "uncore": "cpu", "dram": "memory", "gpu": "gpu", "battery": "battery",
}  # fmt: skip
"""``hw.type`` by our kind of counter; other kinds have no well-known value and are named as they are."""
_WHOLE: Final = frozenset({"machine", "psys", "estimate"})
"""Counters of the host as a whole, which ``hw.energy`` must not tell besides ``hw.host.energy``."""
_SUMS: Final = frozenset({"hw.host.energy", "hw.energy", "evenwatt.carbon.emissions"})
UNITS: Final = {
    "hw.host.energy": "J",
    "hw.host.power": "W",
    "hw.energy": "J",
    "hw.power": "W",
    "evenwatt.power.cap": "W",
    "evenwatt.carbon.emissions": "g",
    "evenwatt.carbon.rate": "g/h",
    "evenwatt.zone.power": "W",
    "evenwatt.zone.budget": "W",
    "evenwatt.zone.leased": "W",
    "evenwatt.zone.carbon.rate": "g/h",
    "evenwatt.grid.carbon.intensity": "g/kW.h",
}
"""Every metric there is, with its unit as UCUM writes it."""

Attributes = dict[str, str | bool]
Points = dict[str, list[tuple[float, Attributes]]]
"""Values and their attributes, by the name of the metric."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What all of one export has in common."""

    fleet: str
    start_ns: int
    """Since when energy and grams are counted, Unix time."""
    time_ns: int
    extra: Mapping[str, str]
    """Resource attributes of the settings."""


def request(frame: Frame, hosts: Iterable[Host], places: Iterable[Place]) -> bytes:
    """Return one export: a resource for each host and each zone."""
    resources = [*(_host(frame, host) for host in hosts), *(_place(frame, place) for place in places)]
    whole: bytes = ExportMetricsServiceRequest(resource_metrics=resources).SerializeToString()
    return whole


def rejected(answer: bytes) -> str:
    """Return how much of an export a receiver has not taken, and why; empty when it took all."""
    try:
        said = ExportMetricsServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return ""  # some answer with words; 200 is what counts
    return f"{said.rejected_data_points} points: {said.error_message}" if said.rejected_data_points else ""


def _host(frame: Frame, host: Host) -> ResourceMetrics:
    itself: Attributes = {"hw.id": host.name, "hw.name": host.name}
    points: Points = {
        "hw.host.energy": _known(host.energy_j, itself),
        "hw.host.power": _known(host.power_w, itself | {"evenwatt.quality": host.quality}),
        "evenwatt.power.cap": _known(host.cap_w, itself),
        "evenwatt.carbon.emissions": _known(host.carbon_g, itself),
        "evenwatt.carbon.rate": _known(host.carbon_g_per_h, itself),
        "hw.energy": [],
        "hw.power": [],
    }
    for part in host.components:
        if part.kind not in _WHOLE:
            what = _component(part)
            points["hw.energy"] += _known(part.energy_j, what)
            points["hw.power"] += _known(part.power_w, what)
    where = {"host.name": host.name, "host.id": f"{frame.fleet}/{host.zone}/{host.name}", "evenwatt.zone": host.zone}
    return _resource(frame, f"{host.zone}/{host.name}", where, points)


def _place(frame: Frame, place: Place) -> ResourceMetrics:
    points: Points = {
        "evenwatt.zone.power": _known(place.power_w, {}),
        "evenwatt.zone.budget": _known(place.budget_w, {}),
        "evenwatt.zone.leased": _known(place.leased_w, {}),
        "evenwatt.zone.carbon.rate": _known(place.carbon_g_per_h, {}),
        "evenwatt.grid.carbon.intensity": _known(place.intensity_g_per_kwh, {"evenwatt.standing": place.standing}),
    }
    return _resource(frame, place.zone, {"evenwatt.zone": place.zone}, points)


def _component(part: Component) -> Attributes:
    """Say what a counter is; those whose ``evenwatt.in_total`` is true add up to the host and do not overlap."""
    parent: Attributes = {"hw.parent": part.parent} if part.parent else {}
    return parent | {
        "hw.id": part.id,
        "hw.name": part.id,
        "hw.type": TYPES.get(part.kind, part.kind),
        "evenwatt.in_total": part.in_total,
        "evenwatt.quality": part.quality,
    }


def _known(value: float | None, attributes: Attributes) -> list[tuple[float, Attributes]]:
    return [] if value is None else [(value, attributes)]


def _resource(frame: Frame, instance: str, where: Mapping[str, str], points: Points) -> ResourceMetrics:
    service = {"service.namespace": frame.fleet, "service.name": "evenwatt", "service.instance.id": instance}
    attributes = {**frame.extra, **service, "service.version": __version__, **where}
    return ResourceMetrics(
        resource=Resource(attributes=_pairs(attributes)),
        scope_metrics=[
            ScopeMetrics(
                scope=InstrumentationScope(name="evenwatt", version=__version__),
                metrics=[_metric(frame, name, values) for name, values in points.items() if values],
                schema_url=SCHEMA_URL,
            )
        ],
        schema_url=SCHEMA_URL,
    )


def _metric(frame: Frame, name: str, values: list[tuple[float, Attributes]]) -> Metric:
    unit = UNITS[name]
    if name not in _SUMS:
        points = [NumberDataPoint(time_unix_nano=frame.time_ns, as_double=v, attributes=_pairs(a)) for v, a in values]
        return Metric(name=name, unit=unit, gauge=Gauge(data_points=points))
    start_ns = frame.start_ns
    points = [
        NumberDataPoint(
            start_time_unix_nano=start_ns, time_unix_nano=frame.time_ns, as_double=value, attributes=_pairs(attributes)
        )
        for value, attributes in values
    ]
    total = Sum(data_points=points, aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE, is_monotonic=True)
    return Metric(name=name, unit=unit, sum=total)


def _pairs(attributes: Mapping[str, str | bool]) -> Iterator[KeyValue]:
    for key, value in attributes.items():
        said = AnyValue(bool_value=value) if isinstance(value, bool) else AnyValue(string_value=value)
        yield KeyValue(key=key, value=said)
