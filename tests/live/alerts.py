"""Alerts and servers for the tests of this folder."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing, contextmanager, suppress

import uvicorn

from evenwatt_collector.alerts import Alert, AlertState, Severity
from tests.support import free_port


def alert(number=0, *, severity=Severity.TICKET, state=AlertState.OPEN, kind="burn", at_s=1_780_000_000.0, **more):
    fields = {"words": f"alert {number}", "advice": "do something", "webhooks": ()} | more
    return Alert(
        id=f"hall-day:{kind}:{number}",
        step=0,
        kind=kind,
        about="hall-day",
        scope="zone:hall-1",
        state=state,
        severity=severity,
        since_s=at_s,
        at_s=at_s,
        figures={"used_g": 12.5, "rate_g_per_h": None},
        **fields,
    )


class _Quiet(uvicorn.Server):
    @contextmanager
    def capture_signals(self):
        yield


@asynccontextmanager
async def served(app, port=None):
    """Serve an application on a real socket as the collector does; yield its address."""
    port = port or free_port()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2
    )
    server = _Quiet(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def raw_server(answer):
    """Serve raw bytes: ``answer(reader, writer)`` does with each connection what it likes."""

    async def handle(reader, writer):
        with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError):
            await answer(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def read_request(reader):
    """Read one HTTP request with a length; return its head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    return head, await reader.readexactly(length)
