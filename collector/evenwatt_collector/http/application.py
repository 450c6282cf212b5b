"""Puts routes together: names that are ours only, errors as JSON, and headers that keep answers from being misused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Match, Route

from evenwatt_collector.http.errors import error_answer
from evenwatt_collector.http.gate import Gate
from evenwatt_collector.http.hosts import HostCheck
from evenwatt_collector.http.settings import HttpSettings
from evenwatt_collector.http.shared import Shared
from evenwatt_collector.http.tokens import Tokens
from evenwatt_collector.http.turns import Turns
from evenwatt_daemon import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG: Any = get_logger("http")
_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def application(routes: Iterable[BaseRoute], gate: Gate | None = None, hosts: Iterable[str] = ()) -> Starlette:
    """Return the application.

    Args:
        routes: What is answered.
        gate: Who may ask; None: everybody may read and nobody change anything.
        hosts: Names by which it may be called, see ``HttpSettings.hosts``.
    """
    app = Starlette(
        routes=list(routes),
        middleware=[Middleware(_Headers), Middleware(HostCheck, hosts=tuple(hosts))],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )
    app.state.gate = gate or Gate(HttpSettings(), Tokens())
    app.state.turns = Turns()
    app.state.shared = Shared(app.state.turns)
    app.router.redirect_slashes = False  # "/api/v1/status/" is another path, and a redirect would lose what is sent
    return app


class _Headers:
    """Adds to every answer what a browser should know of it, where the answer does not say otherwise itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def out(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, out if scope["type"] == "http" else send)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  (it is called for these only)
    path = request.url.path[:200]
    if error.status_code == 405:
        allowed = sorted(_methods(request))
        text = f"{request.method} is not for {path!r}; it takes {', '.join(allowed)}"
        return error_answer(405, text, {"Allow": ", ".join(allowed)})
    text = f"there is nothing at {path!r}; /api/v1/openapi.json lists what there is"
    return error_answer(error.status_code, text if error.status_code == 404 else error.detail, error.headers)


def _methods(request: Request) -> set[str]:
    """Return what a path may be asked with."""
    matching = [
        route
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return {method for route in matching if route.path == matching[0].path for method in route.methods or ()}


async def _failed(request: Request, error: Exception) -> Response:
    _LOG.error("an answer failed", path=request.url.path, error=f"{type(error).__name__}: {error}", exc_info=error)
    return error_answer(500, "this is a fault of the collector's own; its log says more")
