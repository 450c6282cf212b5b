"""HTTP: liveness, status, reports, the stream, metrics, jobs, models, scores and the Carbon Aware API.

``http/`` says how a route is declared and who is let in; docs/api.md is for people who ask.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

import uvicorn
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from evenwatt_collector import __version__
from evenwatt_collector.carbon_aware_api import carbon_aware_routes
from evenwatt_collector.decided_api import decided_routes
from evenwatt_collector.detail_api import detail_routes
from evenwatt_collector.http.application import application
from evenwatt_collector.http.connections import BoundedProtocol
from evenwatt_collector.http.endpoint import SECONDS, TEXT, Beside, Endpoint, Operation, Parameter
from evenwatt_collector.http.errors import RequestError, json_answer
from evenwatt_collector.http.gate import Gate
from evenwatt_collector.http.openapi import openapi_route
from evenwatt_collector.http.session_api import session_routes
from evenwatt_collector.http.settings import HttpSettings
from evenwatt_collector.http.tokens import Tokens
from evenwatt_collector.jobs_api import jobs_routes
from evenwatt_collector.lists_api import lists_routes
from evenwatt_collector.live_stream import stream_route
from evenwatt_collector.metrics import render_metrics
from evenwatt_collector.models_api import models_routes
from evenwatt_collector.overrides_api import overrides_routes
from evenwatt_collector.page import page_routes
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.document import SCHEMA, to_json
from evenwatt_collector.report.model import By, Report
from evenwatt_collector.report.uncertainty import Spread  # noqa: TC001  (the OpenAPI document reads it)
from evenwatt_collector.score_api import score_routes
from evenwatt_collector.status_shape import StatusDocument
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable

    from starlette.applications import Starlette
    from starlette.requests import Request

    from evenwatt_collector.carbon_aware_api import IntensityStore
    from evenwatt_collector.decided import Decisions
    from evenwatt_collector.jobs.desk import JobsDesk
    from evenwatt_collector.live_stream import Hub
    from evenwatt_collector.models.desk import ModelsDesk
    from evenwatt_collector.overrides.desk import OverrideDesk
    from evenwatt_collector.score.desk import ScoreDesk
    from evenwatt_collector.status import Document

_GRACE_S = 2
_BACKLOG: Final = 128
"""Connections that the kernel holds ready, and that are taken in one go: other work has to wait for that."""
_LATEST_S = 253_402_300_799
"""The end of the year 9999: calendars go no further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Who knows what is asked."""

    status: Callable[[], Awaitable[Document]]
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
    node: Callable[[str, str], Document | None] = lambda _zone, _node: None
    """Returns a node down to its counters, by zone and name; None where there is none."""
    history: Callable[[str, float], Document | None] = lambda _zone, _back_s: None
    """Returns the latest samples of a zone, so many seconds back; None where none are kept."""
    models: ModelsDesk | None = None
    """Knows the variants of models and their costs."""
    overrides: OverrideDesk | None = None
    """Keeps overrides; there are none without."""
    decisions: Decisions | None = None
    """The latest decisions, of all kinds."""
    score: ScoreDesk | None = None
    """Knows scores, and what was saved week by week."""
    jobs: JobsDesk | None = None
    """Keeps the jobs; none are taken without."""


def make_app(answers: Answers, hub: Hub, gate: Gate | None = None, hosts: Iterable[str] = ()) -> Starlette:
    """Return the application.

    Args:
        answers: Who knows what is asked.
        hub: Feeds the stream.
        gate: Who may ask.
        hosts: Names by which it may be called, see ``HttpSettings.hosts``.
    """
    gate = gate or Gate(HttpSettings(), Tokens())
    aware = carbon_aware_routes(answers.intensities, healthy=lambda: not answers.reasons())
    routes = [
        *_watching_routes(answers),
        *_own_routes(answers),
        *detail_routes(answers.node, answers.history),
        stream_route(hub),
        *aware,
        *jobs_routes(answers.jobs),
        *models_routes(answers.models),
        *score_routes(answers.score),
        *decided_routes(answers.decisions),
        *overrides_routes(answers.overrides),
        *session_routes(gate),
        *lists_routes(answers.status),
        *page_routes(),
    ]
    return application([*routes, openapi_route(routes, __version__)], gate, hosts)


def _watching_routes(answers: Answers) -> list[Endpoint]:
    """Return what machines ask of a service."""

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        why = answers.reasons()
        return json_answer({"ready": not why, "reasons": why}, 503 if why else 200)

    async def metrics(_request: Request) -> Response:
        # Of thousands of nodes this takes longer than windows should wait.
        text = await asyncio.to_thread(render_metrics, await answers.status())
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return [
        Endpoint("GET", "/livez", livez, _LIVEZ),
        Endpoint("GET", "/readyz", readyz, _READYZ),
        Endpoint("GET", "/metrics", metrics, _METRICS),
    ]


def _own_routes(answers: Answers) -> list[Endpoint]:
    async def show(_request: Request) -> Response:
        return json_answer(await answers.status())

    async def explain(request: Request) -> Response:
        asked = request.query_params.get("at")
        try:
            return json_answer(answers.why(request.path_params["name"], None if asked is None else _moment(asked)))
        except LookupError as error:
            raise RequestError(404, str(error)) from None
        except ValueError:
            raise RequestError(400, f"at={asked!r}: expected seconds since 1970") from None

    async def report(request: Request) -> Response:
        try:
            query = ReportQuery.from_parameters(request.query_params, time.time())
        except Failure as error:
            raise RequestError(400, str(error)) from None
        made = await answers.report(query)
        return Response(await asyncio.to_thread(to_json, made), media_type="application/json")

    async def forecasts(_request: Request) -> Response:
        return json_answer({"forecasts": answers.forecasts()})

    async def forecast(request: Request) -> Response:
        try:
            return json_answer(await answers.node_forecast(request.path_params["zone"], request.path_params["node"]))
        except LookupError as error:
            raise RequestError(404, str(error)) from None

    return [
        Endpoint("GET", "/api/v1/status", show, _STATUS),
        Endpoint("GET", "/api/v1/explain/{name}", explain, _EXPLAIN),
        Endpoint("GET", "/api/v1/report", report, _REPORT),
        Endpoint("GET", "/api/v1/forecasts", forecasts, _FORECASTS),
        Endpoint("GET", "/api/v1/forecasts/{zone}/{node}", forecast, _FORECAST),
    ]


class Readiness(Struct, frozen=True):
    """Whether the collector can do its work."""

    ready: bool
    reasons: list[str]
    """Why not."""


class Derived(TypedDict):
    """What follows from a report; scores and comparisons are made where they are asked for, and not here."""

    confidence: float
    coverage: float | None
    time_coverage: float | None
    metered_share: float | None
    total: Spread
    rows: list[Spread]
    """In the order of the report's."""
    sci: None
    sci_rows: list[None]
    comparison: None


