"""The node's side of joining a fleet: keys are made here, and the session is proved to be the right one."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from evenwatt_cli.broker.certificates import new_key_and_request
from evenwatt_cli.enrolment.talk import (
    MAX_ANSWER_BYTES,
    POSSESSION,
    Joined,
    Refused,
    TalkError,
    Waiting,
    Welcome,
    Wish,
    digest_of,
    hear,
    pack,
    plain,
)
from evenwatt_cli.enrolment.token import Token, prove
from evenwatt_cli.exits import Exit
from evenwatt_daemon import Failure
from evenwatt_wire import Role, TrustError, open_trust
from evenwatt_wire.keyring import fingerprint
from evenwatt_wire.trust import read_roots

if TYPE_CHECKING:
    from collections.abc import Callable

S = TypeVar("S", Welcome, Waiting, Joined)

_CONNECT_S: Final = 10.0
_PERSON_S: Final = 900.0
"""How long a person may take to compare fingerprints."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What a node has when it has joined; the keys were made here."""

    joined: Joined
    key: bytes
    """The node's private key (PEM)."""
    tls_key: bytes
    public: bytes


async def join(token: Token, server: str, say: Callable[[str], None]) -> Enrolled:
    """Join the fleet whose session gave out this token.

    Raises:
        Failure: the session cannot be reached, is not the one that gave out the token, or refuses.
    """
    host, _, port = server.rpartition(":")
    if not (host and port.isascii() and port.isdigit()):
        raise Failure(f"{server!r} is not a host and a port; expected for example admin-1:9731")
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=_any_certificate())
    except (OSError, TimeoutError) as error:
        why = str(error) or "no answer"
        raise Failure(
            f"{server}: {why}; is `evenwatt enroll serve` running there, and may this machine reach it?",
            exit_code=Exit.TIMEOUT if isinstance(error, TimeoutError) else Exit.FAILURE,
        ) from None
    try:
        _check_certificate(writer, token, server)
        return await _converse(reader, writer, token, say)
    except (OSError, asyncio.IncompleteReadError):
        raise Failure(
            f"{server} ended the connection; nothing was written here: ask for a new token", exit_code=Exit.FAILURE
        ) from None
    except TimeoutError:
        raise Failure(
            f"{server} does not answer; nothing was written here: ask for a new token", exit_code=Exit.TIMEOUT
        ) from None
    except TalkError as error:
        raise Failure(f"{server}: {error}", exit_code=Exit.REJECTED) from None
    finally:
        writer.close()


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: Token, say: Callable[[str], None]
) -> Enrolled:
    welcome = await _expect(reader, Welcome, _CONNECT_S)
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    tls_key, request = new_key_and_request(token.node)
    wish = Wish(token.id, token.node, public, request)
    digest = digest_of(token.fingerprint, welcome.nonce, wish)
    wish = msgspec.structs.replace(
        wish, possession=private.sign(POSSESSION + digest), proof=prove(token.secret, b"node", digest)
    )
    writer.write(pack(wish))
    await writer.drain()
    await _expect(reader, Waiting, _CONNECT_S)
    say(f"fingerprint of this node's key:\n  {fingerprint(public)}\nwaiting for the administrator to compare it")
    joined = await _expect(reader, Joined, _PERSON_S)
    _check_joined(joined, token, welcome.nonce, public)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Enrolled(joined, pem, tls_key, public)


def _check_joined(joined: Joined, token: Token, nonce: bytes, public: bytes) -> None:
    digest = digest_of(token.fingerprint, nonce, joined)
    if not hmac.compare_digest(prove(token.secret, b"session", digest), joined.proof):
        raise TalkError("the session has not proved that it knows the token; nothing was written here")
    try:
        trust = open_trust(joined.trust, read_roots(joined.root), joined.fleet)
    except (TrustError, ValueError) as error:
        raise TalkError(f"the trust document that it sent {error}") from None
    row = next((key for key in trust.keys if key.public == public.hex()), None)
    if row is None or (row.role, row.node, row.zone) != (Role.NODE, token.node, token.zone):
        raise TalkError("the trust document that it sent does not hold this node's key")


async def _expect(reader: asyncio.StreamReader, kind: type[S], within_s: float) -> S:
    async with asyncio.timeout(within_s):
        said = await hear(reader, MAX_ANSWER_BYTES)
    if isinstance(said, Refused):
        raise TalkError(plain(said.why))
    if not isinstance(said, kind):
        raise TalkError(f"said {type(said).__name__.lower()} where {kind.__name__.lower()} was expected")
    return said


def _check_certificate(writer: asyncio.StreamWriter, token: Token, server: str) -> None:
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    if not hmac.compare_digest(hashlib.sha256(shown).digest(), token.fingerprint):
        raise Failure(
            f"{server} is not the session that gave out this token: another certificate. Somebody may be in between; "
            "nothing was sent. If the session was started anew, ask for a new token",
            exit_code=Exit.REJECTED,
        )


def _any_certificate() -> ssl.SSLContext:
    """TLS that takes any certificate: which one it must be is compared before a word is said."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
