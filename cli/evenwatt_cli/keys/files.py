"""Key files: an Ed25519 private key in PEM (mode 0600), and its public half beside it under ``.pub``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from evenwatt_daemon import Failure, read_document
from evenwatt_daemon.files import read_private, write_file

if TYPE_CHECKING:
    from pathlib import Path

_HEAD = "scrypt n=262144 r=8 p=1 salt="


def new_key(path: Path, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """Make a key; write it (PKCS 8, encrypted if there is a passphrase) and its public half.

    Raises:
        Failure: there is a file already, or the folder cannot be written.
    """
    if public_path(path) == path:
        raise Failure(f"{path}: the private key needs another name: .pub is for its public half, written beside it")
    for taken in (path, public_path(path)):
        if taken.exists() or taken.is_symlink():
            raise Failure(
                f"{taken}: there is a file already; a key is never overwritten: name another, or move it away"
            )
    private = Ed25519PrivateKey.generate()
    salt = os.urandom(16)
    how = BestAvailableEncryption(_stretched(passphrase, salt)) if passphrase else NoEncryption()
    head = f"{_HEAD}{salt.hex()}\n".encode() if passphrase else b""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(path, head + private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how), 0o600)
        write_file(public_path(path), public_pem(private.public_key()), 0o644)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; name a folder that this user may write") from None
    return private


def load_key(path: Path, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """Read a private key that nobody else may read.

    Raises:
        Failure: others may read it, it is something else, or the passphrase is missing or wrong.
    """
    pem = read_private(path)
    if passphrase is not None and b"ENCRYPTED" in pem:
        passphrase = _stretched(passphrase, _salt(path, pem))
    try:
        key = load_pem_private_key(pem[max(pem.find(b"-----BEGIN"), 0) :], passphrase)
    except TypeError:
        fix = "give its passphrase (--passphrase-file)" if passphrase is None else "it has none: leave that out"
        raise Failure(f"{path}: {fix}") from None
    except ValueError:
        why = "not a private key in PEM form" if b"ENCRYPTED" not in pem else "the passphrase does not fit"
        raise Failure(f"{path}: {why}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Failure(f"{path}: not an Ed25519 key; make one: evenwatt keys new ROLE NAME")
    return key


def _salt(path: Path, pem: bytes) -> bytes:
    try:
        return bytes.fromhex(pem.split(b"\n", 1)[0].decode().split(_HEAD, 1)[1])
    except (ValueError, IndexError):
        raise Failure(
            f"{path}: its first line is not {_HEAD!r} and a salt; keep the file whole, as `evenwatt keys root` wrote it"
        ) from None


def _stretched(passphrase: bytes, salt: bytes) -> bytes:
    """Make each guess at a passphrase cost 256 MB and most of a second: PKCS 8 alone asks for 2048 rounds only."""
    return Scrypt(salt, 32, n=2**18, r=8, p=1).derive(passphrase).hex().encode()


def is_encrypted(path: Path) -> bool:
    """Whether a private key asks for a passphrase."""
    return b"ENCRYPTED PRIVATE KEY" in read_private(path)


def load_public(path: Path) -> bytes:
    """Read a raw public key from a ``.pub`` file, or from a private key's own file if it has no passphrase.

    Raises:
        Failure: it is something else.
    """
    pem = read_document(path)
    if b"PRIVATE KEY" in pem:
        return raw_public(load_key(path))
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise Failure(f"{path}: not an Ed25519 public key in PEM form, as `evenwatt keys new` writes it (.pub)")
    return key.public_bytes_raw()


def public_pem(public: Ed25519PublicKey) -> bytes:
    """Return a public key as PEM."""
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def raw_public(private: Ed25519PrivateKey) -> bytes:
    """Return the 32 bytes of a key's public half."""
    return private.public_key().public_bytes_raw()


def public_path(path: Path) -> Path:
    """Where the public half of a key stands."""
    return path.with_suffix(".pub")
