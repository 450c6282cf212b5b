r"""The fleet's one word on whose keys count, signed by a root key that is kept offline.

The document is two JSON values, one after the other. The first line holds the signatures::

    {"evenwatt-trust":1,"signatures":[{"root":"<key id>","signature":"<128 hexadecimal digits>"}]}

and every byte after its newline is what they sign (Ed25519 over ``"evenwatt-trust-v1\0" + those bytes``). The bytes
are verified as they came before they are parsed, and are never encoded again. One good signature by a root that the
reader has pinned is enough; two roots sign while one takes over from the other.

Versions only rise: who has seen one refuses a lower one, so that a revocation cannot be taken back by an old copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta, Struct

from evenwatt_wire.keyring import Key, Moment, Role, key_id
from evenwatt_wire.messages import NodeId, Text
from evenwatt_wire.pem import public_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TRUST_CONTEXT: Final = b"evenwatt-trust-v1\0"
MAX_TRUST_BYTES: Final = 1024 * 1024
"""About 7,000 keys."""
_MAX_HEAD_BYTES: Final = 4096
_MAX_SIGNATURES: Final = 8

KeyId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]


class TrustError(ValueError):
    """A trust document that fails a check. ``code`` is short and stable, the text is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Revocation(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key that never counts again."""

    id: KeyId
    at: Moment
    name: Text = ""
    reason: Text = ""


class Trust(Struct, frozen=True, forbid_unknown_fields=True):
    """What is signed. A field too many is refused: nothing that is signed may be overlooked."""

    fleet: NodeId
    version: Annotated[int, Meta(ge=1, le=2**53)]
    issued: Moment
    expires: Moment
    """From then on keys may only give back: release, resume, stop, ping."""
    keys: list[Key]
    revoked: list[Revocation] = []

    @property
    def revoked_ids(self) -> frozenset[bytes]:
        """Ids of keys that never count again."""
        return frozenset(bytes.fromhex(row.id) for row in self.revoked)


class Signature(Struct, frozen=True, forbid_unknown_fields=True):
    """One root's signature."""

    root: KeyId
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]


class _Head(Struct, frozen=True, forbid_unknown_fields=True, rename={"form": "evenwatt-trust"}):
    form: Annotated[int, Meta(ge=1, le=1)]
    signatures: Annotated[list[Signature], Meta(min_length=1, max_length=_MAX_SIGNATURES)]


def open_trust(document: bytes, roots: Sequence[bytes], fleet: str) -> Trust:
    """Verify a document against the pinned roots' raw public keys, and return what it says.

    Raises:
        TrustError: ``too-large``, ``unsigned``, ``malformed``, ``unknown-root``, ``signature``, ``schema``, ``fleet``
            or ``keys``.
    """
    signatures, body = split_trust(document)
    if not signatures:
        raise TrustError("unsigned", "is not signed; sign it: evenwatt keys trust sign FILE --root ROOT.pem")
    _verify(signatures, body, roots)
    trust = parse_trust(body)
    if trust.fleet != fleet:
        raise TrustError("fleet", f"is for fleet {trust.fleet!r}; this is fleet {fleet!r}")
    return trust


def split_trust(document: bytes) -> tuple[list[Signature], bytes]:
    """Return signatures, none if it is not signed yet, and the body. Nothing is verified.

    Raises:
        TrustError: ``too-large`` or ``malformed``.
    """
    if len(document) > MAX_TRUST_BYTES:
        raise TrustError("too-large", f"has {len(document)} bytes; at most {MAX_TRUST_BYTES} are accepted")
    head, newline, body = document.partition(b"\n")
    if not head.startswith(b'{"evenwatt-trust"'):
        return [], document
    if not newline or len(head) > _MAX_HEAD_BYTES:
        raise TrustError("malformed", "does not begin with one short line of signatures")
    try:
        return _HEAD.decode(head).signatures, body
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TrustError("malformed", f"its first line is not a list of signatures: {error}") from None


def parse_trust(body: bytes) -> Trust:
    """Read and check a body; whether it is signed is not asked here.

    Raises:
        TrustError: ``schema`` or ``keys``.
    """
    try:
        trust = _TRUST.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TrustError("schema", f"is not a trust document: {error}") from None
    check_trust(trust)
    return trust