_PERIOD: Final = (
    Parameter(name="from", words="start of the period, Unix seconds", schema=SECONDS, required=True),
    Parameter(name="to", words="its end; default: now", schema=SECONDS),
)
_LIVEZ: Final = Operation(
    summary="Whether the process answers", answer=TEXT, media="text/plain; charset=utf-8", scope=None
)
_READYZ: Final = Operation(summary="Whether it can do its work", answer=Readiness, more={503: Readiness}, scope=None)
_METRICS: Final = Operation(summary="Metrics for Prometheus", answer=TEXT, media=CONTENT_TYPE_LATEST, shared=True)
_STATUS: Final = Operation(summary="Everything that is known now (docs/status.md)", answer=StatusDocument, shared=True)
_EXPLAIN: Final = Operation(
    summary="Why a node or zone is treated as it is",
    path=(Parameter(name="name", words="NODE, ZONE:NODE or ZONE"),),
    query=(Parameter(name="at", words="a moment of the past, Unix seconds; default: now", schema=SECONDS),),
    errors=(400, 404),
)
_REPORT: Final = Operation(
    summary="Energy and emissions of a period (docs/reports.md)",
    answer=Beside(Report, {"schema": {"const": SCHEMA}, "derived": Derived}),
    long=True,
    query=(
        Parameter(name="by", words="what to group by", schema={"type": "string", "enum": [by.value for by in By]}),
        *_PERIOD,
        Parameter(name="tz", words="IANA name of the timezone of days and labels; default: UTC"),
        Parameter(name="known_at", words="as known at this moment, Unix seconds", schema=SECONDS),
        Parameter(name="zone", words="only of this zone"),
        Parameter(name="node", words="only of this node"),
        Parameter(name="workload", words="only of this workload"),
        Parameter(name="model", words="only of this model"),
    ),
    errors=(400, 404, 503),
)
_FORECASTS: Final = Operation(summary="The latest forecasts of intensity and of zones' power")
_FORECAST: Final = Operation(summary="A forecast of a node's power", errors=(404, 503))


def _moment(text: str) -> float:
    """Return Unix seconds; raise ValueError for what is none, or lies beyond all calendars."""
    at_s = float(text)
    if not 0 <= at_s <= _LATEST_S:
        raise ValueError(f"{text!r} is no moment")
    return at_s


@asynccontextmanager
async def serve(sock: socket.socket, app: Starlette, *, proxied: bool = False) -> AsyncIterator[None]:
    """Serve on a listening socket while the context is open.

    Args:
        sock: The socket.
        app: What answers.
        proxied: A proxy on this machine is in front, whose ``X-Forwarded-For`` says who asks.
    """
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        log_level="error",  # what strangers send is no warning of ours
        access_log=False,
        backlog=_BACKLOG,
        server_header=False,
        lifespan="off",
        proxy_headers=proxied,
        timeout_graceful_shutdown=_GRACE_S,
    )
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
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock
