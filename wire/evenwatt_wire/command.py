"""The signed envelope around everything that changes a machine's power or runs work on it, and its signed answers.

An envelope is a MessagePack array ``[1, key_id, signature, body]``: the first eight bytes of the SHA-256 of the
signer's public key, an Ed25519 signature over ``context + body`` (RFC 8032), and the body's exact bytes. The
signature is checked over the bytes received, before they are parsed, and they are never encoded again. Commands,
renewals, acknowledgements, reports on runs and submissions are signed under different contexts, so that one can never
be passed off as another.

The order of checks, cheapest first, is: size, known key whose role allows the operation, signature, strict schema,
addressee, expiry, then the anti-replay mark and local limits, which belong to the node (``evenwatt_agent.commands``).
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from evenwatt_wire.codec import MAX_COMMAND_BYTES, MAX_RUN_BYTES
from evenwatt_wire.jobs import JobOrder, RunReport, Submission
from evenwatt_wire.keyring import CommandError, Key, KeyRing, Role, key_id
from evenwatt_wire.messages import Count, DomainId, NodeId, Seconds, Text, WallMs, Watts

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

T = TypeVar("T")

COMMAND_CONTEXT: Final = b"evenwatt-cmd-v1\0"
ACK_CONTEXT: Final = b"evenwatt-ack-v1\0"
RUN_CONTEXT: Final = b"evenwatt-run-v1\0"
SUBMIT_CONTEXT: Final = b"evenwatt-submit-v1\0"
RENEW_CONTEXT: Final = b"evenwatt-renew-v1\0"
MAX_VALIDITY_MS: Final = 120_000
"""A command may not be valid for longer than two minutes altogether."""
CLOCK_MS: Final = 2_000
"""How far a node's clock may be behind the issuer's before it takes what is fresh for something of the future."""
MAX_LEFT_OUT: Final = 3_000
"""Nodes that a renewal may leave out; a zone where more than that are in motion is renewed one by one."""
_MARK_BYTES: Final = 4


class Op(StrEnum):
    """What a command asks for."""

    CAP = "cap"
    RELEASE = "release"
    PAUSE = "pause"
    RESUME = "resume"
    PING = "ping"
    START = "start"
    """Start a run of a template that the node's owner has allow-listed."""
    STOP = "stop"
    """Stop a run; ``keep`` says that it will go on later."""


WORK: Final = frozenset({Op.START, Op.STOP})
"""What runs work, instead of limiting power."""

GIVES_BACK: Final = frozenset({Op.RELEASE, Op.RESUME, Op.STOP, Op.PING})
"""What a key may still ask for when the trust document has expired: nothing that limits power or starts work."""

_ALLOWED: Final[dict[Role, frozenset[Op]]] = {
    Role.CONTROLLER: frozenset(Op),
    Role.OPERATOR: frozenset(Op),
    Role.NODE: frozenset(),
}


class Code(StrEnum):
    """How a command ended; everything from ``rejected`` on changed nothing."""

    APPLIED = "applied"
    CLAMPED = "clamped"
    """Applied, but local limits made it another value; ``after_w`` says which."""
    LOCKED = "locked"
    """The device ignores or refuses limits."""
    UNSUPPORTED = "unsupported"
    DRY_RUN = "dry_run"
    EXPIRED = "expired"
    RESTORED = "restored"
    """Released: the machine's own limits are back."""
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Command(Struct, frozen=True, array_like=True, tag="cmd", forbid_unknown_fields=True):
    """A signed request to one node. Times are the issuer's wall clock, milliseconds since 1970."""

    fleet: NodeId
    node: NodeId
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}(?!\n)$")]
    epoch: Count
    seq: Count
    issued_ms: WallMs
    not_before_ms: WallMs
    expires_ms: WallMs
    op: Op
    target: DomainId = "node"
    """``node``; for pause and resume a name on the node's allow-list; for stop a run."""
    cap_w: Watts | None = None
    fallback_w: Watts | None = None
    """Cap to fall back to when this lease ends; the node's own fallback bounds it."""
    ttl_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    """Length of the lease, counted on the node's monotonic clock."""
    dry_run: bool = False
    issuer: Text = ""
    reason: Text = ""
    job: JobOrder | None = None
    """What to start."""
    keep: bool = False
    """Of a stop: let it save its state first, for it will go on later."""


