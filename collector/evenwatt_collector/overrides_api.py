"""HTTP for overrides: what holds, what one would do (``dry_run``), set one, end one. docs/api.md, docs/policy.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evenwatt_collector.http.endpoint import Endpoint, Operation, Parameter
from evenwatt_collector.http.errors import RequestError, json_answer
from evenwatt_collector.http.paging import CURSOR, LIMIT, page
from evenwatt_collector.http.tokens import Scope
from evenwatt_collector.jobs_requests import body, decoded, flag
from evenwatt_collector.overrides.desk import ClashError, NotActiveError, UnknownPlaceError
from evenwatt_collector.overrides.effect import ImpossibleError
from evenwatt_collector.overrides.model import Effect, Override, Wish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from evenwatt_collector.http.tokens import Caller
    from evenwatt_collector.overrides.desk import OverrideDesk

_KEY: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Overrides(Struct, frozen=True):
    """Some overrides."""

    overrides: list[Override]
    next: str | None
    """Cursor of the next page."""


class Answer(Struct, frozen=True):
    """What was set, and what it does."""

    override: Override | None
    """None: it was only asked what it would do."""
    effect: Effect


def overrides_routes(desk: OverrideDesk | None) -> list[Endpoint]:
    """Return the routes; none without a desk."""
    if desk is None:
        return []

    async def show(request: Request) -> Response:
        zone = request.query_params.get("zone")
        rows = desk.book.all if zone is None else desk.book.in_zone(zone)
        return page(request, "overrides", rows, lambda one: one.place, (str, str, str))

    async def put(request: Request) -> Response:
        wish, key = decoded(await body(request), Wish), _key(request)
        if flag(request, "dry_run"):
            return json_answer(Answer(None, desk.effect(wish)))
        override, told, new = await desk.set(wish, _by(request), key)
        return json_answer(Answer(override, told), 201 if new else 200)

    async def end(request: Request) -> Response:
        ended = await desk.end(request.path_params["override"], _by(request))
        if ended is None:
            raise RequestError(404, "there is no such override, or it has ended")
        return json_answer(ended)

    return [
        Endpoint("GET", "/api/v1/overrides", show, _SHOW),
        Endpoint("POST", "/api/v1/overrides", _answering(put), _PUT),
        Endpoint("DELETE", "/api/v1/overrides/{override}", _answering(end), _END),
    ]


def _answering(make: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await make(request)
        except UnknownPlaceError as error:
            raise RequestError(404, str(error)) from None
        except ClashError as error:
            raise RequestError(409, str(error)) from None
        except ImpossibleError as error:
            raise RequestError(422, str(error)) from None
        except NotActiveError as error:
            raise RequestError(503, str(error)) from None

    return answer


def _by(request: Request) -> str:
    caller: Caller = request.state.caller
    return caller.name


def _key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if key and not _KEY.fullmatch(key):
        raise RequestError(400, "Idempotency-Key: expected 8 to 64 of A-Z, a-z, 0-9, '_' and '-'")
    return key


_SHOW: Final = Operation(
    summary="Overrides that hold, by zone and node",
    answer=Overrides,
    query=(Parameter(name="zone", words="only of this zone"), LIMIT, CURSOR),
    errors=(400,),
)
_PUT: Final = Operation(
    summary="Set an override: a limit of a zone, a cap or pause of a node, for a while",
    answer=Answer,
    more={201: Answer},
    scope=Scope.ACT,
    query=(Parameter(name="dry_run", words="only say what it would do", schema={"type": "boolean"}),),
    headers=(
        Parameter(
            name="Idempotency-Key",
            words="names the request: sent twice it sets one override",
            schema={"type": "string", "pattern": "^[A-Za-z0-9_-]{8,64}$"},
        ),
    ),
    body=Wish,
    errors=(400, 404, 408, 409, 413, 415, 422, 503),
)
_END: Final = Operation(
    summary="End an override now",
    answer=Override,
    scope=Scope.ACT,
    path=(Parameter(name="override", words="id of an override"),),
    errors=(404, 503),
)
