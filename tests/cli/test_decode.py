"""A pipe of payloads becomes JSON lines, whatever is in the pipe."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_cli.decode import decode_stream, rows
from evenwatt_cli.exits import Exit
from evenwatt_wire import encode, seal
from tests.support import need, process, wait_for
from tests.wire import examples
from tests.wire.test_command import ACK, COMMAND, CONTROLLER, NODE, OPERATOR, START

GOLDEN = Path(__file__).parents[1] / "wire" / "golden"
SIGNED = [
    ("evenwatt/v1/hall-1/n1/cmd", seal(COMMAND, CONTROLLER), "cmd"),
    ("evenwatt/v1/hall-1/n1/cmd", seal(START, CONTROLLER), "cmd"),
    ("evenwatt/v1/hall-1/n1/ack", seal(ACK, NODE), "ack"),
    ("evenwatt/v1/hall-1/n1/run", seal(examples.REPORT, NODE), "run"),
    ("evenwatt/v1/hall-1/_ctl/submit", seal(examples.SUBMISSION, OPERATOR), "submit"),
]
PLAIN = [(topic, encode(message), kind) for (name, topic, message), kind in zip(
    examples.ALL,
    ["live", "ledger", "event", "stored", "probe", "echo", "state", "birth", "summary", "zone-summary", "controller",
     "beat", "jobs",
     "deployments"],
    strict=True,
)]  # fmt: skip
EVERYTHING = PLAIN + SIGNED


def pipe(verbose):
    return b"".join((topic.encode() + b" " if verbose else b"") + payload + b"\n" for topic, payload, _ in EVERYTHING)


class Dribble(io.RawIOBase):
    """A stream that comes in pieces."""

    def __init__(self, data, size):
        self._data, self._size = data, size

    def readable(self):
        return True

    def read(self, _limit=-1):
        piece, self._data = self._data[: self._size], self._data[self._size :]
        return piece


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("size", [1, 7, 4_096, 1_000_000])
def test_every_kind_of_message_is_recognised_with_and_without_topics(verbose, size):
    found = list(rows(Dribble(pipe(verbose), size)))
    assert [row["type"] for row in found] == [kind for _, _, kind in EVERYTHING]
    assert not any("error" in row for row in found)
    if verbose:
        assert [row["topic"] for row in found] == [topic for topic, _, _ in EVERYTHING]


def test_fields_have_their_names_all_the_way_down():
    row = next(rows(io.BytesIO(encode(examples.LIVE) + b"\n")))
    assert row["total"]["mean_w"] == 412.5
    assert row["domains"][1]["id"] == "package-0/dram"
    assert row["lease"]["state"] == "leased"


def test_a_command_shows_who_signed_it_and_what_it_asks():
    row = next(rows(io.BytesIO(seal(COMMAND, CONTROLLER) + b"\n")))
    assert (row["op"], row["cap_w"]) == ("cap", 300.0)
    assert len(row["signature"]) == 128


def test_garbage_is_said_and_what_follows_is_still_read():
    out = io.StringIO()
    data = b"\xc1\xffnonsense\n" + encode(examples.STORED) + b"\n{broken\n" + encode(examples.STATE) + b"\n"
    assert decode_stream(io.BytesIO(data), out) is Exit.DEGRADED
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line.get("type", "error") for line in lines] == ["error", "stored", "error", "state"]


def test_a_deleted_retained_message_is_said():
    assert list(rows(io.BytesIO(b"evenwatt/v1/z/n/birth \n"))) == [
        {"topic": "evenwatt/v1/z/n/birth", "type": "deleted"}
    ]


@given(st.binary(max_size=500))
def test_no_bytes_crash_it(data):
    for row in rows(io.BytesIO(data)):
        json.dumps(row)


@given(st.binary(max_size=60).filter(lambda b: b"\n" not in b and b[:1] not in (b"{", b"e")))
def test_after_any_line_of_garbage_the_next_message_is_read(noise):
    found = list(rows(io.BytesIO(noise + b"\n" + encode(examples.STATE) + b"\n")))
    assert found[-1].get("type") == "state" or "error" in found[0]


def test_it_reads_a_real_mosquitto_sub(broker, tmp_path):
    need(shutil.which("mosquitto_sub"), "mosquitto_sub", "mosquitto-clients")
    publish = ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-s", "-t"]
    first = PLAIN[4]
    subprocess.run([*publish, first[0], "-r"], input=first[1], check=True)
    out = tmp_path / "decoded.jsonl"
    ends = f"-C {1 + len(EVERYTHING)} -W 60"  # by itself: killing the shell would leave the pipe running
    listen = f"mosquitto_sub -p {broker.port} -t 'evenwatt/v1/#' -v {ends}"
    command = f"{listen} | {sys.executable} -m evenwatt_cli decode > {out}"
    with process(["bash", "-c", command], tmp_path / "log"):
        wait_for(lambda: out.exists() and out.read_text(), "mosquitto_sub listens, and shows what is retained")
        for topic, payload, _ in EVERYTHING:
            subprocess.run([*publish, topic], input=payload, check=True)
        wait_for(lambda: len(out.read_text().splitlines()) == 1 + len(EVERYTHING), "all is decoded")
    kinds = [json.loads(line)["type"] for line in out.read_text().splitlines()]
    assert kinds == [first[2], *(kind for _, _, kind in EVERYTHING)]


def test_a_trust_document_is_one_row_whatever_follows():
    document = (GOLDEN / "trust.json").read_bytes()
    live = (GOLDEN / "live.msgpack").read_bytes()
    for topic in (b"", b"evenwatt/v1/hall/_ctl/trust "):
        row, after = rows(io.BytesIO(topic + document + b"\n" + live + b"\n"))
        assert (row["type"], row["version"], len(row["keys"]), len(row["signatures"])) == ("trust", 3, 3, 1)
        assert after["type"] == "live"
    assert "error" in next(rows(io.BytesIO(document[:-40])))
