"""Server-Sent Events: what the collector knows, as it changes (html.spec.whatwg.org, section 9.2).

Zones, nodes, workloads and jobs are *states*: per key only the newest counts, so a reader that is slow or new gets that
one and misses those in between. ``pulse`` has what changes each second of all nodes of a zone, in columns: one message
where ``nodes`` has thousands. ``collector`` is the rest of the status document.

Events and alerts are *happenings*: each has an ``id``; a reader that comes back with ``Last-Event-ID`` gets what it
missed, and where something is no longer kept a ``gap`` event says how much.

A message is encoded once for all. Every reader holds references to one of them per key, and to 256 happenings at the
most. A reader whose socket takes nothing for a minute is let go. Nothing here waits for a reader.

Plain Starlette: sse-starlette encodes per reader, and learns of shutdown from signal handlers that this server, a part
of a service, does not install (its issues 132 and 152); here :meth:`Hub.close` ends every stream.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from evenwatt_collector.http.endpoint import Endpoint, Operation, Parameter
from evenwatt_collector.http.errors import RequestError
from evenwatt_collector.http.shared import left

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

STATES: Final = ("zones", "nodes", "pulse", "workloads", "jobs", "collector")
HAPPENINGS: Final = ("events", "alerts", "decisions")
TOPICS: Final = STATES + HAPPENINGS
_UNASKED: Final = [topic for topic in TOPICS if topic != "pulse"]
"""What a reader gets that does not say what it wants: ``nodes`` has all that ``pulse`` has."""

_RING: Final = 1_000
"""Happenings kept for readers that come back."""
_PENDING: Final = 256
"""Happenings kept for a reader that is slow."""
_SUBSCRIBERS: Final = 64
_HEARTBEAT_S: Final = 15.0
"""Proxies close what is silent, often after 30 or 60 s."""
_STUCK_S: Final = 60.0
_LAST_S: Final = 0.5
"""A reader that takes nothing does not hold up the end of the service for longer."""
_CHUNK_BYTES: Final = 64 * 1024
"""Sent at once; what comes meanwhile still replaces what has not been sent."""
_RECONNECT_MS: Final = 3_000

_LINE_ENDS: Final = tuple((end.encode(), rf"\u{ord(end):04x}".encode()) for end in "\u0085\u2028\u2029")

_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect
}


@dataclass(frozen=True, slots=True)
class _Happening:
    number: int
    topic: str
    message: bytes


@dataclass(slots=True, eq=False)
class Subscriber:
    """What one reader has yet to get."""

    topics: frozenset[str]
    states: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """By topic and key, those first that have waited longest."""
    happenings: deque[bytes] = field(default_factory=deque)
    lost: int = 0
    """Happenings that were dropped since the last gap was said."""
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def put_state(self, place: tuple[str, str], message: bytes) -> None:
        """Keep the newest of a key."""
        self.states[place] = message
        self.woken.set()

    def put_happening(self, message: bytes) -> None:
        """Keep a happening; when there are too many the oldest is lost, and counted."""
        if len(self.happenings) >= _PENDING:
            self.happenings.popleft()
            self.lost += 1
        self.happenings.append(message)
        self.woken.set()

    def take(self) -> bytes:
        """Return what is next, up to about :data:`_CHUNK_BYTES`; empty when there is nothing."""
        parts: list[bytes] = []
        size = 0
        if self.lost:
            parts.append(_gap(self.lost, "this reader was too slow"))
            self.lost = 0
        while self.happenings and size < _CHUNK_BYTES:
            parts.append(self.happenings.popleft())
            size += len(parts[-1])
        while self.states and size < _CHUNK_BYTES:
            parts.append(self.states.pop(next(iter(self.states))))
            size += len(parts[-1])
        if not (self.happenings or self.states):
            self.woken.clear()
        return b"".join(parts)


class Hub:
    """Hands what is published to every reader.

    Args:
        subscribers: Readers at the most.
        heartbeat_s: A comment is sent when nothing else was for so long.
        stuck_s: A reader that takes nothing for so long is let go.
    """

    def __init__(
        self, *, subscribers: int = _SUBSCRIBERS, heartbeat_s: float = _HEARTBEAT_S, stuck_s: float = _STUCK_S
    ) -> None:
        self.most, self.heartbeat_s, self.stuck_s = subscribers, heartbeat_s, stuck_s
        self._run = secrets.token_hex(4)
        """Told in every id: numbers begin anew with the process."""
        self._number = 0
        self._ring: deque[_Happening] = deque(maxlen=_RING)
        self._states: dict[tuple[str, str], bytes] = {}
        self._subscribers: set[Subscriber] = set()
        self.closing = asyncio.Event()

    def __len__(self) -> int:
        return len(self._subscribers)

    def wanted(self, topic: str) -> bool:
        """Whether any reader hears a topic."""
        return any(topic in subscriber.topics for subscriber in self._subscribers)

    def publish(self, topic: str, key: str, snapshot: Mapping[str, Any]) -> None:
        """Tell the state of a zone, node or workload; it replaces what was told of that key before."""
        place = (_known(topic, STATES), key)
        message = self._states[place] = _message(topic, snapshot)
        for subscriber in self._subscribers:
            if topic in subscriber.topics:
                subscriber.put_state(place, message)

    def forget(self, topic: str, key: str) -> None:
        """Tell that a zone, node or workload is no more; readers get ``{"key": key, "gone": true}``."""
        place = (_known(topic, STATES), key)
        if self._states.pop(place, None) is None:
            return
        message = _message(topic, {"key": key, "gone": True})
        for subscriber in self._subscribers:
            if topic in subscriber.topics:
                subscriber.put_state(place, message)

    def keep(self, topics: Collection[str]) -> None:
        """Keep the states of these topics only; nobody is told."""
        self._states = {place: message for place, message in self._states.items() if place[0] in topics}

    def say(self, topic: str, document: Mapping[str, Any]) -> None:
        """Tell an event or alert."""
        self._number += 1
        message = _message(_known(topic, HAPPENINGS), document, f"{self._run}-{self._number}")
        self._ring.append(_Happening(self._number, topic, message))
        for subscriber in self._subscribers:
            if topic in subscriber.topics:
                subscriber.put_happening(message)

    def subscribe(self, topics: Collection[str], last_id: str | None = None) -> Subscriber | None:
        """Take a reader in, with all states as they are now; None when there is no room.

        Args:
            topics: What it wants.
            last_id: The last id that it has seen, if it comes back.
        """
        if self.closing.is_set() or len(self._subscribers) >= self.most:
            return None
        subscriber = Subscriber(frozenset(topics))
        if last_id is not None:
            self._catch_up(subscriber, last_id)
        subscriber.states = {place: message for place, message in self._states.items() if place[0] in topics}
        subscriber.woken.set()
        self._subscribers.add(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Let a reader go."""
        self._subscribers.discard(subscriber)

    def close(self) -> None:
        """End every stream; to be called before the HTTP server is stopped."""
        self.closing.set()
        for subscriber in self._subscribers:
            subscriber.woken.set()

    def _catch_up(self, subscriber: Subscriber, last_id: str) -> None:
        run, _, number = last_id.rpartition("-")
        ours = run == self._run and number.isascii() and number.isdigit() and len(number) < 19
        same = ours and int(number) <= self._number
        seen = int(number) if same else 0
        missed = [one for one in self._ring if one.number > seen]
        gone = self._number - seen - len(missed)
        kept = [one.message for one in missed if one.topic in subscriber.topics]
        subscriber.happenings.extend(
            kept
        )  # the whole ring at the most, so that coming back is never worse than staying
        if not same:
            subscriber.happenings.appendleft(_gap(None, "this id is of another run of the collector"))
        elif gone > 0:
            subscriber.happenings.appendleft(_gap(gone, "no longer kept"))


