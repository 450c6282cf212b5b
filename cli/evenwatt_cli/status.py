"""``evenwatt status``: what a fleet, a zone or a node is doing, from wherever it can be heard.

Three ways, one document. On a node the agent's Unix socket answers, also when the broker is away; the collector's HTTP
knows most; and the retained topics of any broker tell enough. ``docs/status.md`` describes the document.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evenwatt_agent.local import read_status
from evenwatt_agent.transport import LinkLostError, connect
from evenwatt_cli import asking
from evenwatt_cli.exits import Exit
from evenwatt_cli.operator_settings import OperatorSettings, load
from evenwatt_cli.plain import plain
from evenwatt_cli.status_text import print_status
from evenwatt_daemon import Failure
from evenwatt_wire import NodeSummary, State, Topic, ZoneSummary, decode
from evenwatt_wire.messages import NodeState

if TYPE_CHECKING:
    from collections.abc import Callable

_RETAINED_S: Final = 2.0
"""How long the broker may take to send what it retains, after the last message that came."""
_NODE_KEYS: Final = (
    "node", "zone", "state", "power_w", "cap_w", "lease", "quality", "energy_j", "emissions_g", "age_s", "paused",
)  # fmt: skip
_ZONE_KEYS: Final = (
    "zone", "band", "power_w", "budget_w", "leased_w", "emissions_g_per_h", "emissions_g", "intensity_g_per_kwh",
    "intensity_source", "intensity_standing", "pue", "nodes", "silent", "capped", "alarms",
)  # fmt: skip

_CLOSED: Final = "not open to this user; join the group of the agent's service (evenwatt), or use sudo"
_SAYS: Final = {"local": "this node's own agent says", "mqtt": "the broker retains, which may be old"}
_COLLECTOR_KEYS: Final = ("role", "name", "active", "shard", "shards", "epoch", "ready", "reasons")
_COLLECTORS_KEYS: Final = (
    "zones", "nodes", "workloads", "grids", "jobs", "services", "planning", "otlp", "budgets", "alerts", "webhooks",
)  # fmt: skip
"""Rows are passed on as they are: a collector knows more of each than anybody else."""

Document = dict[str, Any]


def show_status(name: str | None, *, via: str, as_json: bool, config: Path | None) -> Exit:
    """Print the status of everything, a zone or a node.

    Raises:
        Failure: nobody can be asked, or there is no such zone or node.
    """
    settings = load(config)
    document = _select(_ask(settings, via), name)
    if as_json:
        print(json.dumps(document))
    else:
        print_status(document)
    return Exit.DEGRADED if worries(document) else Exit.OK


def worries(document: Document) -> list[str]:
    """Return in words what makes a status degraded; docs/cli.md lists the same."""
    collector = document.get("collector")
    found = []
    if collector and not collector["ready"]:
        reasons = collector["reasons"][collector["role"] == "standby" :]  # that a standby stands by is as it should be
        found += [f"collector: {why}" for why in reasons]
    for zone in document["zones"]:
        found += [f"zone {zone['zone']}: {alarm}" for alarm in zone["alarms"] or ()]
        if zone["silent"]:
            found.append(f"zone {zone['zone']}: {zone['silent']} silent")
        if not zone.get("linked", True):
            found.append(f"zone {zone['zone']}: the collector is cut off from it")
    for node in document["nodes"]:
        if node["state"] == "lost" or node.get("silent"):
            found.append(f"node {node['zone']}:{node['node']}: {'silent' if node.get('silent') else 'lost'}")
    if "local" in document:
        link = document["local"]["link"]
        found += [f"broker: {link['trouble']}"] if link["trouble"] else []
        found += [f"records cannot be kept: {link['spool']['trouble']}"] if link["spool"]["trouble"] else []
    return found


def _ask(settings: OperatorSettings, via: str) -> Document:
    ways: dict[str, Callable[[OperatorSettings], Document]] = {
        "collector": _from_collector,
        "local": _from_socket,
        "mqtt": _from_broker,
    }
    if via != "auto" and via not in ways:
        raise Failure(f"--via {via!r}: expected auto, {', '.join(ways)}")
    if via != "auto":
        return _by(via, ways[via], settings)
    tried: dict[str, Failure] = {}
    for name, way in ways.items():
        try:
            said = _by(name, way, settings)
        except Failure as failure:
            if failure.exit_code in {Exit.USAGE, Exit.REJECTED}:  # there is somebody, and this has to be put right
                raise
            tried[name] = failure
            continue
        if tried:
            print(f"evenwatt: {tried['collector']}. This is what {_SAYS[name]}.", file=sys.stderr)
        return said
    late = any(failure.exit_code == Exit.TIMEOUT for failure in tried.values())
    raise Failure(
        f"nobody to ask ({'; '.join(f'{name}: {why}' for name, why in tried.items())}); start an agent or collector, "
        f"or say where they are with --config",
        exit_code=Exit.TIMEOUT if late else Exit.FAILURE,
    )


def ask_collector(settings: OperatorSettings) -> Document:
    """Return the collector's status document.

    Raises:
        Failure: it cannot be had.
    """
    return _by("collector", _from_collector, settings)


def ask_socket(settings: OperatorSettings) -> Document:
    """Return the status document of this node's own agent.

    Raises:
        Failure: it cannot be had.
    """
    return _by("local", _from_socket, settings)


def _by(name: str, way: Callable[[OperatorSettings], Document], settings: OperatorSettings) -> Document:
    try:
        return plain({"via": name, **way(settings)})  # type: ignore[no-any-return]
    except TimeoutError:
        raise Failure("no answer in time", exit_code=Exit.TIMEOUT) from None
    except (OSError, KeyError, ValueError) as error:
        raise Failure(f"{error}" or type(error).__name__, exit_code=Exit.FAILURE) from None


def _from_collector(settings: OperatorSettings) -> Document:
    answer = asking.ask(settings, "/api/v1/status")
    collector = {key: answer[key] for key in _COLLECTOR_KEYS if key in answer}
    if answer["role"] == "standby":  # it watches over the active one; the fleet is on the broker
        return {"collector": collector, **_from_topics(settings)}
    return {"collector": collector, **{key: answer[key] for key in _COLLECTORS_KEYS}}


def _from_socket(settings: OperatorSettings) -> Document:
    path = Path(settings.socket)
    if not os.access(path, os.W_OK):
        raise OSError(f"{path}: {_CLOSED if path.exists() else 'no agent here'}")
    return from_socket_document(json.loads(asyncio.run(read_status(path))))


def from_socket_document(said: Document) -> Document:
    """Return what an agent says on its socket as a status document."""
    node = {**said["summary"], "zone": said["zone"], "state": "ready", "age_s": 0.0}
    return {"zones": [], "nodes": [_only(node, _NODE_KEYS)], "local": said}


def _from_topics(settings: OperatorSettings) -> Document:
    return asyncio.run(_listen(settings))


def _from_broker(settings: OperatorSettings) -> Document:
    said = _from_topics(settings)
    if not (said["zones"] or said["nodes"]):
        raise OSError(f"broker {settings.mqtt.where} retains nothing: no agent and no collector has spoken there yet")
    return said


async def _listen(settings: OperatorSettings) -> Document:
    """Collect what the broker retains; a node is as old as its last summary."""
    states: dict[tuple[str, str], State] = {}
    summaries: dict[tuple[str, str], NodeSummary] = {}
    zones: dict[str, ZoneSummary] = {}
    try:
        async with connect(settings.mqtt, f"evenwatt-status-{secrets.token_hex(8)}") as connection:
            await connection.subscribe("evenwatt/v1/+/+/state", "evenwatt/v1/+/+/summary")
            async with asyncio.timeout(_RETAINED_S) as limit:
                async for message in connection.messages():
                    if not message.retained:
                        continue
                    limit.reschedule(asyncio.get_running_loop().time() + _RETAINED_S)
                    try:
                        topic = Topic.parse(message.topic)
                        said = decode(topic, message.payload)
                    except ValueError as error:
                        print(plain(f"evenwatt: ignored {message.topic}: {error}"), file=sys.stderr)
                        continue
                    if isinstance(said, ZoneSummary):
                        zones[topic.zone] = said
                    elif isinstance(said, NodeSummary):
                        summaries[topic.zone, topic.node] = said
                    elif isinstance(said, State):
                        states[topic.zone, topic.node] = said
    except TimeoutError:
        pass
    except LinkLostError as error:
        raise OSError(str(error)) from None
    return {
        "zones": [_only(_as_dict(zone), _ZONE_KEYS) for zone in zones.values()],
        "nodes": [_topic_node(key, states.get(key), summaries.get(key)) for key in sorted(states.keys() | summaries)],
    }


def _topic_node(key: tuple[str, str], state: State | None, summary: NodeSummary | None) -> Document:
    node: Document = _as_dict(summary) if summary else {}
    now_ms = time.time() * 1e3
    stale = state is not None and summary is not None and summary.boot != state.boot
    node |= {
        "zone": key[0],
        "node": key[1],
        "state": (state.state if state and not stale else NodeState.INIT).value,
        "age_s": max(0.0, (now_ms - summary.wall_ms) / 1e3) if summary else None,
    }
    return _only(node, _NODE_KEYS)


def _as_dict(message: object) -> Document:
    return {name: getattr(message, name) for name in message.__struct_fields__}  # type: ignore[attr-defined]


def _only(row: Document, keys: tuple[str, ...]) -> Document:
    return {key: row.get(key) for key in keys}


def _select(document: Document, name: str | None) -> Document:
    if name is None:
        return document
    zones = [zone for zone in document["zones"] if zone["zone"] == name]
    nodes = [node for node in document["nodes"] if name in (node["node"], node["zone"])]
    if not zones and not nodes:
        known = sorted({node["node"] for node in document["nodes"]} | {zone["zone"] for zone in document["zones"]})
        raise Failure(f"no zone or node {name!r}; known are {', '.join(known) or 'none'}")
    return {**document, "zones": zones, "nodes": nodes}
