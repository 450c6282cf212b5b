"""This node's signing key and the keys that it trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenwatt_daemon import Failure
from evenwatt_daemon.settings import parse_document
from evenwatt_wire import KeyRing
from evenwatt_wire.command import key_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from evenwatt_agent.settings import AgentSettings


def load_keys(settings: AgentSettings) -> tuple[Ed25519PrivateKey | None, str, KeyRing]:
    """Return the private key, its id and whom it trusts; nothing where control is off.

    Raises:
        Failure: a file cannot be read or is not what it should be.
    """
    control = settings.control
    if not (control.enabled and control.private_key and control.trust):
        return None, "", KeyRing([])
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  (8 MB)
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    private = parse_document(control.private_key, lambda pem: load_pem_private_key(pem, None))
    if not isinstance(private, Ed25519PrivateKey):
        raise Failure(f"{control.private_key}: not an Ed25519 private key in PEM form")
    keys = parse_document(control.trust, KeyRing.from_json)
    return private, key_id(private.public_key().public_bytes_raw()).hex(), keys
