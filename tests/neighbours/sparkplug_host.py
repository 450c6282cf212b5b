"""A Sparkplug host for tests: Google's protobuf runtime decodes, with the schema written down from the specification.

The field numbers and types are those of "Google Protocol Buffer Schema" in Eclipse Sparkplug 3.0, as far as payloads of
edge nodes without templates, data sets and files use them.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import aiomqtt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tests.support import eventually

_F = descriptor_pb2.FieldDescriptorProto
_SCHEMA = {
    "PropertyValue": [
        ("type", 1, _F.TYPE_UINT32), ("is_null", 2, _F.TYPE_BOOL), ("int_value", 3, _F.TYPE_UINT32),
        ("long_value", 4, _F.TYPE_UINT64), ("float_value", 5, _F.TYPE_FLOAT), ("double_value", 6, _F.TYPE_DOUBLE),
        ("boolean_value", 7, _F.TYPE_BOOL), ("string_value", 8, _F.TYPE_STRING),
    ],
    "PropertySet": [("keys", 1, [_F.TYPE_STRING]), ("values", 2, ["PropertyValue"])],
    "Metric": [
        ("name", 1, _F.TYPE_STRING), ("alias", 2, _F.TYPE_UINT64), ("timestamp", 3, _F.TYPE_UINT64),
        ("datatype", 4, _F.TYPE_UINT32), ("is_historical", 5, _F.TYPE_BOOL), ("is_transient", 6, _F.TYPE_BOOL),
        ("is_null", 7, _F.TYPE_BOOL), ("properties", 9, "PropertySet"), ("int_value", 10, _F.TYPE_UINT32),
        ("long_value", 11, _F.TYPE_UINT64), ("float_value", 12, _F.TYPE_FLOAT), ("double_value", 13, _F.TYPE_DOUBLE),
        ("boolean_value", 14, _F.TYPE_BOOL), ("string_value", 15, _F.TYPE_STRING), ("bytes_value", 16, _F.TYPE_BYTES),
    ],
    "Payload": [
        ("timestamp", 1, _F.TYPE_UINT64), ("metrics", 2, ["Metric"]), ("seq", 3, _F.TYPE_UINT64),
        ("uuid", 4, _F.TYPE_STRING), ("body", 5, _F.TYPE_BYTES),
    ],
}  # fmt: skip
DOUBLE, INT64, BOOLEAN, STRING = 10, 4, 11, 12
_VALUES = {DOUBLE: "double_value", INT64: "long_value", BOOLEAN: "boolean_value", STRING: "string_value"}


def _payload_class():
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_of_tests.proto", package="tests", syntax="proto2")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            label, one = (_F.LABEL_REPEATED, kind[0]) if isinstance(kind, list) else (_F.LABEL_OPTIONAL, kind)
            made = message.field.add(name=field, number=number, label=label)
            if isinstance(one, str):
                made.type, made.type_name = _F.TYPE_MESSAGE, f".tests.{one}"
            else:
                made.type = one
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tests.Payload"))


Payload = _payload_class()


class Told(NamedTuple):
    """A metric as a host sees it."""

    value: object
    datatype: int
    properties: dict


class Said(NamedTuple):
    """A message as a host hears it."""

    verb: str
    device: str
    seq: int | None
    metrics: dict
    retain: bool
    raw: bytes


def read(topic, data, retain=False):
    """Decode a message, and hold it to the rules that hold for every one."""
    namespace, _, verb, _, *device = topic.split("/")
    assert namespace == "spBv1.0"
    assert bool(device) == verb.startswith("D")
    payload = Payload.FromString(data)
    assert len(payload.SerializeToString()) == len(data)  # no field that the schema does not have
    assert payload.timestamp > 1_600_000_000_000
    metrics = {}
    for metric in payload.metrics:
        assert metric.timestamp == payload.timestamp
        assert metric.datatype in _VALUES
        keys, values = metric.properties.keys, metric.properties.values
        assert len(keys) == len(values)
        field = _VALUES[metric.datatype]
        assert metric.HasField(field) != metric.is_null
        properties = {}
        for key, value in zip(keys, values, strict=True):
            properties[key] = {3: value.int_value, STRING: value.string_value, BOOLEAN: value.boolean_value}[value.type]
        assert metric.name not in metrics
        metrics[metric.name] = Told(None if metric.is_null else getattr(metric, field), metric.datatype, properties)
    return Said(verb, *(device or [""]), payload.seq if payload.HasField("seq") else None, metrics, retain, data)


def command(name="Node Control/Rebirth", value=True):
    """A host's command: a metric of Boolean or Double."""
    payload = Payload(timestamp=1_700_000_000_000)
    metric = payload.metrics.add(name=name, timestamp=payload.timestamp)
    if isinstance(value, bool):
        metric.datatype, metric.boolean_value = BOOLEAN, value
    else:
        metric.datatype, metric.double_value = DOUBLE, value
    return payload.SerializeToString()


