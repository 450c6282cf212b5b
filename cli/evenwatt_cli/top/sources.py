"""Where the figures of a screen come from: a collector's stream, or this node's own agent, asked each second."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from evenwatt_agent.local import read_status
from evenwatt_cli.asking import ask
from evenwatt_cli.live.fleet import PAST, TOPICS
from evenwatt_cli.live.follow import Lost, Opened, follow
from evenwatt_cli.plain import plain
from evenwatt_cli.status import from_socket_document
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_cli.live.fleet import FleetView, Row
    from evenwatt_cli.operator_settings import OperatorSettings

_EVERY_S = 1.0


async def from_collector(settings: OperatorSettings, view: FleetView, heard: Callable[[], None]) -> None:
    """Keep a view up to date for as long as this runs; ``heard`` is called after each change.

    Raises:
        Failure: the collector refuses.
    """
    async for found in follow(settings, TOPICS):
        now_s = time.monotonic()
        if isinstance(found, Opened):
            view.opened(now_s)
        elif isinstance(found, Lost):
            view.lost(plain(found.why), now_s)
        else:
            view.apply(found, now_s)
        heard()


async def from_agent(settings: OperatorSettings, view: FleetView, heard: Callable[[], None]) -> None:
    """Keep a view of this node alone up to date."""
    while True:
        try:
            said: dict[str, Any] = msgspec.json.decode(await read_status(Path(settings.socket)))
            view.opened(time.monotonic())
            view.take(local_document(said), time.monotonic())
        except (OSError, TimeoutError, ValueError) as error:
            view.lost(plain(str(error) or type(error).__name__), time.monotonic())
        heard()
        await asyncio.sleep(_EVERY_S)


async def past_of(settings: OperatorSettings, zone: str) -> Row | None:
    """Return a zone's last minutes as the collector keeps them; None where it has none."""
    asked = {"zone": zone, "minutes": str(math.ceil(PAST / 60))}
    try:
        said: Row = await asyncio.to_thread(ask, settings, "/api/v1/history", asked)
    except Failure:
        return None
    return said


async def work_of(settings: OperatorSettings, place: tuple[str, str]) -> list[dict[str, Any]]:
    """Return who draws on a node, as the collector tells it of one node at a time; nothing where it does not."""
    try:
        said = await asyncio.to_thread(ask, settings, f"/api/v1/nodes/{quote(place[0])}/{quote(place[1])}")
    except Failure:
        return []
    work: list[dict[str, Any]] = plain(said.get("work") or [])
    return work


def local_document(said: dict[str, Any]) -> dict[str, Any]:
    """Return an agent's own document with what a node's screen shows: its counters, and who draws what."""
    document: dict[str, Any] = plain(from_socket_document(said))
    local = document["local"]
    (node,) = document["nodes"]
    node["total_formula"] = local["birth"]["total_formula"]
    node["domains"] = [
        {"id": one["id"], "power_w": one["mean_w"], "total_j": one["total_j"]}
        for one in local["window"] or ()
        if one["id"] != "node"
    ]
    account = local["account"] or {"parts": [], "tasks": []}
    node["work"] = account["parts"]
    tasks = [{"kind": "task", "name": one["name"], "power_w": one["mean_power_w"]} for one in account["tasks"]]
    node["work"] = node["work"] + tasks
    return document
