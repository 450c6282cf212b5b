"""HTTP for the latest decisions. It only reads; as they happen they come on the stream, topic ``decisions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from evenwatt_collector.decided import MOST, DecisionKind

if TYPE_CHECKING:
    from starlette.requests import Request

    from evenwatt_collector.decided import Decisions

_KNOWN: Final = ("kind", "zone", "limit", "cursor")


class _WrongError(Exception):
    """What was asked cannot be read."""


def decided_routes(decisions: Decisions | None) -> list[Route]:
    """Return the route; none without decisions."""
    if decisions is None:
        return []

    async def latest(request: Request) -> Response:
        try:
            kinds, zone, limit, cursor = _asked(request)
        except _WrongError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        found = decisions.page(kinds=kinds, zone=zone, before=cursor, limit=limit)
        answer = {"decisions": found, "cursor": found[-1]["id"] if len(found) == limit else None}
        return Response(msgspec.json.encode(answer), media_type="application/json")

    return [Route("/api/v1/decisions", latest, methods=["GET"])]


def _asked(request: Request) -> tuple[frozenset[str], str, int, str]:
    said = request.query_params
    for name in said:
        if name not in _KNOWN:
            raise _WrongError(f"{name}: no such parameter; expected some of {', '.join(_KNOWN)}")
    kinds = frozenset(said.getlist("kind"))
    for kind in kinds:
        if kind not in set(DecisionKind):
            raise _WrongError(f"kind: found {kind[:40]!r}, expected some of {', '.join(DecisionKind)}")
    text = said.get("limit", "100")
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST):
        raise _WrongError(f"limit: found {text[:40]!r}, expected 1 to {MOST}")
    return kinds, said.get("zone", ""), int(text), said.get("cursor", "")
