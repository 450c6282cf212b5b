"""HTTP for jobs: submit, list, look, cancel, logs, reasons, reports of other schedulers, the plan, advice.

What changes something, and what work has written, takes a token with the scope ``jobs``. Every error is
``{"error": WORDS}``, and ``problems`` beside it where a job is wrong: each with its key, and a severity.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct
from starlette.responses import PlainTextResponse, Response

from evenwatt_collector.http.endpoint import OBJECT, Endpoint, Operation, Parameter
from evenwatt_collector.http.errors import RequestError, error_answer
from evenwatt_collector.http.errors import json_answer as _json
from evenwatt_collector.http.paging import CURSOR, LIMIT
from evenwatt_collector.http.tokens import Scope
from evenwatt_collector.jobs.admission import RefusedError
from evenwatt_collector.jobs.desk import Advice, ConflictError, Explanation, ExternalReport, JobPage, PlanView
from evenwatt_collector.jobs.logs import log_text
from evenwatt_collector.jobs.model import JobRecord, JobState
from evenwatt_collector.jobs.reading import read, schema
from evenwatt_collector.jobs_requests import body, decoded, flag, query
from evenwatt_collector.policy.problems import key_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request

    from evenwatt_collector.http.tokens import Caller
    from evenwatt_collector.jobs.desk import JobsDesk
    from evenwatt_collector.jobs.reading import Entry
    from evenwatt_collector.policy.problems import Problem

_MOST_ADVISING: Final = 16
"""Advice takes a forecast and a plan: more at once would only hold up who steers power."""
_RETRY: Final = {"Retry-After": "1"}


def jobs_routes(desk: JobsDesk | None) -> list[Endpoint]:
    """Return the routes; none without a desk, which keeps the jobs."""
    if desk is None:
        return []
    api = _Api(desk)
    routes: list[tuple[str, str, Callable[[Request], Awaitable[Response]], Operation]] = [
        ("POST", "/jobs", api.submit, _SUBMIT),
        ("GET", "/jobs", api.jobs, _JOBS),
        ("GET", "/jobs/schema", api.schema, _SCHEMA),
        ("GET", "/jobs/{job}", api.job, _JOB),
        ("DELETE", "/jobs/{job}", api.cancel, _CANCEL),
        ("GET", "/jobs/{job}/logs", api.logs, _LOGS),
        ("GET", "/jobs/{job}/explain", api.explain, _EXPLAIN),
        ("POST", "/jobs/{job}/report", api.report, _REPORT),
        ("GET", "/plan", api.plan, _PLAN),
        ("POST", "/advise", api.advise, _ADVISE),
    ]
    return [Endpoint(method, f"/api/v1{path}", _answering(make), said) for method, path, make, said in routes]


class _Api:
    """The endpoints."""

    def __init__(self, desk: JobsDesk) -> None:
        self._desk = desk
        self._advising = 0

    async def submit(self, request: Request) -> Response:
        """Take one job, or ``{"jobs": [...]}``; ``?check=true`` only says what is wrong."""
        check_only = flag(request, "check")
        entries = await asyncio.to_thread(_entries, await body(request))  # a thousand jobs take a while
        admitted = await self._desk.submit(entries, _by(request), check_only=check_only)
        answer = {
            "jobs": admitted.records,
            "new": sorted(admitted.new),
            "kept": not check_only,
            "warnings": _problems(admitted.warnings),
        }
        return _json(answer, 201 if admitted.new and not check_only else 200)

    async def jobs(self, request: Request) -> Response:
        return _json(await self._desk.jobs(query(request)))

    async def schema(self, _request: Request) -> Response:
        return Response(msgspec.json.encode(schema()), media_type="application/schema+json")

    async def job(self, request: Request) -> Response:
        return _json(await self._desk.job(_id(request)))

    async def cancel(self, request: Request) -> Response:
        return _json(await self._desk.cancel(_id(request), _by(request)))

    async def logs(self, request: Request) -> Response:
        """Return pieces as JSON, or with ``Accept: text/plain`` the text; what work writes is not for everybody."""
        pieces = await self._desk.logs(_id(request), request.query_params.get("run"))
        if "text/plain" not in request.headers.get("accept", ""):
            return _json({"pieces": pieces})
        run = request.query_params.get("run")
        runs = [one for one in (await self._desk.job(_id(request))).runs if run in {None, one.id}]
        return PlainTextResponse(log_text(runs, pieces))

    async def explain(self, request: Request) -> Response:
        return _json(await self._desk.explain(_id(request)))

    async def report(self, request: Request) -> Response:
        report = decoded(await body(request), ExternalReport)
        return _json(await self._desk.report_external(_id(request), report, _by(request)))

    async def plan(self, _request: Request) -> Response:
        return _json(await self._desk.plan())

    async def advise(self, request: Request) -> Response:
        """Say what would be decided; nothing is kept, so nobody has to be known. Only so many at once."""
        entries = await asyncio.to_thread(_entries, await body(request))  # a thousand jobs take a while
        if len(entries) != 1:
            raise RequestError(400, f"found {len(entries)} jobs, expected one; ask for each of them")
        if self._advising >= _MOST_ADVISING:
            raise RequestError(429, f"{_MOST_ADVISING} questions are being thought over; ask again", _RETRY)
        self._advising += 1
        try:
            return _json(await self._desk.advise(entries[0], "advise"))
        finally:
            self._advising -= 1


def _answering(make: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint whose errors are answers."""

    async def answer(request: Request) -> Response:
        try:
            return await make(request)
        except RefusedError as error:
            return error_answer(422, str(error), problems=_problems(error.problems))
        except (ConflictError, LookupError, ValueError) as error:
            words = str(error.args[0]) if error.args else type(error).__name__
            return error_answer(next(status for kind, status in _STATUSES.items() if isinstance(error, kind)), words)

    return answer


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


