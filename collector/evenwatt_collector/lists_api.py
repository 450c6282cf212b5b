"""HTTP for lists that grow with the fleet, in pages: nodes, workloads, events. The rows are those of the status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.http.endpoint import Endpoint, Operation, Parameter
from evenwatt_collector.http.paging import CURSOR, LIMIT, page
from evenwatt_collector.status_shape import EventPage, NodePage, WorkloadPage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from evenwatt_collector.status import Document


def lists_routes(status: Callable[[], Awaitable[Document]]) -> list[Endpoint]:
    """Return the routes; ``status`` makes the status document."""

    async def nodes(request: Request) -> Response:
        wanted = {key: request.query_params[key] for key in ("zone", "state") if key in request.query_params}
        rows = [row for row in (await status())["nodes"] if all(row[key] == value for key, value in wanted.items())]
        rows.sort(key=lambda row: (row["zone"], row["node"]))
        return page(request, "nodes", rows, lambda row: (row["zone"], row["node"]), (str, str))

    async def workloads(request: Request) -> Response:
        rows = sorted((await status())["workloads"], key=lambda row: str(row["workload"]))
        return page(request, "workloads", rows, lambda row: (row["workload"],), (str,))

    async def events(request: Request) -> Response:
        zone = request.query_params.get("zone")
        rows = [row for row in (await status())["events"] if zone in {None, row["zone"]}]
        rows.sort(key=_when)
        return page(request, "events", rows, _when, (int, str, str, str, str))

    return [
        Endpoint("GET", "/api/v1/nodes", nodes, _NODES),
        Endpoint("GET", "/api/v1/workloads", workloads, _WORKLOADS),
        Endpoint("GET", "/api/v1/events", events, _EVENTS),
    ]


def _when(row: dict[str, Any]) -> tuple[int, str, str, str, str]:
    return row["wall_ms"], row["zone"], row["node"], row["name"], row["subject"]


_ZONE: Final = Parameter(name="zone", words="only of this zone")
_NODES: Final = Operation(
    summary="Nodes, by zone and name",
    answer=NodePage,
    shared=True,
    query=(
        _ZONE,
        Parameter(name="state", words="only in this state", schema={"type": "string"}),
        LIMIT,
        CURSOR,
    ),
)
_WORKLOADS: Final = Operation(
    summary="The workloads that draw most, by name", answer=WorkloadPage, shared=True, query=(LIMIT, CURSOR)
)
_EVENTS: Final = Operation(
    summary="The latest events, the oldest first", answer=EventPage, shared=True, query=(_ZONE, LIMIT, CURSOR)
)
