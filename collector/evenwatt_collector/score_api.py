"""HTTP for scores and improvement. It only reads; baselines are frozen on the command line.

Every error is ``{"error": WORDS}``: 400 what was asked is wrong, 404 there is no such workload, model or class, 503 the
database cannot be read.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from evenwatt_collector.feedback import asking as improving
from evenwatt_collector.http.endpoint import SECONDS, Beside, Endpoint, Operation, Parameter
from evenwatt_collector.http.errors import RequestError, json_answer
from evenwatt_collector.score import answer, asking
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from evenwatt_collector.score.desk import ScoreDesk


def score_routes(desk: ScoreDesk | None) -> list[Endpoint]:
    """Return the routes; none without a desk."""
    if desk is None:
        return []

    async def score(request: Request) -> Response:
        try:
            query = asking.ScoreQuery.from_parameters(request.query_params, time.time())
        except Failure as error:
            raise RequestError(400, str(error)) from None
        made = await desk.score(query)
        return await asyncio.to_thread(lambda: json_answer(answer.to_document(made)))

    async def improvement(request: Request) -> Response:
        try:
            query = improving.ImprovementQuery.from_parameters(request.query_params)
        except Failure as error:
            raise RequestError(400, str(error)) from None
        made = await desk.improvement(query)
        return await asyncio.to_thread(lambda: json_answer(improving.to_document(made)))

    return [
        Endpoint("GET", "/api/v1/score", score, _SCORE),
        Endpoint("GET", "/api/v1/improvement", improvement, _IMPROVEMENT),
    ]


_SCORE: Final = Operation(
    summary="SCI with its grade and factors (docs/score.md)",
    answer=Beside(answer.Scores, {"schema": {"const": answer.SCHEMA}}),
    long=True,
    query=(
        Parameter(name="by", words="what is scored", schema={"type": "string", "enum": list(asking.SUBJECTS)}),
        Parameter(name="name", words="only this workload, model or class"),
        Parameter(name="from", words="start of the period, Unix seconds; default: a week earlier", schema=SECONDS),
        Parameter(name="to", words="its end; default: now", schema=SECONDS),
        Parameter(name="per", words="unit of work"),
    ),
    errors=(400, 404, 503),
)
_IMPROVEMENT: Final = Operation(
    summary="What planning has saved, week by week (docs/improvement.md)",
    answer=Beside(improving.Improvements, {"schema": {"const": improving.SCHEMA}}),
    long=True,
    query=(
        Parameter(
            name="weeks",
            words="how many",
            schema={"type": "integer", "minimum": 1, "maximum": improving.MOST_WEEKS, "default": improving.WEEKS},
        ),
        Parameter(name="workload", words="only of this workload"),
        Parameter(name="by", words="each workload beside the whole", schema={"type": "string", "enum": ["workload"]}),
    ),
    errors=(400, 404, 503),
)
