from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.framing import MAX_PACKET_BYTES, BrokenStreamError, Outbox, Packets


def whole(head, body):
    length, coded = len(body), b""
    while True:
        length, byte = divmod(length, 128)
        coded += bytes([byte | (0x80 if length else 0)])
        if not length:
            return bytes([head]) + coded + body


def packet(payload, topic=b"t", qos=1, number=7, retain=False, properties=b""):
    identifier = struct.pack("!H", number) if qos else b""
    return whole(0x30 | qos << 1 | retain, struct.pack("!H", len(topic)) + topic + identifier + properties + payload)


class Heard:
    """Everything that a stream brought."""

    def __init__(self, *, properties=False):
        self.messages, self.taken, self.others, self.skipped, self.sent = [], [], [], [], b""
        self.packets = Packets(
            lambda *message: self.messages.append(message), self.taken.append,
            lambda *other: self.others.append(other), self.skipped.append, properties=properties,
        )  # fmt: skip

    def feed(self, data):
        self.sent += self.packets.feed(data)

    @property
    def acknowledged(self):
        return [number for (number,) in struct.iter_unpack("!2xH", self.sent)]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([0, 5, 130, 20_000, 300_000, 1_000_000]), st.sampled_from([0, 1])), max_size=6),
    st.randoms(use_true_random=False),
)
def test_sane_messages_pass_and_huge_ones_are_skipped(shapes, rng):
    packets = [packet(b"x" * size, qos=qos, number=i) for i, (size, qos) in enumerate(shapes)]
    heard, stream, largest = Heard(), b"".join(packets), 0
    while stream:
        n = rng.choice((1, 3, 1000, 65_536)) if len(stream) < 100_000 else 65_536  # byte by byte would take minutes
        heard.feed(stream[:n])
        stream = stream[n:]
        largest = max(largest, len(heard.packets._rest))
    sane = [size for (size, _), one in zip(shapes, packets, strict=True) if len(one) <= MAX_PACKET_BYTES]
    assert heard.messages == [("t", b"x" * size, False) for size in sane]
    assert heard.skipped == [len(one) for one in packets if len(one) > MAX_PACKET_BYTES]
    assert heard.acknowledged == [i for i, (_, qos) in enumerate(shapes) if qos]
    assert largest <= MAX_PACKET_BYTES + 65_536
    assert heard.packets._rest == b""


@pytest.mark.parametrize("cut", range(1, 12))
def test_messages_acknowledgements_and_what_gmqtt_gets_come_in_order_however_they_are_cut(cut):
    stream = (
        packet(b"one", b"a/b", qos=0) + packet(b"", b"a/b", number=9, retain=True) + whole(0x40, b"\x01\x02")
        + whole(0xD0, b"") + whole(0x90, b"\x00\x01\x01") + packet(b"two", "\u00e4".encode(), qos=0)
    )  # fmt: skip
    heard = Heard()
    for at in range(0, len(stream), cut):
        heard.feed(stream[at : at + cut])
    assert heard.messages == [("a/b", b"one", False), ("a/b", b"", True), ("\u00e4", b"two", False)]
    assert (heard.taken, heard.acknowledged) == ([0x0102], [9])
    assert heard.others == [(0xD0, b""), (0x90, b"\x00\x01\x01")]


def test_properties_of_mqtt_5_are_passed_over_and_a_long_answer_is_one():
    heard = Heard(properties=True)
    heard.feed(packet(b"one", properties=b"\0") + packet(b"two", qos=0, properties=b"\x05\x02\0\0\0\x03"))
    heard.feed(packet(b"three", qos=0, properties=b"\x81\x01" + b"y" * 129) + whole(0x40, b"\0\x05\0\0"))
    assert [payload for _, payload, _ in heard.messages] == [b"one", b"two", b"three"]
    assert (heard.acknowledged, heard.taken) == ([7], [5])


def test_a_topic_that_is_no_text_arrives_all_the_same_and_qos_2_is_nobodys():
    heard = Heard()
    heard.feed(packet(b"x", b"\xff", qos=0) + packet(b"y", qos=2))
    assert heard.messages == [("\ufffd", b"x", False)]
    assert [head for head, _ in heard.others] == [0x34]


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\xff\xff\xff\xff\xff",
        whole(0x30, b"\0\x09abc"),
        whole(0x32, b"\0\x01a\0"),
        whole(0x32, b"\0\x01a"),
    ],
)
def test_a_broken_stream_is_said(data):
    with pytest.raises(BrokenStreamError):
        Heard().feed(data)


def test_properties_without_an_end_are_a_broken_stream():
    with pytest.raises(BrokenStreamError):
        Heard(properties=True).feed(packet(b"", qos=0, properties=b"\xff\xff"))


def test_an_outbox_sends_what_the_broker_takes_and_the_rest_as_it_answers():
    outbox, broker = Outbox(2, properties=False), Heard()
    broker.feed(b"".join(outbox.put("t", bytes([i]), 1, retain=False) for i in range(5)))
    broker.feed(outbox.put("t", b"now", 0, retain=True))
    assert [payload for _, payload, _ in broker.messages] == [b"\0", b"\x01", b"now"]
    assert broker.messages[2][2]
    assert not outbox.empty
    while numbers := broker.acknowledged:
        broker.sent = b""
        for number in numbers:
            broker.feed(outbox.answered(number))
            outbox.answered(number)  # doubled
    assert [payload for _, payload, _ in broker.messages] == [b"\0", b"\x01", b"now", b"\x02", b"\x03", b"\x04"]
    assert outbox.empty


def test_an_outbox_has_an_end_and_no_number_is_used_twice_at_once():
    outbox, broker = Outbox(1_000_000, properties=True), Heard(properties=True)
    put = 0
    while (data := outbox.put("t", b"x" * 200, 1, retain=False)) is not None:
        broker.feed(data)
        put += 1
        if put > 200_000:
            break
    numbers = broker.acknowledged
    assert len(set(numbers)) == len(numbers) == 65_435
    assert put < 200_000
    assert broker.messages[0] == ("t", b"x" * 200, False)
