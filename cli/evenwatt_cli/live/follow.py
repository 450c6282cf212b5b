"""Follows a collector's stream for as long as it is wanted: comes back after a break, with the last id it has seen."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from evenwatt_cli.asking import authorisation, refused, unreachable
from evenwatt_cli.exits import Exit
from evenwatt_cli.live.sse import Reader, Said, StreamError
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from evenwatt_cli.operator_settings import OperatorSettings

_CONNECT_S: Final = 5.0
_SILENT_S: Final = 45.0
"""Three of the stream's heartbeats."""
_PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Between attempts; the last one again and again."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The stream stands; all states come now, and what was missed since the last id."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream broke, or could not be opened again."""

    why: str
    again_s: float
    """The next attempt is so many seconds away."""


async def follow(
    settings: OperatorSettings, topics: Sequence[str], after: str | None = None
) -> AsyncIterator[list[Said] | Opened | Lost]:
    """Yield what is said, as many messages at once as have come, and what becomes of the connection.

    Raises:
        Failure: the first attempt fails, or the collector refuses: then no other attempt would help.
    """
    attempt = 0
    opened = False
    while True:
        try:
            async for found in _once(settings, topics, after):
                if isinstance(found, Opened):
                    opened, attempt = True, 0
                else:
                    after = next((said.id for said in reversed(found) if said.id), after)
                yield found
            why = "the collector has stopped"
        except Failure as failure:
            if not opened or failure.exit_code in {Exit.USAGE, Exit.REJECTED}:
                raise
            why = str(failure)
        except (httpx.HTTPError, StreamError, OSError) as error:
            why = f"{str(error) or type(error).__name__}"
        pause_s = _PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]
        attempt += 1
        yield Lost(why, pause_s)
        await asyncio.sleep(pause_s)


async def _once(
    settings: OperatorSettings, topics: Sequence[str], after: str | None
) -> AsyncIterator[list[Said] | Opened]:
    url = settings.collector_url
    headers = {"Accept": "text/event-stream", **authorisation(settings)}
    if after:
        headers["Last-Event-ID"] = after
    timeout = httpx.Timeout(_SILENT_S, connect=_CONNECT_S)
    async with httpx.AsyncClient(timeout=timeout) as client:
        try:
            asked = client.build_request("GET", f"{url}/api/v1/stream", params={"topics": ",".join(topics)})
            asked.headers.update(headers)
            answer = await client.send(asked, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise unreachable(url, error) from None
        try:
            if answer.is_error:
                await answer.aread()
                raise refused(settings, answer)
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise Failure(f"{url} has no stream; is it a collector, and of this version?", exit_code=Exit.FAILURE)
            yield Opened()
            reader = Reader()
            async for chunk in answer.aiter_bytes():
                if said := reader.feed(chunk):
                    yield said
        finally:
            await answer.aclose()
