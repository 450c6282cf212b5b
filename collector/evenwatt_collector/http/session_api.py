"""HTTP for the page's log-in: a token is exchanged for a session, whose cookie no script can read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct
from starlette.responses import Response

from evenwatt_collector.http.endpoint import Endpoint, Operation
from evenwatt_collector.http.errors import json_answer
from evenwatt_collector.http.tokens import Scope
from evenwatt_collector.jobs_requests import body, decoded

if TYPE_CHECKING:
    from starlette.requests import Request

    from evenwatt_collector.http.gate import Gate
    from evenwatt_collector.http.sessions import Session


class LogIn(Struct, frozen=True, forbid_unknown_fields=True):
    """What logs in."""

    token: Annotated[str, Meta(min_length=1, max_length=1_000)]


class Standing(Struct, frozen=True):
    """Who is logged in, and what there is to do."""

    name: str | None
    """Whose token it was; None: nobody is logged in."""
    scopes: list[str]
    csrf: str | None
    """To be sent as ``X-Evenwatt-CSRF`` with what changes something."""
    ends_in_s: float | None
    """When the session ends if nothing more is asked."""
    actions: bool
    """Whether there is a token here with which overrides can be set at all."""
    read: str
    """``open``, or ``token`` where reading takes a token too."""


def session_routes(gate: Gate) -> list[Endpoint]:
    """Return the routes; ``gate`` keeps the sessions."""

    async def show(request: Request) -> Response:
        return json_answer(_standing(gate, gate.session(request)))

    async def log_in(request: Request) -> Response:
        given = decoded(await body(request), LogIn)
        identity, session = gate.log_in(request, given.token.strip())
        answer = json_answer(_standing(gate, session), 201)
        gate.remember(answer, identity)
        return answer

    async def log_out(request: Request) -> Response:
        gate.log_out(request)
        answer = Response(status_code=204)
        gate.remember(answer, "")
        return answer

    return [
        Endpoint("GET", "/api/v1/session", show, _SHOW),
        Endpoint("POST", "/api/v1/session", log_in, _LOG_IN),
        Endpoint("DELETE", "/api/v1/session", log_out, _LOG_OUT),
    ]


def _standing(gate: Gate, session: Session | None) -> Standing:
    caller = session.caller if session else None
    return Standing(
        name=caller.name if caller else None,
        scopes=sorted(scope.value for scope in caller.scopes) if caller else [],
        csrf=session.proof if session else None,
        ends_in_s=session.ends_s() - time.monotonic() if session else None,
        actions=gate.tokens.anybody_may(Scope.ACT),
        read=gate.read,
    )


_SHOW: Final = Operation(summary="Who is logged in", answer=Standing, scope=None)
_LOG_IN: Final = Operation(
    summary="Log in with a token; sets a cookie",
    answer=Standing,
    status=201,
    body=LogIn,
    errors=(400, 401, 403, 408, 413, 415, 429),
    scope=None,
)
_LOG_OUT: Final = Operation(summary="Log out", answer=None, status=204, errors=(403,), scope=None)
