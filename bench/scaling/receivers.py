"""One receiver: ``receivers.py ours|gmqtt PORT COUNT`` takes COUNT messages and says what that cost it, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import uvloop
from gmqtt import Client, Subscription

from evenwatt_collector.fleet import Fleet
from evenwatt_collector.ingest import Ingest, Sinks
from evenwatt_collector.link import Link
from evenwatt_daemon.broker import BrokerSettings

_EACH_S = 0.01


class Cost:
    """Processor and wall time from the first message on."""

    def __init__(self) -> None:
        self._cpu_s = self._wall_s = 0.0

    def begin(self) -> None:
        """Begin."""
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()

    def say(self, windows: int) -> None:
        """Print it."""
        cpu_s, wall_s = time.process_time() - self._cpu_s, time.monotonic() - self._wall_s
        print(json.dumps({"windows": windows, "cpu_s": cpu_s, "wall_s": wall_s}), flush=True)
        os._exit(0)


def _nothing(*_: Any) -> None:
    """A sink for what does not come here."""


async def ours(port: int, count: int) -> None:
    """The shipping link, ingest and fleet."""
    fleet, cost = Fleet(), Cost()
    names = ("record", "open_ack", "ack", "open_run", "run", "submit", "jump", "probe", "controller")
    ingest = Ingest(fleet, Sinks(**dict.fromkeys(names, _nothing)), time.monotonic)
    link = Link(
        BrokerSettings(port=port), "bench", ["evenwatt/v1/+/+/live"], receive=ingest.receive, greeting=list, will=None,
        oversized=ingest.oversized,
    )  # fmt: skip
    task = asyncio.create_task(link.run(asyncio.Event()))
    while not link.online:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)
    cost.begin()
    while (taken := ingest.counts["live", "ok"]) < count:  # noqa: ASYNC110
        await asyncio.sleep(_EACH_S)
    cost.say(taken if fleet.known else 0)
    task.cancel()


async def bare_gmqtt(port: int, count: int) -> None:
    """Gmqtt and a counter."""
    cost, done, taken = Cost(), asyncio.Event(), [0]

    def hear(*_: Any) -> None:
        taken[0] += 1
        if taken[0] == count:
            done.set()

    client = Client("bench")
    client.on_message = hear
    await client.connect("127.0.0.1", port, version=4)
    cost.begin()
    client.subscribe([Subscription("evenwatt/v1/+/+/live", qos=1)])
    await done.wait()
    cost.say(taken[0])


if __name__ == "__main__":
    run = {"ours": ours, "gmqtt": bare_gmqtt}[sys.argv[1]]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(int(sys.argv[2]), int(sys.argv[3])))
