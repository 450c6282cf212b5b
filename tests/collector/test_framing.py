from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.framing import MAX_PACKET_BYTES, SizeGuard, packet_bytes


def packet(payload, topic=b"t", qos=1, number=7):
    body = struct.pack("!H", len(topic)) + topic + (struct.pack("!H", number) if qos else b"") + payload
    length, head = len(body), b""
    while True:
        length, byte = divmod(length, 128)
        head += bytes([byte | (0x80 if length else 0)])
        if not length:
            return bytes([0x30 | qos << 1]) + head + body


class Parser:
    """Takes whole packets from the front, like gmqtt's."""

    def __init__(self):
        self.seen = []

    def __call__(self, data):
        at = 0
        while (total := packet_bytes(data, at)) is not None and at + total <= len(data):
            self.seen.append(data[at : at + total])
            at += total
        return at


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([0, 5, 130, 20_000, 300_000, 1_000_000]), st.sampled_from([0, 1])), max_size=6),
    st.randoms(use_true_random=False),
)
def test_sane_packets_pass_and_huge_ones_are_skipped(shapes, rng):
    packets = [packet(b"x" * size, qos=qos, number=i) for i, (size, qos) in enumerate(shapes)]
    parser, answered, skipped = Parser(), [], []
    guard = SizeGuard(parser, answered.append, skipped.append)
    stream, buffer, largest = b"".join(packets), b"", 0
    while stream:
        n = rng.choice((1, 3, 1000, 65_536))
        buffer, stream = buffer + stream[:n], stream[n:]
        buffer = buffer[guard(buffer) :]
        largest = max(largest, len(buffer))
        if n < 1000 and len(stream) > 100_000:  # byte by byte all the way would take minutes
            buffer, stream = buffer + stream[:65_536], stream[65_536:]
            buffer = buffer[guard(buffer) :]
    assert parser.seen == [one for one in packets if len(one) <= MAX_PACKET_BYTES]
    assert skipped == [len(one) for one in packets if len(one) > MAX_PACKET_BYTES]
    assert answered == [i for i, one in enumerate(packets) if len(one) > MAX_PACKET_BYTES and shapes[i][1]]
    assert largest <= MAX_PACKET_BYTES + 65_536
    assert buffer == b""


def test_broken_stream_is_passed_on():
    assert SizeGuard(lambda _: -1, print, print)(b"\x30\xff\xff\xff\xff\xff") == -1
