"""A route with what is said of it.

One declaration decides who is let in, which parameters are known, and what stands in the OpenAPI document.
"""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from evenwatt_collector.http.errors import RequestError, error_answer
from evenwatt_collector.http.sending import in_pieces
from evenwatt_collector.http.shared import unless_left
from evenwatt_collector.http.tokens import Scope
from evenwatt_collector.storage import DatabaseError
from evenwatt_daemon import EXIT_FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from evenwatt_collector.http.gate import Gate
    from evenwatt_collector.http.shared import Shared

Schema = dict[str, Any]
TEXT: Final[Schema] = {"type": "string"}
SECONDS: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 253_402_300_799}
OBJECT: Final[Schema] = {"type": "object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a query or path."""

    name: str
    words: str
    schema: Schema = field(default_factory=lambda: TEXT)
    required: bool = False
    repeated: bool = False
    """It may be given several times."""


@dataclass(frozen=True, slots=True)
class Beside:
    """An answer that has the fields of a type, and some more."""

    kind: Any
    more: dict[str, Any]
    """By name: types or JSON schemas; all of them are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a request does and how it is answered."""

    summary: str
    answer: Any = field(default_factory=lambda: OBJECT)
    """A type that msgspec can describe, a JSON schema, or a type with more beside it; None: no body."""
    media: str = "application/json"
    status: int = 200
    more: dict[int, Any] = field(default_factory=dict)
    """Further successes, each with its answer, which is of ``application/json``."""
    errors: tuple[int, ...] = ()
    """Statuses of errors, beside those that follow from the rest."""
    scope: Scope | None = Scope.READ
    """What it takes; None: nothing."""
    query: tuple[Parameter, ...] | None = ()
    """Parameters that are known, all others are refused; None: anything goes."""
    headers: tuple[Parameter, ...] = ()
    path: tuple[Parameter, ...] = ()
    """What is to be said of parts of the path; they are texts otherwise."""
    body: Any = None
    """A type or JSON schema of what is sent, as ``application/json``."""
    long: bool = False
    """It may take seconds of a processor: only so many are answered at once (``turns``), and equal ones together."""
    shared: bool = False
    """It costs much when many ask at once: who asks while it is made gets the same answer. ``long`` implies it."""


class Endpoint(Route):
    """A route that is described.

    Args:
        method: Of HTTP.
        path: Where.
        handler: Answers; may raise RequestError, DatabaseError (503) and Failure (404, or 503 where it says so).
        operation: What is said of it.
    """

    def __init__(
        self, method: str, path: str, handler: Callable[[Request], Awaitable[Response]], operation: Operation
    ) -> None:
        super().__init__(path, _answering(handler, operation), methods=[method], name=f"{method} {path}")
        self.method, self.operation = method, operation
        self.words = inspect.getdoc(handler) or ""


def _answering(
    handler: Callable[[Request], Awaitable[Response]], operation: Operation
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        gate: Gate = request.app.state.gate
        try:
            request.state.caller = gate.admit(request, operation.scope)
            known_keys(request, operation)
            if operation.long or operation.shared:
                return in_pieces(await _shared(handler, request, long=operation.long))
            return in_pieces(await handler(request))
        except RequestError as error:
            return error_answer(error.status, str(error), error.headers)
        except DatabaseError as error:
            return error_answer(503, f"the database cannot be used: {error}; try again")
        except Failure as error:
            return error_answer(503 if error.exit_code == EXIT_FAILURE else 404, str(error))

    return answer


async def _shared(handler: Callable[[Request], Awaitable[Response]], request: Request, *, long: bool) -> Response:
    """Answer all who ask the same and may see the same together."""
    asked = tuple(sorted(request.query_params.multi_items(), key=lambda one: one[0]))
    key = (request.url.path, asked, request.state.caller.scopes)
    shared: Shared = request.app.state.shared
    return await unless_left(request.receive, shared.answer(key, lambda: handler(request), long=long))


def known_keys(request: Request, operation: Operation) -> None:
    """See that a query has no keys that mean nothing, and none twice.

    Raises:
        RequestError: 400 naming the first of them.
    """
    if operation.query is None:
        return
    known = {parameter.name: parameter for parameter in operation.query}
    given = Counter(name for name, _ in request.query_params.multi_items())
    for name, times in given.items():
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise RequestError(400, f"unknown parameter {name[:40]!r}; known are {listed}")
        if times > 1 and not known[name].repeated:
            raise RequestError(400, f"parameter {name!r} stands twice; give it once")
    for parameter in operation.query:
        if parameter.required and parameter.name not in given:
            raise RequestError(400, f"{parameter.name}: missing; expected {parameter.words}")
