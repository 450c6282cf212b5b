"""Signatures checked by libsodium, in about half of the time that OpenSSL takes.

Each lease is answered with a signature, and in a large fleet checking them costs more than everything else together.
libsodium is the stricter one: it refuses keys and points of small order besides what RFC 8032 wants refused.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

_KEYS: Final = 8_192
"""Above the number of keys in a trust document."""


def check_by_sodium(public: str, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature (RFC 8032) is by a raw public key in hexadecimal."""
    try:
        _unpacked(public).verify(message, signature)
    except (CryptoError, ValueError):
        return False
    return True


@lru_cache(maxsize=_KEYS)
def _unpacked(public: str) -> VerifyKey:
    return VerifyKey(bytes.fromhex(public))
