"""Ed25519 keys in PEM files as OpenSSL and ``evenwatt keys`` write them (RFC 8410): a fixed head and 32 bytes.

Read here since the part of the cryptography library that knows all other kinds of key takes 2 MB of an agent's memory.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from typing import Final

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----", re.DOTALL)
_PUBLIC: Final = bytes.fromhex("302a300506032b6570032100")
_PRIVATE: Final = bytes.fromhex("302e020100300506032b657004220420")
_KEY_BYTES: Final = 32


def public_keys(pem: bytes) -> list[bytes]:
    """Return the raw public keys of a file, one after the other, 32 bytes each.

    Raises:
        ValueError: a block holds something else, or there is none.
    """
    return [_key(b"PUBLIC KEY", _PUBLIC, *block) for block in _blocks(pem)]


def private_key(pem: bytes) -> bytes:
    """Return the 32 bytes of a file's only private key.

    Raises:
        ValueError: it holds something else, or more, or the key is encrypted.
    """
    blocks = _blocks(pem)
    if len(blocks) != 1:
        raise ValueError(f"found {len(blocks)} keys, expected one")
    return _key(b"PRIVATE KEY", _PRIVATE, *blocks[0])


def _blocks(pem: bytes) -> list[tuple[bytes, bytes]]:
    blocks: list[tuple[bytes, bytes]] = _BLOCK.findall(pem)
    if not blocks:
        raise ValueError("found no PEM block")
    return blocks


def _key(label: bytes, head: bytes, found: bytes, text: bytes) -> bytes:
    if found != label:
        raise ValueError(f"found {found.decode()}, expected {label.decode()}")
    der = a2b_base64(b"".join(text.split()), strict_mode=True)
    if len(der) != len(head) + _KEY_BYTES or not der.startswith(head):
        raise ValueError(f"found a {label.decode()} of another kind, expected Ed25519")
    return der[len(head) :]
