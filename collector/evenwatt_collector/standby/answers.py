"""HTTP of a standby: who is active; everything else is asked of that one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from evenwatt_collector.http.application import application
from evenwatt_collector.http.errors import error_answer, json_answer
from evenwatt_collector.page import page_routes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.applications import Starlette
    from starlette.requests import Request

    from evenwatt_collector.status import Document

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def standby_app(document: Callable[[], Document], hosts: Iterable[str] = ()) -> Starlette:
    """Return the application; a standby is alive and not ready, so that a balancer sends nobody to it."""

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        return json_answer({"ready": False, "reasons": document()["reasons"]}, 503)

    async def show(_request: Request) -> Response:
        return json_answer(document())

    async def elsewhere(_request: Request) -> Response:
        said = document()
        active = said["active"] or "the other collector"
        return error_answer(503, f"this is the standby {said['name']}; ask {active}, which is active")

    return application(
        [
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/api/v1/status", show),
            *page_routes("standby.html"),
            Route("/{path:path}", elsewhere, methods=_METHODS),
        ],
        hosts=hosts,
    )
