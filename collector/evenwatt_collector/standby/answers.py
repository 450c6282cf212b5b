"""HTTP of a standby: who is active; everything else is asked of that one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from evenwatt_collector.status import Document

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def standby_app(document: Callable[[], Document]) -> Starlette:
    """Return the application; a standby is alive and not ready, so that a balancer sends nobody to it."""

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        return JSONResponse({"ready": False, "reasons": document()["reasons"]}, status_code=503)

    async def show(_request: Request) -> Response:
        return Response(msgspec.json.encode(document()), media_type="application/json")

    async def elsewhere(_request: Request) -> Response:
        said = document()
        active = said["active"] or "the other collector"
        error = f"this is the standby {said['name']}; ask {active}, which is active"
        return JSONResponse({"error": error}, status_code=503)

    return Starlette(
        routes=[
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/api/v1/status", show),
            Route("/{path:path}", elsewhere, methods=_METHODS),
        ]
    )
