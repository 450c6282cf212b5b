"""HTTP for models: the registry with its costs, which variant now, a model's card. It only reads.

Every error is ``{"error": WORDS}``: 400 what was asked cannot be read, 404 there is no such task or model, or the
registry is wrong; 503 the database cannot be read.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from evenwatt_collector.models.card import Asked
from evenwatt_collector.models.choice import Question
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from evenwatt_collector.models.desk import ModelsDesk

CHOOSE: Final = ("task", "min_quality", "max_latency_s", "where", "metric")
CARD: Final = ("model", "from", "to", "known_at", "unit", "expected_uses")


class _WrongError(Exception):
    """What was asked cannot be read."""


def models_routes(desk: ModelsDesk | None) -> list[Route]:
    """Return the routes; none without a desk."""
    if desk is None:
        return []

    async def models(request: Request) -> object:
        _known(request, ("task",))
        return {"models": await desk.models(request.query_params.get("task"))}

    async def choose(request: Request) -> object:
        _known(request, CHOOSE)
        return await desk.choose(
            Question(
                task=_text(request, "task"),
                min_quality=_number(request, "min_quality", least=None),
                max_latency_s=_number(request, "max_latency_s"),
                where=tuple(request.query_params.getlist("where")),
                metric=request.query_params.get("metric", ""),
            )
        )

    async def card(request: Request) -> object:
        _known(request, CARD)
        start_s, end_s = _number(request, "from"), _number(request, "to")
        if start_s is not None and end_s is not None and start_s >= end_s:
            raise _WrongError(f"from: found {start_s:.0f}, expected less than to, which is {end_s:.0f}")
        return await desk.card(
            Asked(
                model=_text(request, "model"),
                start_s=start_s,
                end_s=end_s,
                known_at_s=_number(request, "known_at"),
                unit=request.query_params.get("unit"),
                expected_uses=_number(request, "expected_uses"),
            )
        )

    made = {"/models": models, "/choose": choose, "/card": card}
    return [Route(f"/api/v1{path}", _answering(make)) for path, make in made.items()]


def _answering(make: Callable[[Request], Awaitable[object]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            said = await make(request)
        except _WrongError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except Failure as error:
            return JSONResponse({"error": str(error)}, status_code=503 if error.exit_code == EXIT_FAILURE else 404)
        return Response(msgspec.json.encode(said), media_type="application/json")

    return answer


def _known(request: Request, names: tuple[str, ...]) -> None:
    for name in request.query_params:
        if name not in names:
            raise _WrongError(f"{name}: no such parameter; expected some of {', '.join(names)}")


def _text(request: Request, name: str) -> str:
    found = request.query_params.get(name, "")
    if not found:
        raise _WrongError(f"{name}: missing; expected a name")
    return found


def _number(request: Request, name: str, least: float | None = 0.0) -> float | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or (least is not None and value < least):
        expected = "a number" if least is None else f"a number, {least:g} or more"
        raise _WrongError(f"{name}: found {text!r}, expected {expected}")
    return value