@asynccontextmanager
async def listening(port, group, edge):
    """A host on the broker; what it finds wrong ends the test."""
    async with aiomqtt.Client("127.0.0.1", port) as client, asyncio.TaskGroup() as group_of_tasks:
        for verb in ("NBIRTH/+", "NDATA/+", "NDEATH/+", "DBIRTH/+/+", "DDATA/+/+", "DDEATH/+/+"):
            await client.subscribe(f"spBv1.0/{group}/{verb}", qos=1)
        host = Host(client, group, edge)
        task = group_of_tasks.create_task(host.listen())
        yield host
        task.cancel()


class Host:
    """What a host knows of one edge node; gaps in the numbers are faults."""

    def __init__(self, client, group, edge):
        self.client, self.group, self.edge = client, group, edge
        self.said, self.values = [], {}
        self.session, self.next_seq, self.orphans = None, None, 0
        """The number of the edge node's session; None while it is dead. And the number that must come next."""

    async def listen(self):
        with suppress(aiomqtt.MqttError):  # a broker that was killed
            await self._listen()

    async def _listen(self):
        async for message in self.client.messages:
            self.take(read(str(message.topic), message.payload, message.retain))

    def take(self, said):
        self.said.append(said)
        assert not said.retain
        if said.verb == "NDEATH":
            assert said.seq is None
            assert set(said.metrics) == {"bdSeq"}
            if said.metrics["bdSeq"].value == self.session:
                self.session, self.values = None, {}
            return
        if said.verb == "NBIRTH":
            assert said.seq == 0
            self.session, self.values = said.metrics["bdSeq"].value, {}
        elif self.session is None:
            self.orphans += 1  # a host that has come late asks for births
            return
        else:
            assert said.seq == self.next_seq
        self.next_seq = (said.seq + 1) % 256
        if said.verb == "DDEATH":
            del self.values[said.device]
        elif said.verb.endswith("BIRTH"):
            self.values[said.device] = dict(said.metrics)
        else:
            known = self.values[said.device]
            assert set(said.metrics) <= set(known)
            for name, told in said.metrics.items():
                assert told.datatype == known[name].datatype
                assert told.value != known[name].value or told.properties, "told again and not changed"
                known[name] = told._replace(properties=known[name].properties | told.properties)

    def value(self, name, device=""):
        told = self.values.get(device, {}).get(name)
        return told.value if told else None

    def quality(self, name, device=""):
        told = self.values.get(device, {}).get(name)
        return told.properties.get("Quality", 192) if told else None

    def count(self, verb, device=""):
        return sum((one.verb, one.device) == (verb, device) for one in self.said)

    async def order(self, data, device="", retain=False):
        verb = "DCMD" if device else "NCMD"
        topic = f"spBv1.0/{self.group}/{verb}/{self.edge}" + (f"/{device}" if device else "")
        await self.client.publish(topic, data, qos=0, retain=retain)


async def until(condition, what):
    return await eventually(condition, what, 60)
