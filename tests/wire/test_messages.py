"""The wire is a public interface: what goes over it is held fast by golden bytes, and nothing else comes in."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_wire import (
    MAX_PAYLOAD_BYTES,
    DomainWindow,
    Kind,
    Live,
    Quality,
    Topic,
    TopicError,
    WireError,
    decode,
    encode,
)
from tests.wire import examples

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(("name", "topic", "message"), examples.ALL, ids=[row[0] for row in examples.ALL])
def test_golden_bytes_still_mean_the_same(name, topic, message):
    payload = (GOLDEN / name).read_bytes()
    assert encode(message) == payload, "the public format changed: that needs a new version of the topics"
    assert decode(Topic.parse(topic), payload) == message


@pytest.mark.parametrize("name", [row[0] for row in examples.ALL if row[0].endswith(".msgpack")])
def test_an_independent_library_reads_the_golden_bytes(name):
    array = msgpack.unpackb((GOLDEN / name).read_bytes())
    message = next(row[2] for row in examples.ALL if row[0] == name)
    assert array == json.loads(msgspec.json.encode(message))
    assert array[0] == name.split(".")[0]


@pytest.mark.parametrize("name", [row[0] for row in examples.ALL if row[0].endswith(".json")])
def test_json_golden_vectors_are_plain_json(name):
    assert isinstance(json.loads((GOLDEN / name).read_text()), dict)


LIVE_TOPIC = Topic("hall-1", "n1", Kind.LIVE)


def live_array(**changes):
    array = msgspec.to_builtins(examples.LIVE)
    names = ["tag", *Live.__struct_fields__]
    for name, value in changes.items():
        array[names.index(name)] = value
    return array


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x9c",
        msgpack.packb(live_array(duration_s=math.nan)),
        msgpack.packb(live_array(duration_s=math.inf)),
        msgpack.packb(live_array(duration_s=0.0)),
        msgpack.packb(live_array(seq=-1)),
        msgpack.packb(live_array(seq=2**63)),
        msgpack.packb(live_array(tag="ledger")),
        msgpack.packb(live_array(node="n2")),
        msgpack.packb(live_array(node="../etc")),
        msgpack.packb(live_array(boot="not-a-boot-id")),
        msgpack.packb(live_array(total=["node", -1.0, 0, 0, 0, 0, 0, "measured"])),
        msgpack.packb(live_array(total=["node", 1.0, 0, 0, 0, 0, 0, "guessed"])),
        msgpack.packb(live_array(domains=[["d", 1, 1, 1, 1, 1, 1, "measured"]] * 513)),
        msgpack.packb({"node": "n1"}),
        b"\x91" * 5_000,
        b"\x00" * (MAX_PAYLOAD_BYTES + 1),
    ],
)
def test_a_broken_live_window_is_one_wire_error(payload):
    with pytest.raises(WireError, match="live"):
        decode(LIVE_TOPIC, payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"[]",
        b'{"node":"n1","node":"n1"}',
        b'{"node":"n1","state":"ready","boot":"0000000000000000","wall_ms":NaN}',
        b'{"node":"n1","state":"ready","boot":"0000000000000000","wall_ms":Infinity}',
        b'{"node":"n2","state":"ready","boot":"0000000000000000","wall_ms":1}',
        b'{"node":"n1","state":"perhaps","boot":"0000000000000000","wall_ms":1}',
        b"[" * 60_000,
        b'{"a":' * 20 + b"1" + b"}" * 20,
        b"\xff\xfe",
    ],
)
def test_a_broken_state_is_one_wire_error(payload):
    with pytest.raises(WireError, match="state"):
        decode(Topic("hall-1", "n1", Kind.STATE), payload)


@given(st.binary(max_size=300), st.sampled_from(list(Kind)), st.sampled_from(["n1", "_zone", "_ctl"]))
def test_no_bytes_escape_as_anything_but_a_wire_error(payload, kind, node):
    with contextlib.suppress(WireError):
        decode(Topic("hall-1", node, kind), payload)


@given(st.data())
def test_a_flipped_bit_is_refused_or_decodes_to_a_valid_message(data):
    payload = bytearray(encode(examples.LIVE))
    position = data.draw(st.integers(0, len(payload) - 1))
    payload[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        message = decode(LIVE_TOPIC, bytes(payload))
    except WireError:
        return
    assert isinstance(message, Live)
    assert all(math.isfinite(value) and value >= 0 for value in (message.total.energy_j, message.duration_s))


joules = st.floats(0, 1e15)
windows = st.builds(
    DomainWindow,
    st.sampled_from(["package-0", "package-0/dram", "gpu-3"]),
    *[joules] * 2,
    *[st.floats(0, 1e6)] * 4,
    st.sampled_from(Quality),
)


@given(windows, st.lists(windows, max_size=16), st.integers(0, 2**53))
def test_every_window_survives_the_trip(total, domains, seq):
    message = msgspec.structs.replace(examples.LIVE, total=total, domains=domains, seq=seq)
    assert decode(LIVE_TOPIC, encode(message)) == message


def test_a_later_version_may_append_fields():
    assert decode(LIVE_TOPIC, msgpack.packb([*live_array(), "something new"])) == examples.LIVE


@pytest.mark.parametrize(
    "topic",
    ["", "evenwatt", "evenwatt/v2/z/n/live", "/evenwatt/v1/z/n/live", "evenwatt/v1/z/n/livee", "evenwatt/v1/Z/n/live",
     "evenwatt/v1/z/-n/live", "evenwatt/v1/z/n-/live", "evenwatt/v1/z/n/live/more", "evenwatt/v1/z/_secret/live",
     "evenwatt/v1/z/" + "n" * 64 + "/live", "evenwatt/v1/+/n/live"],
)  # fmt: skip
def test_a_topic_that_is_not_ours_is_refused(topic):
    with pytest.raises(TopicError):
        Topic.parse(topic)


@given(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True),
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True),
    st.sampled_from(Kind),
)
def test_topics_read_back(zone, node, kind):
    topic = Topic(zone, node, kind)
    assert Topic.parse(str(topic)) == topic