class Ack(Struct, frozen=True, array_like=True, tag="ack"):
    """A node's signed answer, with what it read back from the device."""

    node: NodeId
    command_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}(?!\n)$")]
    epoch: Count
    seq: Count
    code: Code
    detail: Text
    """For ``rejected`` the failed check; otherwise what a person would want to know."""
    wall_ms: WallMs
    requested_w: Watts | None = None
    before_w: Watts | None = None
    after_w: Watts | None = None
    """Node cap read back from the devices after acting."""
    power_w: Watts | None = None
    delay_s: Seconds = 0.0
    """From receipt to confirmed readback."""
    audit: Annotated[str, Meta(pattern=r"^([0-9]{1,15}:[0-9a-f]{64})?(?!\n)$")] = ""
    """Number and hash of the latest entry in the node's audit log, this command's own included."""


class Renewal(Struct, frozen=True, array_like=True, tag="renew", forbid_unknown_fields=True):
    """One signed message for all nodes of a zone: their leases go on, as they are, for ``ttl_s`` from receipt.

    It grants nothing: it counts only for a lease that is alive and was granted in this epoch under a number below
    ``seq``. So whoever misses it, holds something else or is left out comes to the end of its lease.
    """

    fleet: NodeId
    zone: NodeId
    epoch: Count
    seq: Count
    issued_ms: WallMs
    expires_ms: WallMs
    ttl_s: Annotated[float, Meta(gt=0, le=86_400)]
    left_out: Annotated[bytes, Meta(max_length=_MARK_BYTES * MAX_LEFT_OUT)] = b""
    """Marks of nodes (:func:`node_mark`), one after the other: of which it is not sure what they hold, and those that
    are not steered any more. Of two nodes with one mark both are left out, which costs the other a command."""

    def leaves_out(self, node: str) -> bool:
        """Whether this node's lease does not go on."""
        mark = node_mark(node)
        marks = self.left_out
        return any(marks[i : i + _MARK_BYTES] == mark for i in range(0, len(marks), _MARK_BYTES))


