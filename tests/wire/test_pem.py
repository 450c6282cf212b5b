"""Key files: what OpenSSL's own library writes is read, and nothing else."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from evenwatt_wire.pem import private_key, public_keys

KEYS = [ed25519.Ed25519PrivateKey.generate() for _ in range(3)]


def private_pem(key, encryption=None, form=PrivateFormat.PKCS8):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_what_openssl_writes_is_read():
    for key in KEYS:
        assert private_key(private_pem(key)) == key.private_bytes_raw()
        assert private_key(b"a comment\n" + private_pem(key).replace(b"\n", b"\r\n")) == key.private_bytes_raw()
    together = b"".join(b"# root\n" + public_pem(key) for key in KEYS)
    assert public_keys(together) == [key.public_key().public_bytes_raw() for key in KEYS]


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (b"", "no PEM block"),
        (public_pem(KEYS[0]), "found PUBLIC KEY, expected PRIVATE KEY"),
        (private_pem(KEYS[0]) * 2, "found 2 keys"),
        (private_pem(KEYS[0], BestAvailableEncryption(b"pass")), "found ENCRYPTED PRIVATE KEY"),
        (private_pem(KEYS[0], form=PrivateFormat.OpenSSH), "found OPENSSH PRIVATE KEY"),
        (private_pem(ec.generate_private_key(ec.SECP256R1())), "another kind"),
        (private_pem(ed448.Ed448PrivateKey.generate()), "another kind"),
        (private_pem(x25519.X25519PrivateKey.generate()), "another kind"),
        (private_pem(KEYS[0]).replace(b"MC4", b"M!4"), "base64"),
        (private_pem(KEYS[0]).replace(b"MC4", b""), "base64"),
    ],
)
def test_nothing_else_is_a_private_key(pem, why):
    with pytest.raises(ValueError, match=why):
        private_key(pem)


@pytest.mark.parametrize("other", [private_pem(KEYS[1]), public_pem(x25519.X25519PrivateKey.generate()), b""])
def test_a_file_of_roots_holds_nothing_else(other):
    with pytest.raises(ValueError, match=r"expected|no PEM"):
        public_keys(public_pem(KEYS[0]) * bool(other) + other)
