"""No command that fails a check is ever opened, and a changed bit is such a failure."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgpack
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_wire import Ack, Command, CommandError, Key, KeyRing, seal
from evenwatt_wire.command import (
    Code,
    Op,
    Role,
    check_addressee,
    check_time,
    key_id,
    open_ack,
    open_command,
)

GOLDEN = Path(__file__).parent / "golden"

# Keys of RFC 8032, section 7.1 (tests 1 and 2): public test vectors, so that anybody can reproduce the golden bytes.
CONTROLLER = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
)
NODE = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
)


def public(key):
    return key.public_key().public_bytes_raw().hex()


RING = KeyRing([Key(public(CONTROLLER), Role.CONTROLLER), Key(public(NODE), Role.NODE, node="n1")])
COMMAND = Command(
    "fleet", "n1", "0123456789abcdef0123456789abcdef", 3, 118, 1_000_000, 1_000_000, 1_002_000, Op.CAP,
    cap_w=300.0, fallback_w=200.0, ttl_s=10.0, issuer="collector", reason="water level 300 W of 2400 W",
)  # fmt: skip
ACK = Ack("n1", COMMAND.id, 3, 118, Code.APPLIED, "", 1_000_200, 300.0, 450.0, 299.9, 280.0, 0.2)


def test_golden_command_and_ack():
    for name, message, key in (("cmd.msgpack", COMMAND, CONTROLLER), ("ack.msgpack", ACK, NODE)):
        payload = (GOLDEN / name).read_bytes()
        assert seal(message, key) == payload
    assert open_command((GOLDEN / "cmd.msgpack").read_bytes(), RING)[1] == COMMAND
    assert open_ack((GOLDEN / "ack.msgpack").read_bytes(), RING) == ACK


def test_an_independent_library_reads_and_checks_a_command():
    version, identifier, signature, body = msgpack.unpackb((GOLDEN / "cmd.msgpack").read_bytes())
    raw = CONTROLLER.public_key().public_bytes_raw()
    assert (version, identifier) == (1, hashlib.sha256(raw).digest()[:8])
    CONTROLLER.public_key().verify(signature, b"evenwatt-cmd-v1\0" + body)
    assert msgpack.unpackb(body)[:3] == ["cmd", "fleet", "n1"]


@given(st.data())
def test_every_changed_bit_is_refused(data):
    payload = bytearray(seal(COMMAND, CONTROLLER))
    position = data.draw(st.integers(0, len(payload) - 1))
    payload[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CommandError):
        open_command(bytes(payload), RING)


@given(st.binary(max_size=400))
def test_no_bytes_open(payload):
    with pytest.raises(CommandError):
        open_command(payload, RING)


def code_of(call, *arguments, **keywords):
    with pytest.raises(CommandError) as caught:
        call(*arguments, **keywords)
    return caught.value.code


def test_each_check_has_its_code():
    stranger = Ed25519PrivateKey.generate()
    assert code_of(open_command, b"\x00" * 5_000, RING) == "too-large"
    assert code_of(open_command, b"\x00", RING) == "malformed"
    assert code_of(open_command, seal(COMMAND, stranger), RING) == "unknown-key"
    assert code_of(open_command, seal(COMMAND, NODE), RING) == "role"
    assert code_of(open_ack, seal(ACK, CONTROLLER), RING) == "role"
    assert code_of(open_ack, seal(msgspec.structs.replace(ACK, node="n2"), NODE), RING) == "node"
    no_cap = msgspec.structs.replace(COMMAND, cap_w=None)
    assert code_of(open_command, seal(no_cap, CONTROLLER), RING) == "schema"
    endless = msgspec.structs.replace(COMMAND, ttl_s=0.0)
    assert code_of(open_command, seal(endless, CONTROLLER), RING) == "schema"


def test_an_acknowledgement_is_no_command_even_with_a_fitting_key():
    """The contexts differ: a signature made for one is worth nothing for the other."""
    ring = KeyRing([Key(public(NODE), Role.CONTROLLER)])
    assert code_of(open_command, seal(ACK, NODE), ring) == "signature"


def test_addressee_is_exact():
    check_addressee(COMMAND, "fleet", "n1")
    assert code_of(check_addressee, COMMAND, "fleet", "n2") == "addressee"
    assert code_of(check_addressee, COMMAND, "other", "n1") == "addressee"


def test_time_window():
    check_time(COMMAND, 1_000_000, clock_synchronised=True)
    check_time(COMMAND, 1_002_000, clock_synchronised=True)
    assert code_of(check_time, COMMAND, 1_002_001, clock_synchronised=True) == "expired"
    assert code_of(check_time, COMMAND, 999_999, clock_synchronised=True) == "not-yet"
    long = msgspec.structs.replace(COMMAND, expires_ms=1_000_000 + 120_001)
    assert code_of(check_time, long, 1_000_000, clock_synchronised=True) == "validity"


def test_a_clock_that_is_wrong_may_only_give_power_back():
    assert code_of(check_time, COMMAND, 1_000_000, clock_synchronised=False) == "clock"
    for op in (Op.RELEASE, Op.RESUME):
        check_time(msgspec.structs.replace(COMMAND, op=op), 9_999_999, clock_synchronised=False)


def test_key_id_is_the_head_of_the_hash():
    assert key_id(b"\0" * 32) == hashlib.sha256(b"\0" * 32).digest()[:8]


if __name__ == "__main__":
    (GOLDEN / "cmd.msgpack").write_bytes(seal(COMMAND, CONTROLLER))
    (GOLDEN / "ack.msgpack").write_bytes(seal(ACK, NODE))