class Envelope(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The outer array."""

    version: Annotated[int, Meta(ge=1, le=1)]
    key_id: Annotated[bytes, Meta(min_length=8, max_length=8)]
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]
    body: bytes


def node_mark(node: str) -> bytes:
    """Return four bytes that stand for a node's name: the first of its SHA-256."""
    return hashlib.sha256(node.encode()).digest()[:_MARK_BYTES]


def seal(
    message: Command | Renewal | Ack | RunReport | Submission,
    private: Ed25519PrivateKey,
    identifier: bytes | None = None,
) -> bytes:
    """Encode and sign what has to be signed; ``identifier`` is the key's id, where it is known already."""
    body = msgspec.msgpack.encode(message)
    context = _CONTEXTS[type(message)]
    if identifier is None:
        identifier = key_id(private.public_key().public_bytes_raw())
    return msgspec.msgpack.encode(Envelope(1, identifier, private.sign(context + body), body))


def open_envelope(payload: bytes, keys: KeyRing, most_bytes: int = MAX_COMMAND_BYTES) -> tuple[Key, Envelope]:
    """Check size, framing and that the key is known; the signature is checked by ``open_command``/``open_ack``.

    Raises:
        CommandError: ``too-large``, ``malformed`` or ``unknown-key``.
    """
    if len(payload) > most_bytes:
        raise CommandError("too-large", f"{len(payload)} bytes; at most {most_bytes} are accepted")
    try:
        envelope = _ENVELOPE.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError("malformed", f"not a signed envelope: {error}") from None
    if msgspec.msgpack.encode(envelope) != payload:  # what was signed has one form only, and so one hash
        raise CommandError("malformed", "not in the shortest form of a signed envelope")
    return keys.get(envelope.key_id), envelope


def open_command(payload: bytes, keys: KeyRing) -> tuple[Key, Command]:
    """Verify and decode a command.

    Raises:
        CommandError: ``too-large``, ``malformed``, ``unknown-key``, ``role``, ``signature`` or ``schema``.
    """
    key, envelope = open_envelope(payload, keys)
    if not _ALLOWED[key.role]:
        raise CommandError("role", f"a {key.role} key may not command")
    _verify(keys, key, envelope, COMMAND_CONTEXT)
    command = _body(_COMMAND, envelope, "a command")
    if command.op not in _ALLOWED[key.role]:
        raise CommandError("role", f"a {key.role} key may not {command.op}")
    if keys.expired and command.op not in GIVES_BACK:
        raise CommandError("trust-expired", f"the trust document has expired: sign a new one before a {command.op}")
    _check_shape(command)
    return key, command


def open_renewal(payload: bytes, keys: KeyRing) -> tuple[Key, Renewal]:
    """Verify and decode a renewal; only a controller's key may renew.

    Raises:
        CommandError: as :func:`open_command`.
    """
    key, envelope = open_envelope(payload, keys, MAX_RUN_BYTES)
    if key.role is not Role.CONTROLLER:
        raise CommandError("role", f"a {key.role} key may not renew the leases of a zone")
    _verify(keys, key, envelope, RENEW_CONTEXT)
    renewal = _body(_RENEWAL, envelope, "a renewal")
    if keys.expired:
        raise CommandError("trust-expired", "the trust document has expired: sign a new one before a renewal")
    return key, renewal


def open_ack(payload: bytes, keys: KeyRing, zone: str | None = None) -> Ack:
    """Verify and decode an acknowledgement; it must be signed by the key bound to the node it names.

    Args:
        payload: The envelope.
        keys: Who is trusted.
        zone: Where it was heard; a node that is bound to another one is refused.

    Raises:
        CommandError: as :func:`open_command`, or ``node`` when another node signed it.
    """
    key, envelope = open_envelope(payload, keys)
    if key.role is not Role.NODE:
        raise CommandError("role", f"a {key.role} key may not acknowledge")
    _verify(keys, key, envelope, ACK_CONTEXT)
    ack = _body(_ACK, envelope, "an acknowledgement")
    _check_signer(key, ack.node, zone)
    return ack


def open_run(payload: bytes, keys: KeyRing, zone: str | None = None) -> RunReport:
    """Verify and decode a report on a run; it must be signed by the key bound to the node it names.

    Raises:
        CommandError: as :func:`open_ack`.
    """
    key, envelope = open_envelope(payload, keys, MAX_RUN_BYTES)
    if key.role is not Role.NODE:
        raise CommandError("role", f"a {key.role} key may not report runs")
    _verify(keys, key, envelope, RUN_CONTEXT)
    report = _body(_RUN, envelope, "a report on a run")
    _check_signer(key, report.node, zone)
    return report


def open_submission(payload: bytes, keys: KeyRing) -> tuple[Key, Submission]:
    """Verify and decode what someone asks of the collector; only an operator's key may.

    Raises:
        CommandError: as :func:`open_command`.
    """
    key, envelope = open_envelope(payload, keys)
    if key.role is not Role.OPERATOR:
        raise CommandError("role", f"a {key.role} key may not submit jobs")
    if key.limited:
        raise CommandError("scope", "this key is for some zones or nodes only; a job may run anywhere")
    _verify(keys, key, envelope, SUBMIT_CONTEXT)
    submission = _body(_SUBMISSION, envelope, "a submission")
    if keys.expired and submission.spec:
        raise CommandError("trust-expired", "the trust document has expired: only cancelling is possible")
    return key, submission


def check_scope(key: Key, zone: str, node: str) -> None:
    """Raise :class:`CommandError` ``scope`` unless the trust document lets this key command this node."""
    if not key.reaches(zone, node):
        raise CommandError("scope", f"key {key.id.hex()} may not command node {node} of zone {zone}")


def check_addressee(command: Command, fleet: str, node: str) -> None:
    """Raise :class:`CommandError` unless the command is for exactly this node of this fleet."""
    if (command.fleet, command.node) != (fleet, node):
        raise CommandError("addressee", f"is for {command.fleet}/{command.node}, this is {fleet}/{node}")


def check_time(command: Command, now_ms: int, *, clock_synchronised: bool) -> None:
    """Raise :class:`CommandError` unless the command is valid at the node's wall time ``now_ms``.

    A node whose clock is not synchronised cannot tell fresh from old, so it accepts only what gives power back or ends
    a run: a run's id is used once, so that an old stop ends nothing else.
    """
    if not command.not_before_ms <= command.issued_ms <= command.expires_ms:
        raise CommandError("validity", "must be issued between the beginning and the end of its validity")
    if command.expires_ms - command.not_before_ms > MAX_VALIDITY_MS:
        raise CommandError("validity", f"is valid for longer than {MAX_VALIDITY_MS // 1000} s")
    if not clock_synchronised:
        if command.op in (Op.RELEASE, Op.RESUME, Op.STOP):
            return
        raise CommandError("clock", f"this node's clock is not synchronised, so it does not accept {command.op}")
    _check_fresh(command.not_before_ms, command.expires_ms, now_ms)


def check_renewal_time(renewal: Renewal, now_ms: int, *, clock_synchronised: bool) -> None:
    """Raise :class:`CommandError` unless a renewal is valid at the node's wall time ``now_ms``."""
    if not 0 <= renewal.expires_ms - renewal.issued_ms <= MAX_VALIDITY_MS:
        raise CommandError("validity", f"must be valid for 0 to {MAX_VALIDITY_MS // 1000} s from its issue")
    if not clock_synchronised:
        raise CommandError("clock", "this node's clock is not synchronised, so it does not accept a renewal")
    _check_fresh(renewal.issued_ms - CLOCK_MS, renewal.expires_ms, now_ms)


def _check_fresh(not_before_ms: int, expires_ms: int, now_ms: int) -> None:
    if now_ms > expires_ms:
        raise CommandError("expired", f"its time was over {now_ms - expires_ms} ms ago; compare the clocks")
    if now_ms < not_before_ms:
        raise CommandError("not-yet", f"is valid only in {not_before_ms - now_ms} ms; compare the clocks")


def _check_signer(key: Key, node: str, zone: str | None) -> None:
    if node != key.node:
        raise CommandError("node", f"names node {node!r} but is signed by the key of {key.node!r}")
    if zone is not None and key.zone not in (None, zone):
        raise CommandError("node", f"was heard in zone {zone!r}, but node {node!r} belongs to zone {key.zone!r}")


def _check_shape(command: Command) -> None:
    if command.op is Op.CAP and (command.cap_w is None or command.ttl_s <= 0):
        raise CommandError("schema", "a cap needs cap_w and a ttl_s above 0")
    if command.op is Op.PAUSE and command.ttl_s <= 0:
        raise CommandError("schema", "a pause needs a ttl_s above 0")
    if (command.op is Op.START) is (command.job is None):
        raise CommandError("schema", "a start, and nothing else, has a job")
    if command.op is Op.STOP and not _RUN_ID.fullmatch(command.target):
        raise CommandError("schema", "a stop has a run as its target, 12 hexadecimal digits")
    if command.op in _OF_THE_NODE and command.target != "node":
        raise CommandError("schema", f"a {command.op} is for the whole node, not for {command.target!r}")
    if command.op is not Op.CAP and not (command.cap_w is None and command.fallback_w is None):
        raise CommandError("schema", f"a {command.op} has no cap_w and no fallback_w")
    if command.op not in (Op.CAP, Op.PAUSE) and command.ttl_s:
        raise CommandError("schema", f"a {command.op} has no ttl_s")
    if command.keep and command.op is not Op.STOP:
        raise CommandError("schema", f"a {command.op} has no keep")


def _verify(keys: KeyRing, key: Key, envelope: Envelope, context: bytes) -> None:
    if not keys.check(key.public, envelope.signature, context + envelope.body):
        raise CommandError("signature", f"the signature of key {key.id.hex()} does not match")


def _body(decoder: msgspec.msgpack.Decoder[T], envelope: Envelope, what: str) -> T:
    try:
        return decoder.decode(envelope.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError("schema", f"the signed body is not {what}: {error}") from None


_OF_THE_NODE: Final = frozenset({Op.CAP, Op.RELEASE, Op.PING, Op.START})
_RUN_ID: Final = re.compile(r"[0-9a-f]{12}")
_ENVELOPE: Final = msgspec.msgpack.Decoder(Envelope)
_COMMAND: Final = msgspec.msgpack.Decoder(Command)
_RENEWAL: Final = msgspec.msgpack.Decoder(Renewal)
_ACK: Final = msgspec.msgpack.Decoder(Ack)
_RUN: Final = msgspec.msgpack.Decoder(RunReport)
_SUBMISSION: Final = msgspec.msgpack.Decoder(Submission)
_CONTEXTS: Final[dict[type, bytes]] = {
    Command: COMMAND_CONTEXT,
    Renewal: RENEW_CONTEXT,
    Ack: ACK_CONTEXT,
    RunReport: RUN_CONTEXT,
    Submission: SUBMIT_CONTEXT,
}

__all__ = [
    "ACK_CONTEXT",
    "CLOCK_MS",
    "COMMAND_CONTEXT",
    "GIVES_BACK",
    "MAX_LEFT_OUT",
    "MAX_VALIDITY_MS",
    "RENEW_CONTEXT",
    "RUN_CONTEXT",
    "SUBMIT_CONTEXT",
    "WORK",
    "Ack",
    "Code",
    "Command",
    "CommandError",
    "Envelope",
    "Key",
    "KeyRing",
    "Op",
    "Renewal",
    "Role",
    "check_addressee",
    "check_renewal_time",
    "check_scope",
    "check_time",
    "key_id",
    "node_mark",
    "open_ack",
    "open_command",
    "open_envelope",
    "open_renewal",
    "open_run",
    "open_submission",
    "seal",
]