def stream_route(hub: Hub, path: str = "/api/v1/stream") -> Endpoint:
    """Return the route that streams what is published."""

    async def stream(request: Request) -> Response:
        asked = request.query_params.getlist("topics")
        topics = [topic for part in asked for topic in part.split(",") if topic] or _UNASKED
        unknown = next((topic for topic in topics if topic not in TOPICS), None)
        if unknown is not None:
            raise RequestError(400, f"no topic {unknown!r}; there is: {', '.join(TOPICS)}")
        if request.method == "HEAD":
            return Response(headers=_HEADERS)
        subscriber = hub.subscribe(topics, request.headers.get("last-event-id"))
        if subscriber is None:
            why = "the collector is stopping" if hub.closing.is_set() else f"there are {hub.most} readers already"
            raise RequestError(503, f"{why}; try again later", {"Retry-After": "10"})
        return _Stream(hub, subscriber)

    return Endpoint("GET", path, stream, _STREAM)


_STREAM: Final = Operation(
    summary="What changes, as it changes: Server-Sent Events (docs/alerts.md)",
    answer={"type": "string"},
    media="text/event-stream; charset=utf-8",
    errors=(400, 503),
    query=(Parameter(name="topics", words="topics with commas between; default: all", repeated=True),),
    headers=(Parameter(name="Last-Event-ID", words="the last id that was seen, to get what was missed"),),
)


class _Stream(Response):
    """The answer to one reader: until it leaves, is stuck, or the hub closes."""

    def __init__(self, hub: Hub, subscriber: Subscriber) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]  # there is no end to count to
        self._hub, self._subscriber = hub, subscriber

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  (ASGI's signature)
        leaving = asyncio.ensure_future(left(receive))
        pump = asyncio.ensure_future(self._pump(send))
        closing = asyncio.ensure_future(self._hub.closing.wait())
        tasks = (leaving, pump, closing)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if closing.done():
                await asyncio.wait((leaving, pump), timeout=_LAST_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.unsubscribe(self._subscriber)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, send: Send) -> None:
        hub, subscriber = self._hub, self._subscriber

        async def out(message: dict[str, Any]) -> None:
            async with asyncio.timeout(hub.stuck_s):
                await send(message)

        await out({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await out(_chunk(f"retry: {_RECONNECT_MS}\n\n".encode()))
        while not hub.closing.is_set():
            try:
                async with asyncio.timeout(hub.heartbeat_s):
                    await subscriber.woken.wait()
            except TimeoutError:
                await out(_chunk(b": still here\n\n"))
                continue
            if message := subscriber.take():
                await out(_chunk(message))
        await out({"type": "http.response.body", "body": b"", "more_body": False})


def _chunk(content: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": True}


def _known(topic: str, topics: tuple[str, ...]) -> str:
    if topic not in topics:
        raise ValueError(f"topic {topic!r}: expected one of {', '.join(topics)}")
    return topic


def _message(topic: str, document: Mapping[str, Any], number: str | None = None) -> bytes:
    """Encode a message. JSON has no line ends of its own; those of Unicode, at which some readers cut, are escaped."""
    head = f"event: {topic}\n" if number is None else f"id: {number}\nevent: {topic}\n"
    content = msgspec.json.encode(document)
    for raw, escaped in _LINE_ENDS:
        content = content.replace(raw, escaped)
    return head.encode() + b"data: " + content + b"\n\n"


def _gap(lost: int | None, why: str) -> bytes:
    return _message("gap", {"lost": lost, "why": why})
