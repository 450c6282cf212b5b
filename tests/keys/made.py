"""Trust documents for tests, of fixed keys and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evenwatt_wire import Key, Revocation, Role, Trust, sign_trust, write_trust

NOW = datetime(2026, 11, 28, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
DAY_MS = 86_400_000


def private(number):
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def raw(key):
    return key.public_key().public_bytes_raw()


ROOT, OTHER_ROOT, CONTROLLER, OPERATOR, NODE, NODE_2 = (private(number) for number in range(1, 7))
ROOTS = [raw(ROOT)]


def row(key, role, **more):
    return Key(raw(key).hex(), Role(role), **more)


ROWS = [
    row(CONTROLLER, "controller", name="main"),
    row(OPERATOR, "operator", name="ada"),
    row(NODE, "node", name="n1", node="n1", zone="hall"),
]


def trust(version=1, *, rows=ROWS, revoked=(), days=365.0, fleet="f", issued=NOW):
    return Trust(fleet, version, issued, issued + timedelta(days=days), list(rows), list(revoked))


def signed(version=1, *, roots=(ROOT,), **more):
    return sign_trust(write_trust(trust(version, **more)), roots)


def revoked(key, name=""):
    return Revocation(row(key, "operator").id.hex(), NOW, name)
