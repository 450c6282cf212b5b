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
    MAX_LEFT_OUT,
    Code,
    Op,
    Renewal,
    Role,
    check_addressee,
    check_renewal_time,
    check_time,
    key_id,
    node_mark,
    open_ack,
    open_command,
    open_renewal,
    open_run,
    open_submission,
)
from tests.wire import examples

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


# Key of RFC 8032, section 7.1, test 3.
OPERATOR = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
)
RING = KeyRing(
    [
        Key(public(CONTROLLER), Role.CONTROLLER),
        Key(public(NODE), Role.NODE, node="n1"),
        Key(public(OPERATOR), Role.OPERATOR),
    ]
)
COMMAND = Command(
    "fleet", "n1", "0123456789abcdef0123456789abcdef", 3, 118, 1_000_000, 1_000_000, 1_002_000, Op.CAP,
    cap_w=300.0, fallback_w=200.0, ttl_s=10.0, issuer="collector", reason="water level 300 W of 2400 W",
)  # fmt: skip
ACK = Ack("n1", COMMAND.id, 3, 118, Code.APPLIED, "", 1_000_200, 300.0, 450.0, 299.9, 280.0, 0.2)
START = msgspec.structs.replace(
    COMMAND, op=Op.START, cap_w=None, fallback_w=None, ttl_s=0.0, reason="planned", job=examples.ORDER
)
STOP = msgspec.structs.replace(START, op=Op.STOP, target=examples.RUN, job=None, keep=True)
RENEWAL = Renewal("fleet", "hall-1", 3, 120, 1_000_000, 1_002_000, 10.0, node_mark("n7") + node_mark("n9"))


def _body(opened):
    return opened[1] if isinstance(opened, tuple) else opened


# file, message, who signs it, who opens it, and its context
SIGNED = [
    ("cmd.msgpack", COMMAND, CONTROLLER, open_command, b"evenwatt-cmd-v1\0"),
    ("cmd-start.msgpack", START, CONTROLLER, open_command, b"evenwatt-cmd-v1\0"),
    ("cmd-stop.msgpack", STOP, CONTROLLER, open_command, b"evenwatt-cmd-v1\0"),
    ("renew.msgpack", RENEWAL, CONTROLLER, open_renewal, b"evenwatt-renew-v1\0"),
    ("ack.msgpack", ACK, NODE, open_ack, b"evenwatt-ack-v1\0"),
    ("run.msgpack", examples.REPORT, NODE, open_run, b"evenwatt-run-v1\0"),
    ("submit.msgpack", examples.SUBMISSION, OPERATOR, open_submission, b"evenwatt-submit-v1\0"),
]
each_signed = pytest.mark.parametrize(
    ("name", "message", "key", "opener", "context"), SIGNED, ids=[row[0] for row in SIGNED]
)


@each_signed
def test_golden_bytes_are_what_is_signed(name, message, key, opener, context):
    payload = (GOLDEN / name).read_bytes()
    assert seal(message, key) == payload
    assert _body(opener(payload, RING)) == message


def test_an_independent_library_reads_and_checks_a_command():
    version, identifier, signature, body = msgpack.unpackb((GOLDEN / "cmd.msgpack").read_bytes())
    raw = CONTROLLER.public_key().public_bytes_raw()
    assert (version, identifier) == (1, hashlib.sha256(raw).digest()[:8])
    CONTROLLER.public_key().verify(signature, b"evenwatt-cmd-v1\0" + body)
    assert msgpack.unpackb(body)[:3] == ["cmd", "fleet", "n1"]


@each_signed
def test_an_independent_library_checks_every_signature(name, message, key, opener, context):
    version, identifier, signature, body = msgpack.unpackb((GOLDEN / name).read_bytes())
    raw = key.public_key().public_bytes_raw()
    assert (version, identifier) == (1, hashlib.sha256(raw).digest()[:8])
    key.public_key().verify(signature, context + body)
    tag = name.split(".")[0].split("-")[0]
    assert msgpack.unpackb(body)[0] == tag


