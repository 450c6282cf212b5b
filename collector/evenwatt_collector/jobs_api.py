"""HTTP for jobs: submit, list, look, cancel, logs, reasons, reports of other schedulers, the plan, advice.

Whoever can reach the API may read, but what work has written: whoever wants that, or changes something, needs a bearer
token (``[jobs] token_file``; without one nobody may change anything, and logs are as open as the rest). Every error is
``{"error": WORDS}``, and ``problems`` beside it where a job is wrong: each with its key, and a severity.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from evenwatt_collector.jobs.admission import RefusedError
from evenwatt_collector.jobs.desk import ConflictError, ExternalReport
from evenwatt_collector.jobs.logs import log_text
from evenwatt_collector.jobs.reading import read, schema
from evenwatt_collector.jobs_requests import RequestError, authorised, body, decoded, flag, known_keys, query
from evenwatt_collector.policy.problems import key_of
from evenwatt_collector.storage import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request

    from evenwatt_collector.jobs.desk import JobsDesk
    from evenwatt_collector.jobs.reading import Entry
    from evenwatt_collector.jobs.tokens import Tokens
    from evenwatt_collector.policy.problems import Problem

_NONE: Final[frozenset[str]] = frozenset()
_MOST_ADVISING: Final = 16
"""Advice takes a forecast and a plan: more at once would only hold up who steers power."""
_RETRY: Final = {"Retry-After": "1"}


def jobs_routes(desk: JobsDesk | None, tokens: Tokens) -> list[Route]:
    """Return the routes; none without a desk.

    Args:
        desk: Keeps the jobs.
        tokens: Who may change anything.
    """
    if desk is None:
        return []
    api = _Api(desk, tokens)
    routes: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("POST", "/jobs", api.submit),
        ("GET", "/jobs", api.jobs),
        ("GET", "/jobs/schema", api.schema),
        ("GET", "/jobs/{job}", api.job),
        ("DELETE", "/jobs/{job}", api.cancel),
        ("GET", "/jobs/{job}/logs", api.logs),
        ("GET", "/jobs/{job}/explain", api.explain),
        ("POST", "/jobs/{job}/report", api.report),
        ("GET", "/plan", api.plan),
        ("POST", "/advise", api.advise),
    ]
    return [Route(f"/api/v1{path}", _answering(make), methods=[method]) for method, path, make in routes]


class _Api:
    """The endpoints."""

    def __init__(self, desk: JobsDesk, tokens: Tokens) -> None:
        self._desk, self._tokens = desk, tokens
        self._advising = 0

    async def submit(self, request: Request) -> Response:
        """Take one job, or ``{"jobs": [...]}``; ``?check=true`` only says what is wrong."""
        by = authorised(request, self._tokens)
        known_keys(request, frozenset({"check"}))
        check_only = flag(request, "check")
        entries = await asyncio.to_thread(_entries, await body(request))  # a thousand jobs take a while
        admitted = await self._desk.submit(entries, by, check_only=check_only)
        answer = {
            "jobs": admitted.records,
            "new": sorted(admitted.new),
            "kept": not check_only,
            "warnings": _problems(admitted.warnings),
        }
        return _json(answer, 201 if admitted.new and not check_only else 200)

    async def jobs(self, request: Request) -> Response:
        return _json(await self._desk.jobs(query(request)))

    async def schema(self, request: Request) -> Response:
        known_keys(request, _NONE)
        return Response(msgspec.json.encode(schema()), media_type="application/schema+json")

    async def job(self, request: Request) -> Response:
        known_keys(request, _NONE)
        return _json(await self._desk.job(_id(request)))

    async def cancel(self, request: Request) -> Response:
        by = authorised(request, self._tokens)
        known_keys(request, _NONE)
        return _json(await self._desk.cancel(_id(request), by))

    async def logs(self, request: Request) -> Response:
        """Return pieces as JSON, or with ``Accept: text/plain`` the text; what work writes is not for everybody."""
        if self._tokens:
            authorised(request, self._tokens)
        known_keys(request, frozenset({"run"}))
        pieces = await self._desk.logs(_id(request), request.query_params.get("run"))
        if "text/plain" not in request.headers.get("accept", ""):
            return _json({"pieces": pieces})
        run = request.query_params.get("run")
        runs = [one for one in (await self._desk.job(_id(request))).runs if run in {None, one.id}]
        return PlainTextResponse(log_text(runs, pieces))

    async def explain(self, request: Request) -> Response:
        known_keys(request, _NONE)
        return _json(await self._desk.explain(_id(request)))

    async def report(self, request: Request) -> Response:
        by = authorised(request, self._tokens)
        known_keys(request, _NONE)
        report = decoded(await body(request), ExternalReport)
        return _json(await self._desk.report_external(_id(request), report, by))

    async def plan(self, request: Request) -> Response:
        known_keys(request, _NONE)
        return _json(await self._desk.plan())

    async def advise(self, request: Request) -> Response:
        """Say what would be decided; nothing is kept, so nobody has to be known. Only so many at once."""
        known_keys(request, _NONE)
        if self._advising >= _MOST_ADVISING:
            raise RequestError(429, f"{_MOST_ADVISING} questions are being thought over; ask again", _RETRY)
        self._advising += 1
        try:
            return await self._advise(request)
        finally:
            self._advising -= 1

    async def _advise(self, request: Request) -> Response:
        entries = await asyncio.to_thread(_entries, await body(request))  # a thousand jobs take a while
        if len(entries) != 1:
            raise RequestError(400, f"found {len(entries)} jobs, expected one; ask for each of them")
        return _json(await self._desk.advise(entries[0], "advise"))


def _answering(make: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint whose errors are answers."""

    async def answer(request: Request) -> Response:
        try:
            return await make(request)
        except RequestError as error:
            return _error(error.status, str(error), error.headers)
        except RefusedError as error:
            return _error(422, str(error), problems=_problems(error.problems))
        except (ConflictError, LookupError, ValueError, DatabaseError) as error:
            return _error(*_told(error))

    return answer


def _told(error: Exception) -> tuple[int, str]:
    """Return a status and words."""
    words = str(error.args[0]) if error.args else type(error).__name__
    if isinstance(error, DatabaseError):
        return 503, f"the database cannot be used: {words}; try again"
    return next(status for kind, status in _STATUSES.items() if isinstance(error, kind)), words


_STATUSES: Final = {ConflictError: 409, LookupError: 404, ValueError: 400}


def _entries(text: bytes) -> list[Entry]:
    found = read(text, "json", lambda: secrets.token_hex(6))
    if found.problems:
        first = found.problems[0]
        if not first.path and first.text.startswith("not "):
            raise RequestError(400, first.text)
        raise RefusedError(found.problems)
    return found.entries


def _id(request: Request) -> str:
    return str(request.path_params["job"])


def _problems(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [{"key": key_of(p.path), "error": p.text, "severity": p.severity.value} for p in problems]


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _error(status: int, text: str, headers: dict[str, str] | None = None, **facts: Any) -> Response:
    content = msgspec.json.encode({"error": text, **facts})
    return Response(content, status, headers=headers, media_type="application/json")
