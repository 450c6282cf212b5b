"""A chain shows every change but a cut at its end; reading it never encodes anything again."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_daemon.audit import CONTEXT, GENESIS, BadEntryError, Head, make_line, read_line, walk

facts = st.dictionaries(
    st.sampled_from(["op", "node", "why", "count", "cap_w", "ok"]),
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
)


def chain(rows):
    head, lines = GENESIS, []
    for at, row in enumerate(rows):
        line, head = make_line(head, "command", 1_000 + at, row)
        lines.append(line)
    return lines, head


def walked(lines):
    return walk((f"log:{at}", line.rstrip(b"\n")) for at, line in enumerate(lines, 1))


def test_the_construction_is_what_the_docs_say():
    line, head = make_line(GENESIS, "start", 5, {"node": "n1"})
    body, tail = line[:-76], line[-76:]
    assert body == b'{"n":1,"prev":"' + b"0" * 64 + b'","kind":"start","at_ms":5,"node":"n1"'
    digest = hashlib.sha256(CONTEXT + body).hexdigest()
    assert tail == b',"hash":"%s"}\n' % digest.encode()
    assert head == Head(1, digest)
    assert json.loads(line)["hash"] == digest
    second, _ = make_line(head, "stop", 6, {})
    assert json.loads(second)["prev"] == digest


@given(st.lists(facts, max_size=6))
def test_what_is_written_is_read(rows):
    lines, head = chain(rows)
    found, entries = walked(lines)
    assert not found.faults
    assert [entry.facts for entry in entries] == rows
    assert found.head == head
    assert all(b"\n" not in line[:-1] and line.isascii() for line in lines)


@given(st.lists(facts, min_size=2, max_size=5), st.data())
def test_a_changed_byte_shows_with_its_entry(rows, data):
    lines, _ = chain(rows)
    which = data.draw(st.integers(0, len(lines) - 1))
    at = data.draw(st.integers(0, len(lines[which]) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != lines[which][at] and b != 10))
    lines[which] = lines[which][:at] + bytes([byte]) + lines[which][at + 1 :]
    found, _ = walked(lines)
    assert found.faults
    assert found.faults[0].where == f"log:{which + 1}"


@given(st.lists(facts, min_size=3, max_size=6), st.data())
def test_entries_left_out_swapped_or_put_in_show(rows, data):
    lines, _ = chain(rows)
    at = data.draw(st.integers(1, len(lines) - 2))
    gone, _ = walked(lines[:at] + lines[at + 1 :])
    assert [fault.what for fault in gone.faults] == [f"stands where entry {at + 1} is expected"]
    swapped, _ = walked([*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]])
    assert swapped.faults
    doubled, _ = walked([*lines[:at], lines[at - 1], *lines[at:]])
    assert doubled.faults


def test_an_entry_made_anew_breaks_the_next_one():
    lines, _ = chain([{"cap_w": 1.0}, {"cap_w": 2.0}, {"cap_w": 3.0}])
    first = read_line(lines[0][:-1])
    forged, _ = make_line(first.head, "command", 1_001, {"cap_w": 9.0})
    found, _ = walked([lines[0], forged, lines[2]])
    assert [(fault.n, fault.where) for fault in found.faults] == [(3, "log:3")]
    assert "hash of entry 2" in found.faults[0].what


def test_a_log_may_begin_later_and_says_so():
    lines, _ = chain([{}, {}, {}])
    found, _ = walked(lines[1:])
    assert (found.first, found.entries, found.faults) == (2, 2, [])


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"\0" * 200, b"[" * 9_000, b"x" * 20_000, b'{"n":1}', b'{"n":1,"hash":"' + b"0" * 64 + b'"}'],
    ids=range(7),
)
def test_what_is_no_entry_is_named_and_never_raises_anything_else(line):
    with pytest.raises(BadEntryError):
        read_line(line)


@given(st.binary(max_size=300))
def test_any_bytes_with_a_right_hash_are_an_entry_or_refused(body):
    line = b'%s,"hash":"%s"}' % (body, hashlib.sha256(CONTEXT + body).hexdigest().encode())
    with pytest.raises(BadEntryError):
        read_line(line)


@pytest.mark.parametrize(
    "body",
    [
        b'{"n":1,"n":2,"prev":"x","kind":"k","at_ms":1',
        b'{"n":true,"prev":"x","kind":"k","at_ms":1',
        b'{"n":1,"prev":"x","kind":"k","at_ms":NaN',
        b'{"n":0,"prev":"x","kind":"k","at_ms":1',
    ],
)
def test_doubled_names_and_numbers_that_are_none_are_refused(body):
    line = b'%s,"hash":"%s"}' % (body, hashlib.sha256(CONTEXT + body).hexdigest().encode())
    with pytest.raises(BadEntryError):
        read_line(line)


def test_facts_cannot_take_the_chain_s_own_names():
    with pytest.raises(ValueError, match="hash"):
        make_line(GENESIS, "start", 1, {"hash": "0"})
    with pytest.raises(ValueError, match="JSON"):
        make_line(GENESIS, "start", 1, {"cap_w": float("nan")})


def test_heads_are_read_strictly():
    head = Head(17, "a" * 64)
    assert Head.parse(str(head)) == head
    for text in ("", "17", "17:" + "g" * 64, "x:" + "a" * 64, "1" * 16 + ":" + "a" * 64, "17:" + "a" * 64 + "\n"):
        with pytest.raises(ValueError, match="head"):
            Head.parse(text)
