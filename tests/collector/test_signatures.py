from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evenwatt_collector.signatures import check_by_sodium
from evenwatt_wire.keyring import check_signature

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group (RFC 8032, 5.1)."""
MESSAGE = b"a lease" * 40


def both(public, signature, message=MESSAGE):
    return check_signature(public, signature, message), check_by_sodium(public, signature, message)


def test_both_checks_agree_on_every_bit():
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public, signature = private.public_key().public_bytes_raw().hex(), private.sign(MESSAGE)
    assert both(public, signature) == (True, True)
    for bit in range(8 * len(signature)):
        other = bytearray(signature)
        other[bit // 8] ^= 1 << bit % 8
        assert both(public, bytes(other)) == (False, False)
    for message in (b"", MESSAGE[:-1], MESSAGE + b"\0"):
        assert both(public, signature, message) == (False, False)
    another = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    assert both(another, signature) == (False, False)


def test_a_second_form_of_a_signature_is_refused_by_both():
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public, signature = private.public_key().public_bytes_raw().hex(), private.sign(MESSAGE)
    larger = int.from_bytes(signature[32:], "little") + ORDER
    assert both(public, signature[:32] + larger.to_bytes(32, "little")) == (False, False)


def test_what_is_no_key_or_no_signature_is_refused_in_silence():
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    for signature in (b"", bytes(63), bytes(64), bytes(65), b"\xff" * 64):
        assert both(public, signature) == (False, False)
    for key in ("", "00" * 31, "ff" * 32):
        assert both(key, bytes(64)) == (False, False)
    # A key of small order, under which anybody can sign: only the stricter one has no such keys.
    assert not check_by_sodium("01" + "00" * 31, b"\x01" + bytes(63), MESSAGE)
