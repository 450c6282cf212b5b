"""``cap``, ``release``, ``pause``, ``resume``: one signed command to one node, and its signed answer."""

from __future__ import annotations

import asyncio
import json
import math
import re
import sys
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_agent.keys import load_private
from evenwatt_agent.transport import LinkLostError, connect
from evenwatt_cli import progress
from evenwatt_cli.exits import Exit
from evenwatt_cli.operator_settings import OperatorSettings, load
from evenwatt_daemon import Failure, read_document
from evenwatt_daemon.settings import parse_document
from evenwatt_wire import (
    Ack,
    Command,
    CommandError,
    KeyRing,
    Kind,
    Role,
    Topic,
    TopicError,
    TrustKeeper,
    Verdict,
    seal,
)
from evenwatt_wire.command import Code, Op, key_id, open_ack
from evenwatt_wire.topics import check_id
from evenwatt_wire.trust import read_roots

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_VALID_MS: Final = 30_000
_ANSWER_S: Final = 10.0
_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Order:
    """What a person asked for."""

    op: str
    node: str
    zone: str | None
    target: str = "node"
    cap_w: float | None = None
    duration: str = ""
    reason: str = ""
    dry_run: bool = False


def steer(order: Order, *, as_json: bool, config: Path | None) -> Exit:
    """Send the command, wait for the acknowledgement, and say what became of it.

    Raises:
        Failure: the settings lack a key, or an argument makes no sense.
    """
    if order.cap_w is not None and not 0 < order.cap_w < math.inf:
        raise Failure(f"{order.cap_w:g} W: watts must be above 0, for example: evenwatt cap {order.node} 300")
    settings = load(config)
    try:
        with progress.waiting(f"waiting for the answer of {order.node}"):
            ack = ask(order, settings)
    except LinkLostError as error:
        print(f"evenwatt: {error}", file=sys.stderr)
        return Exit.FAILURE
    except TimeoutError:
        zone = order.zone or settings.zone
        print(
            f"evenwatt: {order.node} did not answer within {_ANSWER_S:.0f} s; is the agent running with control "
            f"enabled, does it trust this key, and is zone {zone!r} right? (see `evenwatt status`)",
            file=sys.stderr,
        )
        return Exit.TIMEOUT
    print(json.dumps(msgspec.structs.asdict(ack)) if as_json else _in_words(order, ack))
    return _EXITS.get(ack.code, Exit.OK)


def ask(order: Order, settings: OperatorSettings) -> Ack:
    """Send one signed command, and return its verified acknowledgement.

    Raises:
        Failure: the settings lack a key, or an argument makes no sense.
        LinkLostError: there is no connection to the broker.
        TimeoutError: no answer came in time.
    """
    private, keys = _keys(settings)
    try:
        topic = Topic(check_id(order.zone or settings.zone, "zone"), check_id(order.node, "node"), Kind.COMMAND)
    except TopicError as error:
        raise Failure(str(error)) from None
    command = _command(order, settings)
    return asyncio.run(_exchange(settings, topic, command, seal(command, private), keys))


def seconds(text: str) -> float:
    """Read a duration such as ``90s``, ``10m``, ``2h`` or plain seconds.

    Raises:
        Failure: it is not one.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None:
        raise Failure(f"{text!r} is not a duration; write for example 90s, 10m or 2h")
    return float(match[1]) * _UNITS[match[2]]


def _command(order: Order, settings: OperatorSettings) -> Command:
    now_ms = _wall_ms()
    return Command(
        settings.fleet,
        order.node,
        uuid.uuid4().hex,
        0,
        now_ms,  # one person's commands are ordered by their clock
        now_ms,
        now_ms - _VALID_MS,
        now_ms + _VALID_MS,
        Op(order.op),
        target=order.target,
        cap_w=order.cap_w,
        ttl_s=seconds(order.duration) if order.duration else 0.0,
        dry_run=order.dry_run,
        issuer="operator",
        reason=order.reason,
    )


def _keys(settings: OperatorSettings) -> tuple[Ed25519PrivateKey, KeyRing]:
    if not (settings.private_key and settings.trust and settings.root):
        raise Failure(
            "no operator key: set private_key (your Ed25519 key), trust (the trust document) and root (the root's "
            "public key) in the file named by --config"
        )
    private = load_private(settings.private_key)
    keeper = TrustKeeper(settings.fleet, parse_document(settings.root, read_roots), _wall_ms)
    offer = keeper.offer(read_document(settings.trust))
    if offer.verdict is Verdict.REFUSED:
        raise Failure(f"{settings.trust}: {offer.why}")
    own = key_id(private.public_key().public_bytes_raw())
    if trouble := keeper.own_trouble(own, Role.OPERATOR):
        raise Failure(f"{settings.trust}: {trouble}; have your key added, or fetch the newest document")
    for ending in keeper.ends(own):
        print(f"evenwatt: {settings.trust}: {ending}", file=sys.stderr)
    return private, keeper.ring


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


async def _exchange(settings: OperatorSettings, topic: Topic, command: Command, payload: bytes, keys: KeyRing) -> Ack:
    answers = str(topic._replace(kind=Kind.ACK))
    async with asyncio.timeout(_ANSWER_S), connect(settings.mqtt, f"evenwatt-cli-{command.id}") as connection:
        await connection.subscribe(answers)
        await connection.publish(str(topic), payload, qos=1, retain=False)
        async for message in connection.messages():
            try:
                ack = open_ack(message.payload, keys)
            except CommandError as error:
                print(f"evenwatt: ignored an answer that fails a check: {error}", file=sys.stderr)
                continue
            if ack.command_id == command.id:
                return ack
    raise TimeoutError


def _in_words(order: Order, ack: Ack) -> str:
    facts: list[str] = [f"{order.op} {order.node}: {ack.code}"]
    if ack.after_w is not None:
        before = "no cap" if ack.before_w is None else f"{ack.before_w:.0f} W"
        facts.append(f"cap {before} -> {ack.after_w:.0f} W (read back)")
    if ack.power_w is not None:
        facts.append(f"drawing {ack.power_w:.0f} W")
    if ack.detail:
        facts.append(ack.detail)
    return ", ".join(facts)


_EXITS: Final[dict[Any, Exit]] = {
    Code.REJECTED: Exit.REJECTED,
    Code.EXPIRED: Exit.REJECTED,
    Code.UNSUPPORTED: Exit.REJECTED,
    Code.LOCKED: Exit.DEGRADED,
    Code.CLAMPED: Exit.DEGRADED,
}