def check_trust(trust: Trust) -> None:
    """Raise :class:`TrustError` ``keys`` where keys contradict each other or lack what their role needs."""
    if trust.expires <= trust.issued:
        raise TrustError("keys", "expires before it was issued")
    seen: dict[bytes, Key] = {}
    zones: dict[str, str] = {}
    revoked = trust.revoked_ids
    for key in trust.keys:
        label = _label(key)
        if key.id in seen:
            raise TrustError("keys", f"{label} and {_label(seen[key.id])} have one key id, {key.id.hex()}")
        seen[key.id] = key
        if key.id in revoked:
            raise TrustError("keys", f"{label} is both trusted and revoked; remove it from 'keys'")
        if key.not_before and key.not_after and key.not_after <= key.not_before:
            raise TrustError("keys", f"{label} ends before it begins")
        _check_role(key, label)
        if key.node and zones.setdefault(key.node, key.zone or "") != key.zone:
            raise TrustError("keys", f"node {key.node!r} stands in zones {zones[key.node]!r} and {key.zone!r}")


def _check_role(key: Key, label: str) -> None:
    if key.role is Role.NODE:
        if not (key.node and key.zone):
            raise TrustError("keys", f"{label} is a node's and needs 'node' and 'zone'")
        if key.limited:
            raise TrustError("keys", f"{label} is a node's and commands nobody: remove 'zones' and 'nodes'")
    elif key.node or key.zone:
        raise TrustError("keys", f"{label} is a {key.role}'s: 'node' and 'zone' are for nodes only")


def write_trust(trust: Trust) -> bytes:
    """Return a body: a key a line, so that people can read it and tools can compare two."""
    head = f'{{"fleet":{_text(trust.fleet)},"version":{trust.version}'
    head += f',"issued":{_text(trust.issued)},"expires":{_text(trust.expires)},\n'
    return (f'{head}"keys":[{_rows(trust.keys)}],\n"revoked":[{_rows(trust.revoked)}]}}\n').encode()


def sign_trust(body: bytes, roots: Iterable[Ed25519PrivateKey]) -> bytes:
    """Return the document of a body, signed by each root.

    Raises:
        TrustError: the body would be refused by its readers.
    """
    parse_trust(body)
    rows = [
        Signature(key_id(root.public_key().public_bytes_raw()).hex(), root.sign(TRUST_CONTEXT + body).hex())
        for root in roots
    ]
    document = msgspec.json.encode(_Head(1, rows)) + b"\n" + body
    if len(document) > MAX_TRUST_BYTES:
        raise TrustError("too-large", f"has {len(document)} bytes; at most {MAX_TRUST_BYTES} are accepted")
    return document


def read_roots(pem: bytes) -> list[bytes]:
    """Return the raw public keys of a file of roots: Ed25519 public keys in PEM form, one after the other.

    Raises:
        ValueError: it holds none, or something else.
    """
    if b"PRIVATE" in pem:
        raise ValueError(f"found a private key; {_NO_ROOTS}")
    try:
        return public_keys(pem)
    except ValueError as error:
        raise ValueError(f"{error}; {_NO_ROOTS}") from None


def _verify(signatures: list[Signature], body: bytes, roots: Sequence[bytes]) -> None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  (8 MB that a read-only agent does without)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    pinned = {key_id(root).hex(): root for root in roots}
    ours = [row for row in signatures if row.root in pinned]
    if not ours:
        signers = ", ".join(row.root for row in signatures)
        raise TrustError("unknown-root", f"is signed by root {signers}; pinned here is {', '.join(pinned) or 'none'}")
    for row in ours:
        try:
            Ed25519PublicKey.from_public_bytes(pinned[row.root]).verify(
                bytes.fromhex(row.signature), TRUST_CONTEXT + body
            )
        except (InvalidSignature, ValueError):
            continue
        return
    raise TrustError("signature", f"the signature of root {ours[0].root} does not match: it was changed after signing")


def _label(key: Key) -> str:
    return f"key {key.name or key.node or key.id.hex()!r}"


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _rows(rows: Sequence[Struct]) -> str:
    return "".join(f"\n{_text(row)}," for row in rows).removesuffix(",") + ("\n" if rows else "")


_NO_ROOTS: Final = "give the root's public key (Ed25519, PEM), as `evenwatt keys root` writes it (.pub)"
_HEAD: Final = msgspec.json.Decoder(_Head)
_TRUST: Final = msgspec.json.Decoder(Trust)
