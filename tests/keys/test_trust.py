"""The trust document: what is refused, whatever is changed in it, and what follows from it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_wire import CommandError, KeyRing, Role, TrustError, TrustKeeper, Verdict, open_trust, seal, write_trust
from evenwatt_wire.command import Command, Op, open_ack, open_command, open_submission
from evenwatt_wire.trust import MAX_TRUST_BYTES, parse_trust, read_roots, split_trust
from tests.keys.made import (
    CONTROLLER,
    DAY_MS,
    NODE,
    NODE_2,
    NOW,
    NOW_MS,
    OPERATOR,
    OTHER_ROOT,
    ROOT,
    ROOTS,
    ROWS,
    raw,
    revoked,
    row,
    signed,
    trust,
)  # fmt: skip
from tests.wire import examples
from tests.wire.test_command import ACK

GOLDEN = Path(__file__).parents[1] / "wire" / "golden"


def keeper(roots=ROOTS, at_ms=NOW_MS):
    clock = {"ms": at_ms}
    made = TrustKeeper("f", roots, lambda: clock["ms"])
    made.test_clock = clock
    return made


def command(op=Op.CAP, key=CONTROLLER):
    more = {"cap_w": 300.0, "ttl_s": 10.0} if op is Op.CAP else {}
    more |= {"ttl_s": 10.0, "target": "batch"} if op is Op.PAUSE else {}
    more |= {"target": "batch"} if op is Op.RESUME else {}
    more |= {"job": examples.ORDER} if op is Op.START else {}
    more |= {"target": examples.RUN} if op is Op.STOP else {}
    times = (NOW_MS, NOW_MS - 1000, NOW_MS + 1000)
    return seal(Command("f", "n1", "0" * 32, 1, 1, *times, op, **more), key)


# --- the document -----------------------------------------------------------------------------------------------------


def test_golden_bytes_can_be_verified_by_the_book():
    """With nothing but the format's description, as another program would."""
    document = (GOLDEN / "trust.json").read_bytes()
    assert document == signed(3, revoked=[revoked(NODE_2, "n2")])
    head, _, body = document.partition(b"\n")
    first = json.loads(head)["signatures"][0]
    Ed25519PublicKey.from_public_bytes(ROOTS[0]).verify(
        bytes.fromhex(first["signature"]), b"evenwatt-trust-v1\0" + body
    )
    assert [key["role"] for key in json.loads(body)["keys"]] == ["controller", "operator", "node"]
    assert open_trust(document, ROOTS, "f").version == 3


def test_any_changed_bit_is_refused():
    document = signed()
    opened = open_trust(document, ROOTS, "f")
    for at in range(len(document)):
        for bit in range(8):
            changed = bytearray(document)
            changed[at] ^= 1 << bit
            try:
                assert open_trust(bytes(changed), ROOTS, "f") == opened  # a digit's case in a name of no root of ours
            except TrustError:
                continue
            pytest.fail(f"byte {at}, bit {bit} can be changed")


@pytest.mark.parametrize(
    ("document", "roots", "fleet", "code"),
    [
        (signed(), [raw(OTHER_ROOT)], "f", "unknown-root"),
        (signed(roots=[OTHER_ROOT]), ROOTS, "f", "unknown-root"),
        (signed(), ROOTS, "g", "fleet"),
        (write_trust(trust()), ROOTS, "f", "unsigned"),
        (b"", ROOTS, "f", "unsigned"),
        (b'{"keys": []}', ROOTS, "f", "unsigned"),
        (signed().replace(b"\n", b"", 1), ROOTS, "f", "malformed"),
        (b'{"evenwatt-trust":2,"signatures":[]}\n{}', ROOTS, "f", "malformed"),
        (b'{"evenwatt-trust":1,"signatures":[' + b"[" * 3000 + b"\n", ROOTS, "f", "malformed"),
        (signed() + b" " * MAX_TRUST_BYTES, ROOTS, "f", "too-large"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(document, roots, fleet, code):
    with pytest.raises(TrustError) as caught:
        open_trust(document, roots, fleet)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"rows": [*ROWS, ROWS[0]]}, "have one key id"),
        ({"rows": [row(NODE, "node", node="n1")]}, "needs 'node' and 'zone'"),
        ({"rows": [row(NODE, "operator", zone="hall")]}, "are for nodes only"),
        ({"rows": [row(NODE, "node", node="n1", zone="a", zones=["b"])]}, "commands nobody"),
        ({"rows": [*ROWS, row(NODE_2, "node", node="n1", zone="other")]}, "stands in zones 'hall' and 'other'"),
        ({"revoked": [revoked(OPERATOR)]}, "both trusted and revoked"),
        ({"days": -1.0}, "expires before it was issued"),
        ({"rows": [row(OPERATOR, "operator", not_before=NOW, not_after=NOW)]}, "ends before it begins"),
    ],
)
def test_keys_that_contradict_each_other_are_neither_signed_nor_read(made, why):
    with pytest.raises(TrustError, match=why):
        signed(**made)


