"""The verbs of enrolment at work: processes, terminals and sockets around the session and the node's side of it."""

from __future__ import annotations

import asyncio
import getpass
import json
import re
import signal
import socket
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from evenwatt_cli.enrolment import placing
from evenwatt_cli.enrolment.joining import Desk
from evenwatt_cli.enrolment.node import join
from evenwatt_cli.enrolment.session import Answer, Applicant, Ask, Session
from evenwatt_cli.enrolment.token import LIFE_S, Token, TokenError
from evenwatt_cli.exits import Exit
from evenwatt_daemon import Failure
from evenwatt_daemon.audit_log import AuditError, AuditLog
from evenwatt_daemon.files import read_private
from evenwatt_wire import TopicError
from evenwatt_wire.keyring import fingerprint, key_id
from evenwatt_wire.topics import check_id

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ANSWER_S: Final = 10.0
_LOG_BYTES: Final = 64 * 1024 * 1024
AUDIT: Final = "enrolment-audit"
"""Folder of the audit log, beside the trust document; `evenwatt audit verify` walks it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What an administrator said."""

    root: Ed25519PrivateKey
    trust: Path
    ca: Path
    broker: str
    listen: str
    name: str | None
    seconds: float
    socket: Path
    yes: bool


def read_token(text: str | None, file: Path | None) -> Token:
    """Read the token from wherever it is.

    Raises:
        Failure: it is none.
    """
    if file is not None:
        text = read_private(file).decode(errors="replace")
    elif text == "-":
        text = sys.stdin.readline()
    try:
        return Token.parse(text or "")
    except TokenError as error:
        raise Failure(str(error)) from None


def enroll_node(token: Token, *, server: str | None, config_dir: Path, user: str, replace: bool, as_json: bool) -> Exit:
    """Join, and put everything down at the end.

    Raises:
        Failure: it did not come to that; nothing is left half done.
    """
    placing.check_free(config_dir, replace=replace)
    print(f"joining as {token.node} of zone {token.zone}, by {server or token.server}", file=sys.stderr)
    enrolled = asyncio.run(join(token, server or token.server, lambda line: print(line, file=sys.stderr, flush=True)))
    left = placing.put_down(enrolled, config_dir, token.node, user)
    public, joined = enrolled.public, enrolled.joined
    if as_json:
        facts = {"node": token.node, "zone": joined.zone, "fleet": joined.fleet, "id": key_id(public).hex()}
        print(json.dumps(facts | {"fingerprint": fingerprint(public), "folder": str(config_dir), "by_hand": left}))
    else:
        print(f"{token.node} has joined fleet {joined.fleet}; keys and settings are in {config_dir}")
        print("It reports when the agent is restarted; to let it be capped, set control.enabled = true there.")
    if left:
        print(f"evenwatt: {left}", file=sys.stderr)
    return Exit.DEGRADED if left else Exit.OK


def ask_token(path: Path, node: str, zone: str, life_s: float, *, as_json: bool) -> Exit:
    """Ask the running session for a token, and print it.

    Raises:
        Failure: there is no session, or it gives none.
    """
    try:
        ask = Ask(check_id(node, "node"), check_id(zone, "zone"), life_s)
    except TopicError as error:
        raise Failure(str(error)) from None
    if life_s > LIFE_S:
        raise Failure(f"a token lives at most {LIFE_S / 60:.0f} minutes; give a shorter --for")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_ANSWER_S)
        try:
            sock.connect(str(path))
            sock.sendall(msgspec.json.encode(ask) + b"\n")
            with sock.makefile("rb") as file:
                answer = msgspec.json.decode(file.readline(), type=Answer)
        except (OSError, msgspec.DecodeError):
            raise Failure(
                f"{path}: no session answers there; start `evenwatt enroll serve` on this machine",
                exit_code=Exit.FAILURE,
            ) from None
    if not answer.token:
        raise Failure(answer.why, exit_code=Exit.REJECTED)
    print(json.dumps({"token": answer.token, "node": node, "zone": zone}) if as_json else answer.token)
    return Exit.OK


def serve_nodes(options: ServeOptions) -> Exit:
    """Keep a session open until its time is over or the person ends it.

    Raises:
        Failure: a file or address cannot be used.
    """
    host, port = _host_port(options.broker, "--broker")
    desk = Desk(options.trust, options.root, options.ca, host, port)
    trust = desk.check()
    desk.check_authority()
    listen_host, listen_port = _host_port(options.listen, "--listen")
    name = options.name or socket.gethostname()
    address = name if re.search(r":\d+$", name) else f"{name}:{listen_port}"
    log = AuditLog(options.trust.resolve().parent / AUDIT, _LOG_BYTES)
    session = Session(desk, address, _yes if options.yes else _ask_person, _say, partial(_note, log))
    _note(log, "enrolment-begun", {"trust": trust.version, "asks": int(not options.yes), "by": getpass.getuser()})
    _say(f"fleet {trust.fleet}, trust version {trust.version}; nodes reach this as {address}")
    asyncio.run(_serve(session, options, listen_host, listen_port))
    _note(log, "enrolment-ended", {"joined": session.joined})
    log.close()
    _say(
        f"the session is over; {session.joined} joined. Give {options.trust} to the collector if it reads another copy"
    )
    return Exit.OK


async def _serve(session: Session, options: ServeOptions, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with session.open(host, port, options.socket):
        _say(f"listening on {host}:{port} for {options.seconds / 60:.0f} minutes: `evenwatt enroll token NODE -z ZONE`")
        try:
            async with asyncio.timeout(options.seconds):
                await stop.wait()
        except TimeoutError:
            return


async def _yes(applicant: Applicant) -> bool:
    _say(_introduced(applicant))
    return True


async def _ask_person(applicant: Applicant) -> bool:
    _say(f"{_introduced(applicant)}\nIs this the fingerprint on the screen of {applicant.node}? [y/N] ")
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not typed.done():
            typed.set_result(sys.stdin.readline())

    try:
        loop.add_reader(sys.stdin.fileno(), read)
    except (OSError, ValueError):  # /dev/null, a file, or nothing at all
        raise Failure("nobody can be asked: start the session in a terminal, or with --yes") from None
    try:
        return (await typed).strip().lower() in {"y", "yes"}
    finally:
        loop.remove_reader(sys.stdin.fileno())


def _introduced(applicant: Applicant) -> str:
    lines = [f"{applicant.node} of zone {applicant.zone}, from {applicant.address}, has proved its token. Its key:"]
    lines.append(f"  {applicant.fingerprint}")
    if applicant.replaces:
        lines.append(f"it has another key now, which will be revoked:\n  {applicant.replaces}")
    return "\n".join(lines)


def _note(log: AuditLog, kind: str, facts: dict[str, str | int]) -> None:
    try:
        log.append(kind, time.time_ns() // 1_000_000, facts)
    except AuditError as error:
        raise Failure(str(error)) from None


def _host_port(text: str, option: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and len(port) < 6) or not 0 <= int(port) <= 65535:
        raise Failure(f"{option} {text!r}: expected HOST:PORT")
    return host.strip("[]"), int(port)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
