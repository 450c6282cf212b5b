"""HTTP for who looks closer: a node down to its counters, and the last hour of a zone. It only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evenwatt_collector.http.endpoint import Endpoint, Operation, Parameter
from evenwatt_collector.http.errors import RequestError, json_answer
from evenwatt_collector.status_shape import History, NodeDetail
from evenwatt_collector.zone_history import KEPT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from evenwatt_collector.status import Document

_LONGEST_MIN: Final = int(KEPT_S / 60)


def detail_routes(
    node: Callable[[str, str], Document | None], history: Callable[[str, float], Document | None]
) -> list[Endpoint]:
    """Return the routes.

    Args:
        node: Returns a node's details, by zone and name; None where there is no such node.
        history: Returns the latest samples of a zone, so many seconds back; None where none are kept.
    """

    async def detail(request: Request) -> Response:
        zone, name = request.path_params["zone"], request.path_params["node"]
        found = node(zone, name)
        if found is None:
            raise RequestError(404, f"no node {name[:80]!r} was heard of in zone {zone[:80]!r}")
        return json_answer(found)

    async def hour(request: Request) -> Response:
        zone, asked = request.query_params["zone"], request.query_params.get("minutes", str(_LONGEST_MIN))
        if not (asked.isascii() and asked.isdigit() and 1 <= int(asked[:9]) <= _LONGEST_MIN):
            raise RequestError(400, f"minutes: found {asked[:40]!r}, expected a whole number from 1 to {_LONGEST_MIN}")
        found = history(zone, int(asked) * 60.0)
        if found is None:
            raise RequestError(404, f"no samples are kept of a zone {zone[:80]!r}")
        return json_answer(found)

    return [
        Endpoint("GET", "/api/v1/nodes/{zone}/{node}", detail, _NODE),
        Endpoint("GET", "/api/v1/history", hour, _HISTORY),
    ]


_NODE: Final = Operation(summary="A node down to its counters", answer=NodeDetail, errors=(404,))
_HISTORY: Final = Operation(
    summary="The last hour of a zone: watts, budget, what may be drawn at most, grams per hour, intensity",
    answer=History,
    shared=True,
    query=(
        Parameter(name="zone", words="the zone", required=True),
        Parameter(
            name="minutes",
            words=f"so far back; default: {_LONGEST_MIN}",
            schema={"type": "integer", "minimum": 1, "maximum": _LONGEST_MIN},
        ),
    ),
    errors=(400, 404),
)
