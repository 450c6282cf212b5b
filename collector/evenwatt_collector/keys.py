"""The controller's own key and the keys it trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from evenwatt_daemon import Failure, read_document
from evenwatt_wire import CommandError, KeyRing
from evenwatt_wire.command import Role, key_id

if TYPE_CHECKING:
    from evenwatt_collector.settings import KeySettings


def load_keys(settings: KeySettings | None) -> tuple[Ed25519PrivateKey | None, KeyRing]:
    """Read both files; with no settings there is nothing to sign with and nobody to trust.

    Raises:
        Failure: a file cannot be used, naming it and the fix.
    """
    if settings is None:
        return None, KeyRing([])
    private = _private(settings.private_key)
    try:
        ring = KeyRing.from_json(read_document(settings.trust))
    except ValueError as error:  # msgspec's errors are ValueErrors
        fix = 'keys.trust must be JSON like {"keys": [{"public": HEX, "role": "node", "node": NAME}]}'
        raise Failure(f"{settings.trust}: {error}; {fix}") from None
    _check_own(settings, private, ring)
    return private, ring


def _private(path: str) -> Ed25519PrivateKey:
    document = read_document(path)
    try:
        key = load_pem_private_key(document, None)
    except (ValueError, TypeError) as error:
        raise Failure(f"{path}: {error}; keys.private_key must be an unencrypted Ed25519 key in PEM form") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Failure(f"{path}: a {type(key).__name__}; make an Ed25519 key: openssl genpkey -algorithm ed25519")
    return key


def _check_own(settings: KeySettings, private: Ed25519PrivateKey, ring: KeyRing) -> None:
    """Nodes get the same ring: a collector that is not a controller in it would only ever be refused."""
    public = private.public_key().public_bytes_raw()
    try:
        role = ring.get(key_id(public)).role
    except CommandError:
        raise Failure(
            f"{settings.trust}: does not hold the key of {settings.private_key}; add "
            f'{{"public": "{public.hex()}", "role": "controller"}}, there and on the nodes'
        ) from None
    if role is not Role.CONTROLLER:
        raise Failure(f"{settings.trust}: the key of {settings.private_key} is a {role} key; it must be a controller's")