def test_a_field_too_many_is_refused():
    body = write_trust(trust())
    with pytest.raises(TrustError, match="unknown field"):
        parse_trust(body.replace(b'"version"', b'"admin":1,"version"'))
    with pytest.raises(TrustError, match="unknown field"):
        parse_trust(body.replace(b'"role"', b'"sudo":1,"role"', 1))


@given(st.binary(max_size=400))
def test_no_bytes_do_more_than_be_refused(noise):
    for document in (noise, b'{"evenwatt-trust":1,' + noise, signed()[:-5] + noise):
        with pytest.raises(TrustError):
            open_trust(document, ROOTS, "f")


def test_either_of_two_roots_is_enough():
    document = signed(roots=[OTHER_ROOT, ROOT])
    assert len(split_trust(document)[0]) == 2
    assert open_trust(document, ROOTS, "f") == open_trust(document, [raw(OTHER_ROOT)], "f")


def test_only_public_keys_are_roots():
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    pems = [k.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for k in (ROOT, OTHER_ROOT)]
    assert read_roots(b"".join(pems)) == [raw(ROOT), raw(OTHER_ROOT)]
    secret = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for wrong in (b"", b"text", secret, pems[0] + secret, pems[0].replace(b"MCow", b"MCox")):
        with pytest.raises(ValueError):
            read_roots(wrong)


# --- the newest counts ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(min_value=1, max_value=6), max_size=12))
def test_versions_only_rise(versions):
    held = keeper()
    highest = 0
    for version in versions:
        offer = held.offer(signed(version))
        expected = Verdict.ADOPTED if version > highest else Verdict.SAME if version == highest else Verdict.REFUSED
        assert (offer.verdict, offer.version) == (expected, max(version, highest))
        highest = max(version, highest)


def test_another_document_of_the_same_version_is_refused_and_another_signature_is_not():
    held = keeper([*ROOTS, raw(OTHER_ROOT)])
    assert held.offer(signed(2)).verdict is Verdict.ADOPTED
    assert held.offer(signed(2, rows=ROWS[:1])).code == "version"
    assert held.offer(signed(2, roots=[OTHER_ROOT])).verdict is Verdict.SAME


def test_a_bad_offer_leaves_what_is_held():
    held = keeper()
    held.offer(signed(2))
    for bad in (b"", b"{}", signed(3, roots=[OTHER_ROOT]), signed(3, fleet="g"), signed(1)):
        assert held.offer(bad).verdict is Verdict.REFUSED
    assert held.version == 2
    assert held.ring.get(ROWS[0].id) == ROWS[0]


# --- what follows for commands ----------------------------------------------------------------------------------------


def refusal(held, payload, opener=open_command):
    with pytest.raises(CommandError) as caught:
        opener(payload, held.ring)
    return caught.value.code


def test_a_revoked_key_never_counts_again():
    held = keeper()
    held.offer(signed(1))
    open_command(command(), held.ring)
    held.offer(signed(2, rows=ROWS[1:], revoked=[revoked(CONTROLLER)]))
    assert refusal(held, command()) == "revoked-key"
    assert held.offer(signed(1)).code == "version"  # and an old document does not bring it back
    assert refusal(held, command()) == "revoked-key"