@each_signed
def test_every_changed_bit_is_refused(name, message, key, opener, context):
    payload = seal(message, key)
    for position in range(len(payload)):
        for bit in range(8):
            changed = bytearray(payload)
            changed[position] ^= 1 << bit
            with pytest.raises(CommandError):
                opener(bytes(changed), RING)


def _other(value):
    """Return another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case bytes():
            return value[:-1] + bytes([value[-1] ^ 1])
        case str():
            return value[:-1] + ("0" if value[-1:] != "0" else "1")
        case list():
            return [*value, value[0]] if value else [["x", 1.0]]
        case None:
            return 0
        case _:
            raise AssertionError(value)


@each_signed
def test_every_tampered_field_is_refused(name, message, key, opener, context):
    """Who changes a field and leaves the signature, or takes it from another message, is not believed."""
    version, identifier, signature, body = msgpack.unpackb(seal(message, key))
    fields = msgpack.unpackb(body)
    for at, value in enumerate(fields):
        tampered = [*fields[:at], _other(value), *fields[at + 1 :]]
        forged = msgpack.packb([version, identifier, signature, msgpack.packb(tampered)])
        with pytest.raises(CommandError) as caught:
            opener(forged, RING)
        assert caught.value.code == "signature"
    longer = msgpack.packb([*fields, "more"])
    assert code_of(opener, msgpack.packb([version, identifier, signature, longer]), RING) == "signature"


@each_signed
def test_a_field_too_many_is_refused_even_if_signed(name, message, key, opener, context):
    """What is signed is strict: nothing in it may be overlooked."""
    version, identifier, _, body = msgpack.unpackb(seal(message, key))
    longer = msgpack.packb([*msgpack.unpackb(body), "more"])
    payload = msgpack.packb([version, identifier, key.sign(context + longer), longer])
    if opener is open_ack:
        assert open_ack(payload, RING) == message
    else:
        assert code_of(opener, payload, RING) == "schema"


@each_signed
def test_a_signature_is_worth_nothing_in_another_context(name, message, key, opener, context):
    for _, _, _, other, other_context in SIGNED:
        if other_context != context:
            ring = KeyRing([Key(public(key), role, node="n1") for role in [_ROLE[other]]])
            assert code_of(other, seal(message, key), ring) == "signature"


_ROLE = {
    open_command: Role.CONTROLLER,
    open_renewal: Role.CONTROLLER,
    open_ack: Role.NODE,
    open_run: Role.NODE,
    open_submission: Role.OPERATOR,
}


@pytest.mark.parametrize("opener", [open_command, open_renewal, open_ack, open_run, open_submission])
@given(payload=st.binary(max_size=400))
def test_no_bytes_open(opener, payload):
    with pytest.raises(CommandError):
        opener(payload, RING)


def test_only_a_nodes_own_key_reports_its_runs():
    assert code_of(open_run, seal(examples.REPORT, CONTROLLER), RING) == "role"
    assert code_of(open_run, seal(examples.REPORT, OPERATOR), RING) == "role"
    other = msgspec.structs.replace(examples.REPORT, node="n2")
    assert code_of(open_run, seal(other, NODE), RING) == "node"


def test_only_an_operator_submits():
    assert code_of(open_submission, seal(examples.SUBMISSION, CONTROLLER), RING) == "role"
    assert code_of(open_submission, seal(examples.SUBMISSION, NODE), RING) == "role"


def test_only_a_controller_renews_the_leases_of_a_zone():
    assert code_of(open_renewal, seal(RENEWAL, OPERATOR), RING) == "role"
    assert code_of(open_renewal, seal(RENEWAL, NODE), RING) == "role"
    endless = msgspec.structs.replace(RENEWAL, ttl_s=0.0)
    assert code_of(open_renewal, seal(endless, CONTROLLER), RING) == "schema"


def test_a_renewal_leaves_out_whom_it_names_and_whoever_has_the_same_mark():
    assert RENEWAL.leaves_out("n7")
    assert RENEWAL.leaves_out("n9")
    assert not RENEWAL.leaves_out("n1")
    shifted = msgspec.structs.replace(RENEWAL, left_out=b"\0" + node_mark("n1") + b"\0\0\0")
    assert not shifted.leaves_out("n1")  # marks begin at every fourth byte
    assert node_mark("n1") == hashlib.sha256(b"n1").digest()[:4]


def test_the_longest_renewal_fits():
    most = msgspec.structs.replace(RENEWAL, left_out=b"\xff" * 4 * MAX_LEFT_OUT)
    assert open_renewal(seal(most, CONTROLLER), RING)[1] == most
    more = msgspec.structs.replace(RENEWAL, left_out=b"\xff" * 4 * (MAX_LEFT_OUT + 1))
    assert code_of(open_renewal, seal(more, CONTROLLER), RING) == "schema"


def test_a_renewal_has_its_time():
    check_renewal_time(RENEWAL, 998_000, clock_synchronised=True)  # a clock that is two seconds behind
    check_renewal_time(RENEWAL, 1_002_000, clock_synchronised=True)
    assert code_of(check_renewal_time, RENEWAL, 997_999, clock_synchronised=True) == "not-yet"
    assert code_of(check_renewal_time, RENEWAL, 1_002_001, clock_synchronised=True) == "expired"
    assert code_of(check_renewal_time, RENEWAL, 1_000_000, clock_synchronised=False) == "clock"
    for expires_ms in (999_999, 1_120_001):
        odd = msgspec.structs.replace(RENEWAL, expires_ms=expires_ms)
        assert code_of(check_renewal_time, odd, 1_000_000, clock_synchronised=True) == "validity"


def test_a_node_commands_nobody():
    assert code_of(open_command, seal(START, NODE), RING) == "role"


def test_a_start_and_nothing_else_has_a_job():
    for command in (msgspec.structs.replace(START, job=None), msgspec.structs.replace(STOP, job=examples.ORDER)):
        assert code_of(open_command, seal(command, CONTROLLER), RING) == "schema"
    assert code_of(open_command, seal(msgspec.structs.replace(STOP, target="node"), CONTROLLER), RING) == "schema"


@pytest.mark.parametrize(
    "changes",
    [
        {"job": "../../etc/pass"}, {"job": "0193582C1A00"}, {"run": "0193582c1a0"}, {"template": "a b"},
        {"values": [("x", "y" * 201)]}, {"values": [("X", "y")]}, {"values": [("x", "y")] * 17}, {"limit_s": -1.0},
        {"limit_s": float("nan")}, {"limit_s": float("inf")}, {"name": "x" * 401},
    ],
    ids=str,
)  # fmt: skip
def test_an_order_out_of_bounds_does_not_open(changes):
    order = msgspec.structs.replace(examples.ORDER, **changes)
    command = msgspec.structs.replace(START, job=order)
    assert code_of(open_command, seal(command, CONTROLLER), RING) == "schema"


def test_a_report_full_of_the_longest_characters_still_opens():
    full = msgspec.structs.replace(
        examples.REPORT, log="\U0001f600" * 2_000, detail="\U0001f600" * 400, units=[("u" * 40, 1.0)] * 16
    )
    assert open_run(seal(full, NODE), RING) == full
    assert code_of(open_run, b"\0" * 20_000, RING) == "too-large"
    longer = msgspec.structs.replace(examples.REPORT, log="x" * 2_001)
    assert code_of(open_run, seal(longer, NODE), RING) == "schema"


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


def test_a_clock_that_is_wrong_may_only_give_power_back_and_end_runs():
    for op in set(Op) - {Op.RELEASE, Op.RESUME, Op.STOP}:
        refused = msgspec.structs.replace(COMMAND, op=op)
        assert code_of(check_time, refused, 1_000_000, clock_synchronised=False) == "clock"
    for op in (Op.RELEASE, Op.RESUME, Op.STOP):
        check_time(msgspec.structs.replace(COMMAND, op=op), 9_999_999, clock_synchronised=False)


def test_key_id_is_the_head_of_the_hash():
    assert key_id(b"\0" * 32) == hashlib.sha256(b"\0" * 32).digest()[:8]


if __name__ == "__main__":
    for file_name, signed, private, _, _ in SIGNED:
        (GOLDEN / file_name).write_bytes(seal(signed, private))
