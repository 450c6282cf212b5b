"""Jobs over MQTT: signed by the operator's key, and confirmed by the list of jobs that the collector publishes."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from typing import TYPE_CHECKING, Final

import msgspec

from evenwatt_agent.keys import load_private
from evenwatt_agent.transport import LinkLostError, connect
from evenwatt_cli.exits import Exit
from evenwatt_cli.operator_settings import OperatorSettings, load
from evenwatt_daemon import Failure
from evenwatt_wire import JobList, Kind, Topic, TopicError, WireError, decode, seal
from evenwatt_wire.jobs import Submission
from evenwatt_wire.topics import CONTROLLER_NODE, PREFIX, check_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from evenwatt_agent.transport import Arrived
    from evenwatt_collector.jobs.reading import Entry
    from evenwatt_wire import JobLine

_VALID_MS: Final = 60_000
_ANSWER_S: Final = 15.0
_MOST_CHARACTERS: Final = 3_000
_GONE: Final = frozenset({"cancelled", "done", "failed", "stopping"})
"""States of a job that somebody gives up."""


def send_jobs(entries: Sequence[Entry], *, config: Path | None, as_json: bool) -> Exit:
    """Send jobs one by one, in order, and wait until each stands in the collector's list.

    Raises:
        Failure: the settings lack a key, or a job is too long for a message.
    """
    settings = load(config)
    sent = [_submission(settings, entry.id, _specification(entry)) for entry in entries]
    return _over_mqtt(settings, sent, as_json=as_json)


def send_cancels(ids: Sequence[str], *, config: Path | None, as_json: bool) -> Exit:
    """Send the wish to give jobs up, and wait until the collector's list says so.

    Raises:
        Failure: the settings lack a key.
    """
    settings = load(config)
    return _over_mqtt(settings, [_submission(settings, id_, "") for id_ in ids], as_json=as_json)


def _specification(entry: Entry) -> str:
    text = msgspec.json.encode(msgspec.to_builtins(entry.spec) | {"id": entry.id}).decode()
    given = {key: value for key, value in json.loads(text).items() if value not in (None, "", [], {}, False)}
    text = json.dumps(given, ensure_ascii=False, separators=(",", ":"))
    if len(text) > _MOST_CHARACTERS:
        raise Failure(f"job {entry.spec.name!r} has {len(text):,} characters, a message at most {_MOST_CHARACTERS:,}; "
                      f"submit it with --via http")  # fmt: skip
    return text


def _submission(settings: OperatorSettings, job: str, spec: str) -> Submission:
    now_ms = time.time_ns() // 1_000_000
    return Submission(
        fleet=settings.fleet, id=uuid.uuid4().hex, issued_ms=now_ms, expires_ms=now_ms + _VALID_MS, job=job, spec=spec,
        issuer="operator",
    )  # fmt: skip


def _over_mqtt(settings: OperatorSettings, sent: list[Submission], *, as_json: bool) -> Exit:
    private = _private(settings)
    try:
        topic = Topic(check_id(settings.zone, "zone"), CONTROLLER_NODE, Kind.SUBMIT)
    except TopicError as error:
        raise Failure(str(error)) from None
    try:
        lines = asyncio.run(_exchange(settings, topic, sent, private))
    except LinkLostError as error:
        print(f"evenwatt: {error}", file=sys.stderr)
        return Exit.FAILURE
    silent = [one.job for one in sent if one.job not in lines]
    if as_json:
        print(msgspec.json.encode({"jobs": list(lines.values()), "unconfirmed": silent}).decode())
    else:
        for line in lines.values():
            print(f"{line.id}  {line.name}: {line.state}{f'; {line.why}' if line.why else ''}")
    if silent:
        print(
            f"evenwatt: sent, and not confirmed within {_ANSWER_S:.0f} s: {', '.join(silent)}; does the collector of "
            f"zone {settings.zone!r} trust this key as an operator's, and what does its log say?",
            file=sys.stderr,
        )
        return Exit.TIMEOUT
    given_up = {one.job for one in sent if not one.spec}
    return Exit.REJECTED if any(_rejected(line, cancel=line.id in given_up) for line in lines.values()) else Exit.OK


def _rejected(line: JobLine, *, cancel: bool) -> bool:
    return line.state == "refused" or (cancel and line.state in {"done", "failed"})


async def _exchange(
    settings: OperatorSettings, topic: Topic, sent: list[Submission], private: Ed25519PrivateKey
) -> dict[str, JobLine]:
    """Send all, and return the lines of those that the collector's lists confirm in time."""
    wanted = {one.job: one for one in sent}
    found: dict[str, JobLine] = {}
    async with connect(settings.mqtt, f"evenwatt-cli-{sent[0].id[:12]}") as connection:
        await connection.subscribe(f"{PREFIX}/+/{CONTROLLER_NODE}/{Kind.JOBS.value}")
        for one in sent:
            await connection.publish(str(topic), seal(one, private), qos=1, retain=False)
        try:
            async with asyncio.timeout(_ANSWER_S):
                async for message in connection.messages():
                    found |= {line.id: line for line in _lines(message) if _confirms(line, wanted)}
                    if found.keys() >= wanted.keys():
                        break
        except TimeoutError:
            pass
    return found


def _lines(message: Arrived) -> list[JobLine]:
    try:
        said = decode(Topic.parse(message.topic), message.payload)
    except (WireError, TopicError) as error:
        print(f"evenwatt: ignored {message.topic}: {error}", file=sys.stderr)
        return []
    return list(said.jobs) if isinstance(said, JobList) else []


def _confirms(line: JobLine, wanted: dict[str, Submission]) -> bool:
    asked = wanted.get(line.id)
    return asked is not None and (bool(asked.spec) or line.state in _GONE)


def _private(settings: OperatorSettings) -> Ed25519PrivateKey:
    if not settings.private_key:
        raise Failure("no operator key: set private_key (your Ed25519 key, PEM) in the file named by --config")
    return load_private(settings.private_key)