def test_a_revoked_nodes_answers_are_dropped():
    held = keeper()
    held.offer(signed(1))
    assert open_ack(seal(ACK, NODE), held.ring, "hall") == ACK
    assert refusal(held, seal(ACK, NODE), lambda payload, ring: open_ack(payload, ring, "other")) == "node"
    held.offer(signed(2, rows=ROWS[:2], revoked=[revoked(NODE)]))
    assert refusal(held, seal(ACK, NODE), open_ack) == "revoked-key"


def test_after_its_end_only_what_gives_back_is_obeyed():
    held = keeper(at_ms=NOW_MS)
    held.offer(signed(days=1.0))
    for op in Op:
        open_command(command(op), held.ring)
    held.test_clock["ms"] += DAY_MS
    for op in (Op.RELEASE, Op.RESUME, Op.STOP, Op.PING):
        open_command(command(op), held.ring)
    for op in (Op.CAP, Op.PAUSE, Op.START):
        assert refusal(held, command(op)) == "trust-expired"
    assert refusal(held, seal(examples.SUBMISSION, OPERATOR), open_submission) == "trust-expired"
    assert "has ended" in held.ends()[0]


def test_keys_overlap_while_one_takes_over():
    old = row(CONTROLLER, "controller", name="old", not_after=NOW + timedelta(days=14))
    new = row(NODE_2, "controller", name="new", not_before=NOW + timedelta(days=1))
    held = keeper()
    held.offer(signed(rows=[old, new]))
    seen = []
    for day in (0, 5, 20):
        held.test_clock["ms"] = NOW_MS + day * DAY_MS
        seen.append([key.name for key in held.ring.current(Role.CONTROLLER)])
    assert seen == [["old"], ["old", "new"], ["new"]]
    assert refusal(held, command()) == "key-time"


def test_a_key_may_be_for_some_of_the_fleet_only():
    narrow = row(OPERATOR, "operator", zones=["hall"], nodes=["n9"])
    assert narrow.reaches("hall", "n1")
    assert narrow.reaches("other", "n9")
    assert not narrow.reaches("other", "n1")
    assert refusal_of_submission(narrow) == "scope"


def refusal_of_submission(key):
    with pytest.raises(CommandError) as caught:
        open_submission(seal(examples.SUBMISSION, OPERATOR), KeyRing([key]))
    return caught.value.code


def test_people_are_told_in_time():
    held = keeper()
    held.offer(signed(days=100.0))
    assert held.ends() == []
    held.test_clock["ms"] = NOW_MS + 75 * DAY_MS
    assert held.ends() == ["trust version 1 ends in 25 days; sign a new one"]
    assert "is not trusted here" in held.own_trouble(row(NODE_2, "node", node="n2", zone="hall").id, Role.NODE)
    assert "expected a controller's" in held.own_trouble(ROWS[1].id, Role.CONTROLLER)
    assert "this is hall/n2" in held.own_trouble(ROWS[2].id, Role.NODE, "n2", "hall")
    assert held.own_trouble(ROWS[2].id, Role.NODE, "n1", "hall") == ""


def test_a_ring_that_ends_needs_a_clock():
    with pytest.raises(ValueError, match="clock"):
        KeyRing([row(OPERATOR, "operator", not_after=NOW)])
    with pytest.raises(ValueError, match="clock"):
        KeyRing(expires_ms=1)
    with pytest.raises(ValueError, match="two keys"):
        KeyRing([ROWS[0], ROWS[0]])


def test_a_node_forgets_the_keys_of_others():
    held = TrustKeeper("f", ROOTS, lambda: NOW_MS, "n2")
    assert held.offer(signed(rows=[*ROWS, row(NODE_2, "node", node="n2", zone="hall")])).verdict is Verdict.ADOPTED
    assert [key.node for key in held.trust.keys] == [None, None, "n2"]
    with pytest.raises(CommandError):
        held.ring.get(ROWS[2].id)


def test_a_good_document_of_before_is_told_from_a_bad_one():
    keeper = TrustKeeper("f", ROOTS, lambda: NOW_MS)
    keeper.offer(signed(5))
    assert keeper.offer(signed(2)).older
    assert not keeper.offer(signed(2, roots=[OTHER_ROOT])).older
    assert not keeper.offer(signed(5, days=1.0)).older
