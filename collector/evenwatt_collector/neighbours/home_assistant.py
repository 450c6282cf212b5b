"""Nodes and zones as Home Assistant finds them over MQTT. Pure: births in, discovery messages out.

Device discovery, https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery (Home Assistant 2024.11 or newer):
one retained message a device under ``PREFIX/device/evenwatt/ID/config``, all of whose entities are sensors. They read
the retained JSON that nodes and collector publish anyway (docs/wire.md), so announcing costs nothing afterwards.
Nothing has a command topic: caps can be seen and not set.

An id is ``ZONE`` or ``ZONE_NODE``: neither has an underscore, so no two devices have one id.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from evenwatt_collector import __version__
from evenwatt_wire import Kind, Topic
from evenwatt_wire.messages import LeaseState, Quality
from evenwatt_wire.topics import CONTROLLER_NODE, ZONE_NODE

Entity = dict[str, Any]

_POWER: Final[Entity] = {
    "device_class": "power",
    "state_class": "measurement",
    "unit_of_measurement": "W",
    "suggested_display_precision": 0,
}
_DIAGNOSTIC: Final[Entity] = {"entity_category": "diagnostic"}
_J_PER_KWH: Final = 3_600_000
_NODE: Final[dict[str, Entity]] = {
    "power": {"name": "Power", "value_template": "{{ value_json.power_w }}"} | _POWER,
    "energy": {
        # Counts from the start of the node's agent; a total that increases may begin again.
        "name": "Energy",
        "value_template": f"{{{{ value_json.energy_j / {_J_PER_KWH} }}}}",
        "device_class": "energy",
        "state_class": "total_increasing",
        "unit_of_measurement": "kWh",
        "suggested_display_precision": 3,
    },
    "cap": {"name": "Power cap", "value_template": "{{ value_json.cap_w }}"} | _POWER,
    "lease": {
        "name": "Cap state",
        "value_template": "{{ value_json.lease }}",
        "device_class": "enum",
        "options": [state.value for state in LeaseState],
    },
    "paused": {
        "name": "Paused work",
        "value_template": "{{ value_json.paused | length }}",
        "state_class": "measurement",
        "suggested_display_precision": 0,
    },
    "quality": {
        "name": "Quality of its figures",
        "value_template": "{{ value_json.quality }}",
        "device_class": "enum",
        "options": [quality.value for quality in Quality],
    }
    | _DIAGNOSTIC,
    "spooled": {
        "name": "Records not yet stored",
        "value_template": "{{ value_json.spooled }}",
        "state_class": "measurement",
    }
    | _DIAGNOSTIC,
    "cost": {"name": "Power that measuring costs", "value_template": "{{ value_json.cost_w }}"} | _POWER | _DIAGNOSTIC,
}
_ZONE: Final[dict[str, Entity]] = {
    "power": {"name": "Power", "value_template": "{{ value_json.power_w }}"} | _POWER,
    "budget": {"name": "Power budget", "value_template": "{{ value_json.budget_w }}"} | _POWER,
    "emissions_rate": {
        "name": "Emissions rate",
        "value_template": "{{ value_json.emissions_g_per_h }}",
        "state_class": "measurement",
        "unit_of_measurement": "g/h",
        "suggested_display_precision": 0,
    },
    "intensity": {
        "name": "Grid intensity",
        "value_template": "{{ value_json.intensity_g_per_kwh }}",
        "state_class": "measurement",
        "unit_of_measurement": "g/kWh",
        "suggested_display_precision": 0,
    },
    "nodes": {"name": "Nodes", "value_template": "{{ value_json.nodes }}", "state_class": "measurement"},
    "capped": {"name": "Capped nodes", "value_template": "{{ value_json.capped }}", "state_class": "measurement"},
    "silent": {"name": "Silent nodes", "value_template": "{{ value_json.silent }}", "state_class": "measurement"}
    | _DIAGNOSTIC,
    "alarms": {"name": "Alarms", "value_template": "{{ value_json.alarms | length }}", "state_class": "measurement"}
    | _DIAGNOSTIC,
}
_AVAILABLE: Final = "{{ 'online' if value_json is defined and value_json.state == 'ready' else 'offline' }}"


def topic(prefix: str, device: str) -> str:
    """Return where a device is announced."""
    return f"{prefix}/device/evenwatt/{device}/config"


def device_of(prefix: str, said: str) -> str | None:
    """Return the device that a topic is about; None if it is not one of ours."""
    before, after = f"{prefix}/device/evenwatt/", "/config"
    device = said[len(before) : -len(after)]
    fits = said.startswith(before) and said.endswith(after) and device and "/" not in device
    return device if fits else None


def zone_of(device: str) -> str:
    """Return the zone that a device stands in."""
    return device.partition("_")[0]


class Device(NamedTuple):
    """A node, or without one a zone."""

    zone: str
    node: str = ""
    version: str = __version__
    """Of the agent."""
    within: bool = True
    """Whether the zone is a device as well."""

    @property
    def id(self) -> str:
        """What it is called in topics and ids."""
        return f"{self.zone}_{self.node}" if self.node else self.zone


def message(device: Device) -> bytes:
    """Return what announces a device."""
    state = Topic(device.zone, device.node or CONTROLLER_NODE, Kind.STATE)
    summary = Topic(device.zone, device.node or ZONE_NODE, Kind.SUMMARY)
    entities = _NODE if device.node else _ZONE
    identity = f"evenwatt_{device.id}"
    about = {
        "identifiers": [identity],
        "name": device.node or f"Zone {device.zone}",
        "manufacturer": "evenwatt",
        "model": "node" if device.node else "zone",
        "sw_version": device.version,
    }
    if device.node and device.within:
        about["via_device"] = f"evenwatt_{device.zone}"
    return msgspec.json.encode(
        {
            "device": about,
            "origin": {"name": "evenwatt", "sw_version": __version__},
            "availability": [{"topic": str(state), "value_template": _AVAILABLE}],
            "state_topic": str(summary),
            "components": {
                name: {"platform": "sensor", "unique_id": f"{identity}_{name}"} | entity
                for name, entity in entities.items()
            },
        }
    )
