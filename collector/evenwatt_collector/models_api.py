"""HTTP for models: the registry with its costs, which variant now, a model's card. It only reads.

Every error is ``{"error": WORDS}``: 400 what was asked cannot be read, 404 there is no such task or model, or the
registry is wrong; 503 the database cannot be read.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from evenwatt_collector.http.endpoint import SECONDS, Endpoint, Operation, Parameter
from evenwatt_collector.http.errors import RequestError, json_answer
from evenwatt_collector.models.card import Asked, Card
from evenwatt_collector.models.choice import Choice, Question
from evenwatt_collector.models.desk import VariantView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from evenwatt_collector.models.desk import ModelsDesk

CHOOSE: Final = ("task", "min_quality", "max_latency_s", "where", "metric")
CARD: Final = ("model", "from", "to", "known_at", "unit", "expected_uses")


def models_routes(desk: ModelsDesk | None) -> list[Endpoint]:
    """Return the routes; none without a desk."""
    if desk is None:
        return []

    async def models(request: Request) -> Any:
        return Variants(models=await desk.models(request.query_params.get("task")))

    async def choose(request: Request) -> Any:
        return await desk.choose(
            Question(
                task=_text(request, "task"),
                min_quality=_number(request, "min_quality", least=None),
                max_latency_s=_number(request, "max_latency_s"),
                where=tuple(request.query_params.getlist("where")),
                metric=request.query_params.get("metric", ""),
            )
        )

    async def card(request: Request) -> Any:
        start_s, end_s = _number(request, "from"), _number(request, "to")
        if start_s is not None and end_s is not None and start_s >= end_s:
            raise RequestError(400, f"from: found {start_s:.0f}, expected less than to, which is {end_s:.0f}")
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

    made = {"/models": (models, _MODELS), "/choose": (choose, _CHOOSE), "/card": (card, _CARD)}
    return [Endpoint("GET", f"/api/v1{path}", _answering(make), said) for path, (make, said) in made.items()]


def _answering(make: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return json_answer(await make(request))

    return answer


class Variants(Struct, frozen=True):
    """What the registry has, and what it costs."""

    models: list[VariantView]


_NUMBER: Final[dict[str, Any]] = {"type": "number", "minimum": 0}
_MODELS: Final = Operation(
    summary="Variants of models with their costs (docs/models.md)",
    answer=Variants,
    query=(Parameter(name="task", words="only of this task"),),
    errors=(404, 503),
)
_CHOOSE: Final = Operation(
    summary="The variant and node of the least carbon now",
    answer=Choice,
    query=(
        Parameter(name="task", words="a name", required=True),
        Parameter(name="min_quality", words="least quality", schema={"type": "number"}),
        Parameter(name="max_latency_s", words="longest time of an answer, seconds", schema=_NUMBER),
        Parameter(name="where", words="zones or nodes it may run on", repeated=True),
        Parameter(name="metric", words="which measure of quality"),
    ),
    errors=(400, 404, 503),
)
_CARD: Final = Operation(
    summary="Energy and emissions for a model card",
    answer=Card,
    long=True,
    query=(
        Parameter(name="model", words="a name", required=True),
        Parameter(name="from", words="start of the period, Unix seconds", schema=SECONDS),
        Parameter(name="to", words="its end, Unix seconds", schema=SECONDS),
        Parameter(name="known_at", words="as known at this moment, Unix seconds", schema=SECONDS),
        Parameter(name="unit", words="unit of work"),
        Parameter(name="expected_uses", words="how often it will be used", schema=_NUMBER),
    ),
    errors=(400, 404, 503),
)


def _text(request: Request, name: str) -> str:
    found = request.query_params.get(name, "")
    if not found:
        raise RequestError(400, f"{name}: missing; expected a name")
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
        raise RequestError(400, f"{name}: found {text!r}, expected {expected}")
    return value