def _by(request: Request) -> str:
    """Return whose token it was."""
    caller: Caller = request.state.caller
    return caller.name


class Submitted(Struct, frozen=True):
    """What became of a submission."""

    jobs: list[JobRecord]
    new: list[str]
    """Ids of those that were not known before."""
    kept: bool
    """False where they were only checked."""
    warnings: list[dict[str, str]]


_ID: Final = (Parameter(name="job", words="id of a job"),)
_STATES: Final = ["open", "ended", *(state.value for state in JobState)]
_SUBMIT: Final = Operation(
    summary="Submit one job, or several as {'jobs': [...]} (docs/jobs.md)",
    answer=Submitted,
    more={201: Submitted},
    errors=(400, 408, 409, 413, 415, 422, 503),
    scope=Scope.JOBS,
    query=(Parameter(name="check", words="only say what is wrong", schema={"type": "boolean"}),),
    body=OBJECT,
)
_JOBS: Final = Operation(
    summary="Jobs, the newest first",
    answer=JobPage,
    errors=(400, 503),
    query=(
        Parameter(name="state", words="of these states", schema={"type": "string", "enum": _STATES}, repeated=True),
        Parameter(name="workload", words="of this workload"),
        LIMIT,
        CURSOR,
    ),
)
_SCHEMA: Final = Operation(summary="JSON Schema of a submission", media="application/schema+json")
_JOB: Final = Operation(summary="One job", answer=JobRecord, errors=(404, 503), path=_ID)
_CANCEL: Final = Operation(
    summary="Give a job up", answer=JobRecord, errors=(404, 409, 503), scope=Scope.JOBS, path=_ID
)
_LOGS: Final = Operation(
    summary="What its runs have written; as text with Accept: text/plain",
    errors=(404, 503),
    scope=Scope.JOBS,
    path=_ID,
    query=(Parameter(name="run", words="only of this run"),),
)
_EXPLAIN: Final = Operation(
    summary="Why a job is when and where it is", answer=Explanation, errors=(404, 503), path=_ID
)
_REPORT: Final = Operation(
    summary="What another scheduler says of a job that it runs",
    answer=JobRecord,
    errors=(400, 404, 408, 409, 413, 415, 503),
    scope=Scope.JOBS,
    path=_ID,
    body=ExternalReport,
)
_PLAN: Final = Operation(summary="What is planned: slots, intensity, pieces of jobs", answer=PlanView, errors=(503,))
_ADVISE: Final = Operation(
    summary="What would be decided about a job; nothing is kept",
    answer=Advice,
    errors=(400, 404, 408, 409, 413, 415, 422, 429, 503),
    body=OBJECT,
)
