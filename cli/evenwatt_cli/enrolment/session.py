"""An enrolment session: for as long as an administrator keeps it open, nodes with a token may join.

The root key is in this process's memory for that time and nowhere else. The one decision, whether a node joins, is a
person's; everything before it is proved, everything after it is signed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import socket
import struct
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from evenwatt_cli.enrolment.certificate import make_context
from evenwatt_cli.enrolment.talk import (
    MAX_WISH_BYTES,
    POSSESSION,
    Refused,
    Said,
    TalkError,
    Waiting,
    Welcome,
    Wish,
    digest_of,
    hear,
    pack,
)
from evenwatt_cli.enrolment.token import Token, TokenBook, TokenError, prove
from evenwatt_daemon import Failure
from evenwatt_wire.keyring import fingerprint
from evenwatt_wire.messages import NodeId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from evenwatt_cli.enrolment.joining import Desk

_SPEAK_S: Final = 10.0
"""How long a stranger may take to prove a token."""
_AT_ONCE: Final = 16
_WRONG_PAUSE_S: Final = 1.0
"""After a wrong proof its sender waits: with 256 bits of secret this is for the log's sake, not for the secret's."""
_REFUSALS_NOTED: Final = 200
_CREDENTIALS: Final = struct.Struct("3i")


class Ask(Struct, frozen=True, forbid_unknown_fields=True):
    """What the administrator's other terminal asks for: a token."""

    node: NodeId
    zone: NodeId
    life_s: float


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """A token, or why there is none."""

    token: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Applicant:
    """A node that has proved its token and waits for a person."""

    node: str
    zone: str
    public: bytes
    address: str
    replaces: str
    """Fingerprint of a key that the node had before; empty if it is new."""

    @property
    def fingerprint(self) -> str:
        """Of its key, as it shows it on its own screen."""
        return fingerprint(self.public)


