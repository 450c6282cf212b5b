"""What Home Assistant is told: valid by its rules, templates that give the right figures, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import re

import aiomqtt
import jinja2
import pytest

from evenwatt_agent.transport import connect
from evenwatt_cli.broker.acl import Client, lines
from evenwatt_cli.broker.identities import parse_identity
from evenwatt_cli.broker.site import write_acl
from evenwatt_collector.neighbours.announcing import Announcer
from evenwatt_collector.neighbours.home_assistant import Device, device_of, message, topic
from evenwatt_daemon import Failure
from evenwatt_wire import Quality, ZoneSummary, encode
from evenwatt_wire.messages import LeaseState, NodeState
from tests.broker.site import TlsBroker, ear
from tests.collector.middle import Middle, speaking, stop
from tests.collector.said import ZONE, birth, state, summary

# Rules of Home Assistant, as documented: units and state classes by device class are those of
# https://developers.home-assistant.io/docs/core/entity/sensor/, what a message must have those of
# https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload and .../sensor.mqtt/.
DEVICE_CLASSES = {
    "power": ({"mW", "W", "kW", "MW", "GW", "TW"}, {"measurement"}),
    "energy": ({"Wh", "kWh", "MWh", "GWh", "J", "kJ", "MJ", "GJ"}, {"total", "total_increasing"}),
    "enum": ({None}, {None}),
}
SENSOR = {
    "platform", "unique_id", "name", "value_template", "device_class", "state_class", "unit_of_measurement",
    "suggested_display_precision", "options", "entity_category",
}  # fmt: skip
TOPIC = re.compile(r"(?P<component>\w+)/(?:(?P<node_id>[a-zA-Z0-9_-]+)/)?(?P<object_id>[a-zA-Z0-9_-]+)/config")
NODE, PLACE = Device("hall-1", "server-1", "1.2"), Device("hall-1")


def said(device):
    return json.loads(message(device))


@pytest.mark.parametrize("device", [NODE, PLACE], ids=["node", "zone"])
def test_a_message_is_what_device_discovery_asks_for(device):
    match = TOPIC.fullmatch(topic("homeassistant", device.id).removeprefix("homeassistant/"))
    assert match["component"] == "device"
    assert match["node_id"] == "evenwatt"
    text = said(device)
    assert set(text) == {"device", "origin", "availability", "state_topic", "components"}
    assert text["origin"]["name"] == "evenwatt"
    assert text["device"]["identifiers"]
    assert not re.search(r"[#+]", text["state_topic"] + text["availability"][0]["topic"])
    for entity in text["components"].values():
        assert entity["platform"] == "sensor"
        assert set(entity) <= SENSOR
        assert {"unique_id", "name", "value_template"} <= set(entity)
        assert entity.get("state_class") in {None, "measurement", "total", "total_increasing"}
        assert entity.get("entity_category") in {None, "diagnostic"}
        units, classes = DEVICE_CLASSES.get(entity.get("device_class"), (None, None))
        assert units is None or entity.get("unit_of_measurement") in units
        assert classes is None or entity.get("state_class") in classes
        assert ("options" in entity) == (entity.get("device_class") == "enum")


def test_nothing_can_be_commanded():
    assert "command" not in message(NODE).decode() + message(PLACE).decode()


def test_no_two_devices_or_entities_have_one_id():
    devices = [Device(zone, node) for zone in ("a", "a-b", "a-b-c") for node in ("", "c", "b-c", "a-b")]
    assert len({device.id for device in devices}) == len(devices)
    ids = [entity["unique_id"] for device in devices for entity in said(device)["components"].values()]
    assert len(set(ids)) == len(ids)
    assert [device_of("ha", topic("ha", device.id)) for device in devices] == [device.id for device in devices]
    for other in ("ha/device/other/a/config", "ha/device/evenwatt/a/b/config", "evenwatt/v1/a/b/state", "ha/device"):
        assert device_of("ha", other) is None


def rendered(device, payload):
    """Every entity's value, as Home Assistant makes it of a message: the text of the template."""
    value_json = json.loads(payload)
    return {
        name: jinja2.Template(entity["value_template"], undefined=jinja2.StrictUndefined).render(value_json=value_json)
        for name, entity in said(device)["components"].items()
    }


