"""What serves in the scenario: answers requests with the variant that the collector decides, and counts them.

``python -m evenwatt_cli.demo.clean.serving --port P --guests DIR --socket PATH``. It works on a simulated machine, as
any program would on a real one: it follows ``evenwatt/v1/ZONE/_ctl/deployments`` and tells its agent which model it
runs as tasks. Before it serves it measures each variant once, since nothing is known of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiomqtt

from evenwatt_agent import task_client
from evenwatt_cli.demo.clean.files import MODEL, SERVICE, UNIT, ZONE
from evenwatt_wire import Deployments, Kind, Topic, WireError, decode
from evenwatt_wire.topics import CONTROLLER_NODE

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUESTS_PER_S: Final = 40.0
"""The same, whichever variant answers: demand does not follow the grid."""
MEASURED_S: Final = 14.0
"""So long each variant runs before the service begins."""
MEASURED: Final = "both variants are measured"
_LOOK_S: Final = 0.25
_COUNT_S: Final = 1.0
_RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What answering takes of the machine."""

    load: float


VARIANTS: Final[Mapping[str, Cost]] = {f"{MODEL}:large": Cost(0.85), f"{MODEL}:small": Cost(0.25)}


class Service:
    """One service on one machine.

    Args:
        guests: The machine's folder of that name.
        socket: Where its agent listens for tasks.
    """

    def __init__(self, guests: Path, socket: str) -> None:
        self._guests, self._socket = guests, socket
        self.wanted = ""
        """The variant to run, as it was told last."""
        self._task = ""
        self._variant = ""
        self._counted_s = 0.0

    async def measure(self) -> None:
        """Run each variant for a while."""
        for variant in VARIANTS:
            self._run(variant)
            await self._serve_for(MEASURED_S)
            self._end()
        print(MEASURED, flush=True)

    async def serve(self) -> None:
        """Answer requests with the variant that is wanted, until cancelled."""
        while True:
            if self.wanted in VARIANTS and self.wanted != self._variant:
                self._end()
                self._run(self.wanted)
                print(f"now {self.wanted}", flush=True)
            self._count()
            await asyncio.sleep(_LOOK_S)

    def close(self) -> None:
        """Count what was answered, and leave the machine."""
        self._end()

    async def _serve_for(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            await asyncio.sleep(_LOOK_S)
            self._count()

    def _run(self, variant: str) -> None:
        self._task, self._variant = task_client.new_id(), variant
        self._ask({
            "op": "start", "id": self._task, "name": SERVICE, "workload": SERVICE, "model": variant, "phase": "infer",
            "team": "demo", "reserve": 1.0,
        })  # fmt: skip
        draft = self._guests / f"{os.getpid()}.new"
        draft.write_text(json.dumps({"load": VARIANTS[variant].load}))
        draft.replace(self._guests / f"{os.getpid()}.json")
        self._counted_s = time.monotonic()

    def _count(self, *, last: bool = False) -> None:
        now_s = time.monotonic()
        if self._task and (last or now_s - self._counted_s >= _COUNT_S):
            answered = (now_s - self._counted_s) * REQUESTS_PER_S
            self._counted_s = now_s
            self._ask({"op": "units", "id": self._task, "amount": answered, "unit": UNIT})

    def _end(self) -> None:
        if not self._task:
            return
        self._count(last=True)
        self._ask({"op": "end", "id": self._task})
        (self._guests / f"{os.getpid()}.json").unlink(missing_ok=True)
        self._task = self._variant = ""

    def _ask(self, request: dict[str, Any]) -> None:
        try:
            task_client.ask(request, self._socket)
        except (OSError, task_client.TaskRefusedError) as error:
            print(f"not counted: {error}", file=sys.stderr, flush=True)


async def follow(service: Service, port: int) -> None:
    """Take what the collector decides, for as long as there is a broker; what is retained comes at once."""
    topic = str(Topic(ZONE, CONTROLLER_NODE, Kind.DEPLOYMENTS))
    while True:
        try:
            async with aiomqtt.Client("127.0.0.1", port, identifier=f"demo-{SERVICE}") as client:
                await client.subscribe(topic, qos=1)
                async for message in client.messages:
                    take(service, str(message.topic), bytes(message.payload))
        except aiomqtt.MqttError:
            await asyncio.sleep(_RETRY_S)


def take(service: Service, topic: str, payload: bytes) -> None:
    """Take one message; what is no list of deployments changes nothing."""
    try:
        told = decode(Topic.parse(topic), payload)
    except (WireError, ValueError) as error:
        print(f"refused: {error}", file=sys.stderr, flush=True)
        return
    if isinstance(told, Deployments):
        service.wanted = next((one.variant for one in told.services if one.service == SERVICE), service.wanted)


async def main(arguments: list[str] | None = None) -> int:
    """Measure, then serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="The service of the demo.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--guests", type=Path, required=True)
    parser.add_argument("--socket", required=True)
    options = parser.parse_args(arguments)
    service = Service(options.guests, options.socket)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(_work(service)), asyncio.create_task(follow(service, options.port))]
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    service.close()
    return 0


async def _work(service: Service) -> None:
    await service.measure()
    await service.serve()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
