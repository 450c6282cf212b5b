"""A real HTTP server on a real socket that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route


@dataclass
class Reply:
    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0

    def response(self):
        kind = "application/json" if not isinstance(self.body, (bytes, str)) else "text/plain"
        content = self.body if isinstance(self.body, (bytes, str)) else json.dumps(self.body)
        return Response(content, self.status, {"content-type": kind, **self.headers})


class Replay:
    """Answers by path, one after another; the last answer of a path stays."""

    def __init__(self):
        self.url = ""
        self.requests: list[Any] = []
        self._replies: dict[str, list[Any]] = {}

    def on(self, path, *replies):
        """Each reply is a :class:`Reply`, a JSON value, or a function of the request that returns one of these."""
        self._replies[path] = list(replies)

    def asked(self, path=""):
        return [request for request in self.requests if request.url.path.startswith(path)]

    async def answer(self, request):
        self.requests.append(request)
        path = request.url.path
        known = next((each for each in sorted(self._replies, key=len, reverse=True) if path.startswith(each)), None)
        if known is None:
            return Reply({"error": "not found"}, 404).response()
        replies = self._replies[known]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if callable(reply):
            reply = reply(request)
        if not isinstance(reply, Reply):
            reply = Reply(reply)
        await asyncio.sleep(reply.delay_s)
        return reply.response()


@asynccontextmanager
async def replaying():
    replay = Replay()
    app = Starlette(routes=[Route("/{path:path}", replay.answer)])
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    replay.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield replay
    finally:
        server.should_exit = True
        await task