def test_a_nodes_templates_give_its_figures():
    figures = {
        "power_w": 123.5, "energy_j": 5_400_000.0, "cap_w": 150.0, "lease": LeaseState.LEASED,
        "quality": Quality.INTEGRATED, "spooled": 3, "paused": ["batch"], "cost_w": 0.25,
    }  # fmt: skip
    assert rendered(NODE, encode(summary("server-1", **figures))) == {
        "power": "123.5", "energy": "1.5", "cap": "150.0", "lease": "leased", "paused": "1", "quality": "integrated",
        "spooled": "3", "cost": "0.25",
    }  # fmt: skip
    # "None" is the word for unknown: https://www.home-assistant.io/integrations/sensor.mqtt/
    assert rendered(NODE, encode(summary("server-1")))["cap"] == "None"
    options = said(NODE)["components"]
    assert options["lease"]["options"] == [one.value for one in LeaseState]
    assert options["quality"]["options"] == [one.value for one in Quality]


def test_a_zones_templates_give_its_figures():
    now = ZoneSummary(
        zone="hall-1", wall_ms=1, epoch=1, band="normal", power_w=900.0, budget_w=None, leased_w=950.0,
        emissions_g_per_h=350.0, emissions_g=10.0, intensity_g_per_kwh=388.9, intensity_source="x", pue=1.0, nodes=3,
        silent=1, capped=2, alarms=["a", "b"],
    )  # fmt: skip
    assert rendered(PLACE, encode(now)) == {
        "power": "900.0", "budget": "None", "emissions_rate": "350.0", "intensity": "388.9", "nodes": "3",
        "capped": "2", "silent": "1", "alarms": "2",
    }  # fmt: skip


@pytest.mark.parametrize("what", list(NodeState))
def test_a_device_is_available_when_its_state_is_ready(what):
    template = jinja2.Template(said(NODE)["availability"][0]["value_template"], undefined=jinja2.StrictUndefined)
    value_json = json.loads(encode(state("server-1", what)))
    assert template.render(value_json=value_json) == ("online" if what is NodeState.READY else "offline")
    assert template.render() == "offline"  # a retained state that was deleted


def publish(announcer, wanted, now_s=0.0, *, settled=True, heard=True):
    found = list(
        announcer.due(
            {one.id: one for one in wanted}, lambda device: not device.startswith("other"), now_s, settled=settled
        )
    )
    for device, payload in found if heard else []:
        announcer.heard(device, payload)
    return dict(found)


def test_what_is_announced_follows_what_is_there():
    announcer = Announcer()
    assert publish(announcer, [NODE, PLACE]) == {NODE.id: message(NODE), PLACE.id: message(PLACE)}
    assert publish(announcer, [NODE, PLACE]) == {}
    newer = NODE._replace(version="1.3")
    assert publish(announcer, [newer, PLACE]) == {NODE.id: message(newer)}
    assert publish(announcer, [PLACE], settled=False) == {}  # it may not have said so yet
    assert publish(announcer, [PLACE]) == {NODE.id: b""}
    assert publish(announcer, [PLACE]) == {}


def test_what_others_announced_is_taken_back_only_for_zones_of_ours():
    announcer = Announcer()
    announcer.heard("hall_gone", b"{}")
    announcer.heard("other_n9", b"{}")
    assert publish(announcer, []) == {"hall_gone": b""}
    announcer.connected(lambda zone: zone == "other")
    assert publish(announcer, [NODE]) == {NODE.id: message(NODE)}
    announcer.connected(lambda zone: zone == NODE.zone)  # a broker that lost what it held
    assert publish(announcer, [NODE]) == {NODE.id: message(NODE)}


