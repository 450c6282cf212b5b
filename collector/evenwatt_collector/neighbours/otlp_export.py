"""Sends the fleet to an OpenTelemetry receiver over HTTP, at an interval, and never in anybody's way.

Messages are made in a thread, bounded in size, and posted with a deadline each. What fails is not repeated: sums are
cumulative, so the next export tells all that this one would have. It is said once, and again when it is another reason.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from typing import TYPE_CHECKING, Any, Final, TypedDict

import httpx

from evenwatt_collector.neighbours.picture import NO_ENERGIES, hosts_of, places_of, read_energies
from evenwatt_collector.neighbours.settings import certificates, check_otlp, headers, url
from evenwatt_collector.storage import DatabaseError
from evenwatt_daemon import Failure, get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from evenwatt_collector.carbon import Factor
    from evenwatt_collector.keeper import Keeper
    from evenwatt_collector.neighbours.otlp import Frame
    from evenwatt_collector.neighbours.picture import Energies, Host, Place
    from evenwatt_collector.neighbours.settings import OtlpSettings
    from evenwatt_collector.node import Node
    from evenwatt_collector.zone import Zone
    from evenwatt_wire import ZoneSummary

_FIRST_S: Final = 5.0
"""The first export comes soon, so that a wrong endpoint is seen."""
_HOSTS: Final = 250
"""Hosts in one request: with eight counters each, about a megabyte before it is compressed."""
_MOST_ANSWER_BYTES: Final = 64 * 1024


class OtlpHealth(TypedDict):
    """How exports to an OpenTelemetry receiver fare, since the collector began."""

    exported: int
    failed: int
    """Exports of which nothing, or not all, was taken."""
    trouble: str
    """Why the latest one failed; empty where it did not."""


class _RefusedError(Exception):
    """The receiver did not take it; the text says why."""


class OtlpExport:
    """The exporter.

    Args:
        settings: Where to, and how often.
        fleet: The fleet's name.
        keeper: Who reads the database.
        nodes: Every node with what its energy weighs.
        zones: Every zone's summary.

    Raises:
        Failure: the endpoint, headers or certificates cannot be used, or the protocol's package is not installed.
    """

    def __init__(
        self,
        settings: OtlpSettings,
        fleet: str,
        keeper: Keeper,
        nodes: Callable[[], list[tuple[Node, Factor]]],
        zones: Callable[[], Awaitable[list[tuple[Zone, ZoneSummary]]]],
    ) -> None:
        try:
            from evenwatt_collector.neighbours import otlp  # noqa: PLC0415  (only where it is wanted)
        except ImportError:
            raise Failure(
                "key 'otlp': OpenTelemetry's messages are not installed; pip install 'evenwatt[otlp]'"
            ) from None
        self._otlp = otlp
        self._settings, self._fleet, self._keeper = settings, fleet, keeper
        self._nodes, self._zones = nodes, zones
        check_otlp(settings)
        self._url, self._verify = url(settings), certificates(settings)
        self._shown = self._url.partition("?")[0]  # what comes after may be secret
        self._log: Any = get_logger("otlp")
        self._trouble = ""
        self._exported = self._failed = 0

    def health(self) -> OtlpHealth:
        """Return how exports fare."""
        return {"exported": self._exported, "failed": self._failed, "trouble": self._trouble}

    async def run(self, stop: asyncio.Event) -> None:
        """Export until ``stop``."""
        wait_s = min(_FIRST_S, self._settings.interval_s)
        async with httpx.AsyncClient(verify=self._verify, timeout=self._settings.timeout_s) as client:
            while not await _within(stop, wait_s):
                began_s = time.monotonic()
                exporting = asyncio.create_task(self._export(client))
                stopping = asyncio.create_task(stop.wait())
                try:
                    await asyncio.wait((exporting, stopping), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in (exporting, stopping):
                        task.cancel()
                await asyncio.wait((exporting, stopping))
                wait_s = max(0.0, began_s + self._settings.interval_s - time.monotonic())

    async def _export(self, client: httpx.AsyncClient) -> None:
        """Tell everything once; whatever goes wrong is said, and ends this export only."""
        try:
            sent = await self._send(client)
        except (Failure, _RefusedError) as error:
            self._say(str(error))
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            self._say(f"{self._shown}: {str(error) or type(error).__name__}")
        except Exception as error:  # noqa: BLE001  (a fault of ours must not end the collector; what it was is said)
            self._say(f"{type(error).__name__}: {error}")
        else:
            if self._trouble:
                self._log.info("the receiver takes metrics again", endpoint=self._shown, resources=sent)
            self._trouble = ""
            self._exported += 1

    def _say(self, why: str) -> None:
        if why != self._trouble:
            self._log.warning("metrics were not exported; sums are cumulative, so nothing is lost", why=why)
        self._trouble = why
        self._failed += 1

    async def _send(self, client: httpx.AsyncClient) -> int:
        said = headers(self._settings)
        energies = await self._read()
        frame = self._otlp.Frame(self._fleet, energies.since_ms * 1_000_000, time.time_ns(), self._settings.attributes)
        nodes, places = self._nodes(), places_of([summary for _, summary in await self._zones()])
        for first in range(0, max(1, len(nodes)), _HOSTS):
            # A part at a time: the loop has other work between two of them.
            part = hosts_of(
                nodes[first : first + _HOSTS], energies, time.monotonic(), components=self._settings.components
            )
            body = await asyncio.to_thread(self._encode, frame, part, [] if first else places)
            async with asyncio.timeout(self._settings.timeout_s):
                await self._post(client, body, said)
        return len(nodes) + len(places)

    def _encode(self, frame: Frame, hosts: list[Host], places: list[Place]) -> bytes:
        """Runs in a thread."""
        return gzip.compress(self._otlp.request(frame, hosts, places), compresslevel=1)

    async def _read(self) -> Energies:
        """Ask the database; where it does not answer, power is told all the same."""
        now_ms, components = time.time_ns() // 1_000_000, self._settings.components
        asked = self._keeper.ask(lambda connection: read_energies(connection, now_ms, components=components))
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await asyncio.wrap_future(asked)
        except (DatabaseError, TimeoutError) as error:
            self._log.warning("energy is left out of this export: the database did not answer", why=str(error))
            return NO_ENERGIES

    async def _post(self, client: httpx.AsyncClient, body: bytes, said: dict[str, str]) -> None:
        """Post, and read what the receiver thinks of it.

        Raises:
            _RefusedError: it was not taken, or not all of it.
        """
        kind = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        async with client.stream("POST", self._url, content=body, headers={**said, **kind}) as answer:
            if answer.status_code != httpx.codes.OK:
                raise _RefusedError(f"{self._shown} answers {answer.status_code} {answer.reason_phrase}".rstrip())
            text = b""
            async for piece in answer.aiter_bytes():
                text += piece
                if len(text) > _MOST_ANSWER_BYTES:
                    raise _RefusedError(f"{self._shown} answers with more than {_MOST_ANSWER_BYTES} bytes")
        lost = self._otlp.rejected(text)
        if lost:
            raise _RefusedError(f"{self._shown} refused {lost}")


async def _within(stop: asyncio.Event, seconds: float) -> bool:
    """Wait; True if ``stop`` came."""
    try:
        async with asyncio.timeout(seconds):
            return await stop.wait()
    except TimeoutError:
        return False
