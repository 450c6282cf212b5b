"""HTTP on the loopback: liveness, status, reports, the stream, metrics and the Carbon Aware API.

Reading asks for no login; what changes something (jobs) asks for a token.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from evenwatt_collector.carbon_aware_api import carbon_aware_routes
from evenwatt_collector.jobs.tokens import Tokens
from evenwatt_collector.jobs_api import jobs_routes
from evenwatt_collector.live_stream import stream_route
from evenwatt_collector.metrics import make_metrics
from evenwatt_collector.models_api import models_routes
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.document import to_document
from evenwatt_collector.score_api import score_routes
from evenwatt_collector.storage import DatabaseError
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator

    from starlette.requests import Request

    from evenwatt_collector.carbon_aware_api import IntensityStore
    from evenwatt_collector.jobs.desk import JobsDesk
    from evenwatt_collector.live_stream import Hub
    from evenwatt_collector.models.desk import ModelsDesk
    from evenwatt_collector.report.model import Report
    from evenwatt_collector.score.desk import ScoreDesk
    from evenwatt_collector.settings import HttpSettings
    from evenwatt_collector.status import Document

_GRACE_S = 2
_LATEST_S = 253_402_300_799
"""The end of the year 9999: calendars go no further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Who knows what is asked."""

    status: Callable[[], Document]
    """Makes the status document."""
    reasons: Callable[[], list[str]]
    """Returns why the collector cannot do its work; empty when it can."""
    why: Callable[[str, float | None], Document]
    """Returns why a node or zone is treated as it is, at a moment (Unix time) or now; raises LookupError."""
    report: Callable[[ReportQuery], Awaitable[Report]]
    """Makes a report; raises Failure."""
    forecasts: Callable[[], list[Document]]
    """Returns the latest forecasts of intensity and of zones' power."""
    node_forecast: Callable[[str, str], Awaitable[Document]]
    """Makes a forecast of a node's power, by zone and name; raises LookupError."""
    intensities: IntensityStore
    """What is known of intensity, for the Carbon Aware API."""
    models: ModelsDesk | None = None
    """Knows the variants of models and their costs."""
    score: ScoreDesk | None = None
    """Knows scores, and what was saved week by week."""
    jobs: JobsDesk | None = None
    """Keeps the jobs; none are taken without."""
    tokens: Tokens = field(default_factory=lambda: Tokens({}))
    """Who may submit and cancel jobs."""


def make_app(answers: Answers, hub: Hub) -> Starlette:
    """Return the application; ``hub`` feeds the stream."""
    render = make_metrics(answers.status)

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        why = answers.reasons()
        return JSONResponse({"ready": not why, "reasons": why}, status_code=503 if why else 200)

    async def show(_request: Request) -> Response:
        return Response(msgspec.json.encode(answers.status()), media_type="application/json")

    async def explain(request: Request) -> Response:
        asked = request.query_params.get("at")
        try:
            at_s = None if asked is None else _moment(asked)
            return JSONResponse(answers.why(request.path_params["name"], at_s))
        except LookupError as error:
            return JSONResponse({"error": str(error)}, status_code=404)
        except ValueError:
            return JSONResponse({"error": f"at={asked!r}: expected seconds since 1970"}, status_code=400)

    async def forecasts(_request: Request) -> Response:
        return Response(msgspec.json.encode({"forecasts": answers.forecasts()}), media_type="application/json")

    async def metrics(_request: Request) -> Response:
        return Response(render(), media_type=CONTENT_TYPE_LATEST)

    routes = {
        "/livez": livez,
        "/readyz": readyz,
        "/api/v1/status": show,
        "/api/v1/explain/{name}": explain,
        "/api/v1/report": _reporting(answers),
        "/api/v1/forecasts": forecasts,
        "/api/v1/forecasts/{zone}/{node}": _forecasting(answers),
        "/metrics": metrics,
    }
    aware = carbon_aware_routes(answers.intensities, healthy=lambda: not answers.reasons())
    return Starlette(
        routes=[
            *(Route(path, endpoint) for path, endpoint in routes.items()),
            stream_route(hub),
            *aware,
            *jobs_routes(answers.jobs, answers.tokens),
            *models_routes(answers.models),
            *score_routes(answers.score),
        ]
    )


def _moment(text: str) -> float:
    """Return Unix seconds; raise ValueError for what is none, or lies beyond all calendars."""
    at_s = float(text)
    if not 0 <= at_s <= _LATEST_S:
        raise ValueError(f"{text!r} is no moment")
    return at_s


def _forecasting(answers: Answers) -> Callable[[Request], Awaitable[Response]]:
    async def forecast(request: Request) -> Response:
        try:
            made = await answers.node_forecast(request.path_params["zone"], request.path_params["node"])
        except LookupError as error:
            return JSONResponse({"error": str(error)}, status_code=404)
        except DatabaseError as error:
            return JSONResponse({"error": str(error)}, status_code=503)
        return Response(msgspec.json.encode(made), media_type="application/json")

    return forecast


def _reporting(answers: Answers) -> Callable[[Request], Awaitable[Response]]:
    async def report(request: Request) -> Response:
        try:
            query = ReportQuery.from_parameters(request.query_params, time.time())
        except Failure as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        try:
            made = await answers.report(query)
        except Failure as error:
            return JSONResponse({"error": str(error)}, status_code=503 if error.exit_code == EXIT_FAILURE else 404)
        return Response(msgspec.json.encode(to_document(made)), media_type="application/json")

    return report


@asynccontextmanager
async def serve(sock: socket.socket, app: Starlette) -> AsyncIterator[None]:
    """Serve on a listening socket while the context is open."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=_GRACE_S)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]), name="http")
    try:
        yield
    finally:
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: stopping is the service's business."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone."""
        yield


def listen(settings: HttpSettings) -> socket.socket:
    """Return a listening socket.

    Raises:
        Failure: the address cannot be used, naming it and the fix.
    """
    where = f"http {settings.host}:{settings.port}"
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host, settings.port))
    except OSError as error:
        why = error.strerror or str(error)
        raise Failure(f"{where}: {why}; stop what uses it, or set another http.host or http.port") from None
    sock.listen(128)
    sock.setblocking(False)
    return sock
