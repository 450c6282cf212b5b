"""HTTP for the latest decisions. It only reads; as they happen they come on the stream, topic ``decisions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evenwatt_collector.decided import Decided, DecisionKind
from evenwatt_collector.http.endpoint import Endpoint, Operation, Parameter
from evenwatt_collector.http.errors import RequestError, json_answer
from evenwatt_collector.http.paging import CURSOR, LIMIT, limit_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from evenwatt_collector.decided import Decisions


def decided_routes(decisions: Decisions | None) -> list[Endpoint]:
    """Return the route; none without decisions."""
    if decisions is None:
        return []

    async def latest(request: Request) -> Response:
        said, limit = request.query_params, limit_of(request)
        kinds = frozenset(said.getlist("kind"))
        for kind in kinds:
            if kind not in set(DecisionKind):
                raise RequestError(400, f"kind: found {kind[:40]!r}, expected some of {', '.join(DecisionKind)}")
        found = decisions.page(kinds=kinds, zone=said.get("zone", ""), before=said.get("cursor", ""), limit=limit)
        return json_answer({"decisions": found, "next": found[-1]["id"] if len(found) == limit else None})

    return [Endpoint("GET", "/api/v1/decisions", latest, _DECISIONS)]


class Told(Decided, frozen=True, kw_only=True, omit_defaults=True):
    """A decision as it is told."""

    id: str


class Latest(Struct, frozen=True, kw_only=True):
    """A page of decisions."""

    decisions: list[Told]
    """The newest first."""
    next: str | None


_KINDS: Final = [kind.value for kind in DecisionKind]
_DECISIONS: Final = Operation(
    summary="The latest decisions with their reasons, the newest first",
    answer=Latest,
    query=(
        Parameter(name="kind", words="of these kinds", schema={"type": "string", "enum": _KINDS}, repeated=True),
        Parameter(name="zone", words="only of this zone"),
        LIMIT,
        CURSOR,
    ),
    errors=(400,),
)