class Session:
    """One session.

    Args:
        desk: Signs and certifies.
        address: What nodes call this session by, host and port.
        confirm: Asks the person; True lets a node in.
        say: Tells the person what happens, a line each.
        note: Enters what happens into the audit log: a word and facts.
    """

    def __init__(
        self,
        desk: Desk,
        address: str,
        confirm: Callable[[Applicant], Awaitable[bool]],
        say: Callable[[str], None],
        note: Callable[[str, dict[str, str | int]], None],
    ) -> None:
        self._desk, self._confirm, self._say, self._note = desk, confirm, say, note
        self._context, der = make_context(address.rpartition(":")[0])
        self._certificate = hashlib.sha256(der).digest()
        self.book = TokenBook(address, self._certificate)
        self._seats = asyncio.Semaphore(_AT_ONCE)
        self._asking = asyncio.Lock()
        self.joined = self._refused = 0

    @asynccontextmanager
    async def open(self, host: str, port: int, control: Path) -> AsyncIterator[int]:
        """Listen for nodes, and on a local socket for the administrator; yield the port.

        Raises:
            Failure: it cannot listen there.
        """
        try:
            server = await asyncio.start_server(
                self._meet, host, port, ssl=self._context, ssl_handshake_timeout=_SPEAK_S
            )
        except OSError as error:
            raise Failure(f"{host}:{port}: {error.strerror or error}; name another --listen") from None
        try:
            local = await _listen_locally(control, self._serve_administrator)
        except OSError as error:
            server.close()
            raise Failure(
                f"{control}: {error.strerror or error}; does another session run? name another --socket"
            ) from None
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            local.close()
            _clear(control)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        address = str(peer[0]) if peer else "?"
        try:
            if self._seats.locked():
                return
            async with self._seats:
                await self._converse(reader, writer, address)
        except (TalkError, TokenError, Failure) as error:
            self._say(f"refused {address}: {error}")
            self._refused += 1
            if self._refused <= _REFUSALS_NOTED:  # strangers must not fill the log
                self._note("enrolment-refused", {"address": address, "why": str(error)[:300]})
            await asyncio.sleep(_WRONG_PAUSE_S)
            with suppress(OSError):
                await _tell(writer, Refused(str(error)[:400]))
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            self._say(f"{address} went away before it had joined")
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        nonce = secrets.token_bytes(32)
        await _tell(writer, Welcome(nonce))
        async with asyncio.timeout(_SPEAK_S):
            wish = await hear(reader, MAX_WISH_BYTES)
        if not isinstance(wish, Wish):
            raise TalkError(f"said {type(wish).__name__.lower()} where its wish was expected")
        digest = digest_of(self._certificate, nonce, wish)
        token = self.book.claim(wish.token, wish.node, digest, wish.proof, time.monotonic())
        _check_possession(wish, digest)
        self._desk.check_request(wish.request)
        await _tell(writer, Waiting())
        applicant = Applicant(token.node, token.zone, wish.public, address, self._desk.present(token.node))
        async with self._asking:  # one question at a time
            if not await self._still_there(reader, applicant):
                return
        facts: dict[str, str | int] = {"node": applicant.node, "zone": applicant.zone, "address": address}
        facts |= {"fingerprint": applicant.fingerprint, "replaces": applicant.replaces}
        self._note("enrolment-confirmed", facts)  # nothing is signed that could not be entered
        joined = await asyncio.to_thread(self._desk.join, applicant.node, applicant.zone, wish.public, wish.request)
        proof = prove(token.secret, b"session", digest_of(self._certificate, nonce, joined))
        await _tell(writer, msgspec.structs.replace(joined, proof=proof))
        self.joined += 1
        self._note("enrolled", {"node": applicant.node, "fingerprint": applicant.fingerprint})
        self._say(f"{applicant.node} of zone {applicant.zone} has joined, key {applicant.fingerprint}")

    async def _still_there(self, reader: asyncio.StreamReader, applicant: Applicant) -> bool:
        """Ask the person, unless the node goes away meanwhile: then nothing is signed."""
        asked = asyncio.ensure_future(self._confirm(applicant))
        gone = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done() or not asked.done():
            asked.cancel()
            raise ConnectionResetError
        gone.cancel()
        if not asked.result():
            raise TalkError(f"the administrator did not let {applicant.node} in")
        return True

    async def _serve_administrator(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            sock: Any = writer.get_extra_info("socket")
            _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
            if uid not in (0, os.geteuid()):
                return
            async with asyncio.timeout(_SPEAK_S):
                line = await reader.readline()
            writer.write(msgspec.json.encode(self._give(line)) + b"\n")
            await writer.drain()
        except (OSError, TimeoutError, ValueError):
            return
        finally:
            writer.close()

    def _give(self, line: bytes) -> Answer:
        try:
            ask = msgspec.json.decode(line, type=Ask)
            token: Token = self.book.issue(ask.node, ask.zone, time.monotonic(), ask.life_s)
        except (msgspec.MsgspecError, TokenError) as error:
            return Answer(why=str(error))
        self._say(f"a token was given out for node {ask.node} of zone {ask.zone}")
        self._note("enrolment-token", {"node": ask.node, "zone": ask.zone, "id": token.id.hex()})
        return Answer(token=str(token))


async def _listen_locally(path: Path, serve: Any) -> asyncio.Server:
    _clear_stale(path)
    before = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(serve, path)
    finally:
        os.umask(before)


def _clear(path: Path) -> None:
    path.unlink(missing_ok=True)


def _clear_stale(path: Path) -> None:
    """Remove the socket of a session that was killed."""
    if path.is_socket() and not _answers(path):
        path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


async def _tell(writer: asyncio.StreamWriter, said: Said) -> None:
    writer.write(pack(said))
    async with asyncio.timeout(_SPEAK_S):
        await writer.drain()


def _check_possession(wish: Wish, digest: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(wish.public).verify(wish.possession, POSSESSION + digest)
    except (InvalidSignature, ValueError):
        raise TalkError("the node has not proved that it holds its key") from None
