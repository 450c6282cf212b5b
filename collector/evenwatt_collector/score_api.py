"""HTTP for scores and improvement. It only reads; baselines are frozen on the command line.

Every error is ``{"error": WORDS}``: 400 what was asked is wrong, 404 there is no such workload, model or class, 503 the
database cannot be read.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from evenwatt_collector.feedback import asking as improving
from evenwatt_collector.score import answer, asking
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request

    from evenwatt_collector.score.desk import ScoreDesk


def score_routes(desk: ScoreDesk | None) -> list[Route]:
    """Return the routes; none without a desk."""
    if desk is None:
        return []

    async def score(request: Request) -> Response:
        try:
            query = asking.ScoreQuery.from_parameters(request.query_params, time.time())
        except Failure as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return await _answer(_scores(desk, query))

    async def improvement(request: Request) -> Response:
        try:
            query = improving.ImprovementQuery.from_parameters(request.query_params)
        except Failure as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return await _answer(_improvement(desk, query))

    return [Route("/api/v1/score", score), Route("/api/v1/improvement", improvement)]


async def _scores(desk: ScoreDesk, query: asking.ScoreQuery) -> dict[str, Any]:
    return answer.to_document(await desk.score(query))


async def _improvement(desk: ScoreDesk, query: improving.ImprovementQuery) -> dict[str, Any]:
    return improving.to_document(await desk.improvement(query))


async def _answer(document: Awaitable[dict[str, Any]]) -> Response:
    try:
        return Response(msgspec.json.encode(await document), media_type="application/json")
    except Failure as error:
        return JSONResponse({"error": str(error)}, status_code=503 if error.exit_code == EXIT_FAILURE else 404)