def test_a_broker_that_forbids_it_is_not_flooded():
    announcer = Announcer()
    assert len(publish(announcer, [NODE], 0.0, heard=False)) == 1
    assert [len(publish(announcer, [NODE], now_s, heard=False)) for now_s in (2.0, 4.0, 29.0, 31.0, 33.0)] == [
        0, 0, 0, 1, 0
    ]  # fmt: skip
    assert announcer.unheard(50.0) == 1
    many = [Device("hall", f"n{i}") for i in range(450)]
    assert [len(publish(announcer, many, 60.0 + i)) for i in range(4)] == [200, 200, 50, 0]


def retained(port, prefix="homeassistant"):
    """Return what the broker holds of ours."""

    async def read():
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe(f"{prefix}/#", qos=1)
            await client.subscribe("evenwatt/v1/+/_ctl/state", qos=1)
            found = {}
            async with asyncio.timeout(60):
                async for one in client.messages:
                    if "_ctl" in str(one.topic):  # came after all of the first subscription
                        return found
                    found[str(one.topic)] = one.payload
        return found

    return read()


async def held(port, condition, what):
    for _ in range(120):
        found = await retained(port)
        if condition(found):
            return found
        await asyncio.sleep(0.25)
    pytest.fail(f"waited in vain until {what}: {sorted(found)}")


async def test_a_real_collector_announces_and_takes_back(tmp_path, broker):
    middle = Middle(tmp_path, broker.port)
    zone = f'[[zones]]\nname = "{ZONE}"\n'
    theirs, foreign = topic("homeassistant", "other-zone_n1"), "homeassistant/device/lamp/config"
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        for one in (theirs, foreign):
            await client.publish(one, b'{"a": 1}', qos=1, retain=True)
    mine = {topic("homeassistant", one) for one in (ZONE, f"{ZONE}_n1")}
    middle.write(zone=zone + "[home_assistant]\n")
    with middle.run() as collector:
        await middle.ready()
        async with speaking(middle) as node:
            await node.join()
            found = await held(broker.port, lambda found: mine <= set(found), "zone and node are announced")
            assert found[topic("homeassistant", f"{ZONE}_n1")] == message(Device(ZONE, "n1", birth().version))
            assert middle.status()["messages"]["malformed"] == 0  # its own messages are not taken for a node's
        assert stop(collector) == 0
    middle.write(zone=zone + "[home_assistant]\nenabled = false\n")
    with middle.run() as collector:
        await middle.ready()
        found = await held(broker.port, lambda found: not mine & set(found), "they are taken back")
        assert set(found) == {theirs, foreign}
        assert stop(collector) == 0


async def test_the_access_list_lets_collectors_announce_viewers_find_and_nobody_else(tmp_path):
    site = TlsBroker(tmp_path)
    site.discovery = "homeassistant"
    names = {"n1": "hall", "collector.main": "", "operator.alice": "", "viewer.home": ""}
    settings = {name: site.client(name, zone) for name, zone in names.items()}
    site.start()
    ours, others = topic("homeassistant", "hall_n1"), "homeassistant/device/lamp/config"
    try:
        async with ear(settings["viewer.home"], "homeassistant/#") as finds, ear(settings["n1"], "#") as node:
            for name in names:
                async with connect(settings[name], f"mouth-{name}") as mouth:
                    for one in (ours, others):
                        await mouth.publish(one, name.encode(), qos=1, retain=True)
            heard = [(str(one.topic), one.payload) for one in await finds.heard()]
            assert heard == [(ours, b"collector.main")]
            assert [one for one in await node.heard() if "homeassistant" in str(one.topic)] == []
    finally:
        site.stop()


def test_without_home_assistant_the_access_list_has_nothing_of_it(tmp_path):
    for name in ("collector.main", "viewer.screen"):
        assert [line for line in lines(Client(parse_identity(name))) if "homeassistant" in line] == []
    for prefix in ("a\ntopic write #", "+", "#", "a b", "a/", "/a"):
        with pytest.raises(Failure, match="discovery-prefix"):
            write_acl(tmp_path, [], prefix)
