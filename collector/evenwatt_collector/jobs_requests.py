"""What is asked of the jobs API: what of a body or query can be taken. Problems are answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from evenwatt_collector.http.bodies import received
from evenwatt_collector.http.errors import RequestError
from evenwatt_collector.jobs.desk import MOST_JOBS, JobQuery
from evenwatt_collector.jobs.model import JobState
from evenwatt_collector.jobs.reading import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

S = TypeVar("S", bound=msgspec.Struct)

_GROUPS: Final[Mapping[str, frozenset[JobState]]] = {
    "open": frozenset({JobState.WAITING, JobState.STARTING, JobState.RUNNING, JobState.STOPPING}),
    "ended": frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED}),
}


async def body(request: Request) -> bytes:
    """Read a JSON body.

    Raises:
        RequestError: it is of another type, too long, or does not come.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError(415, f"found Content-Type {kind or 'none'!r}, expected application/json")
    return await received(request, MOST_BYTES, f"more than {MOST_BYTES:,} bytes; submit fewer jobs at once")


def decoded(text: bytes, kind: type[S]) -> S:
    """Read a body as a struct.

    Raises:
        RequestError: 400 with what is wrong with it.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise RequestError(400, str(error).replace("`", "'")) from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RequestError(400, f"not JSON: {error}") from None


def query(request: Request) -> JobQuery:
    """Read which jobs are asked for.

    ``state`` may be repeated, and ``open`` and ``ended`` stand for several; ``workload``, ``limit``, ``cursor``.

    Raises:
        RequestError: 400 with what is wrong with it.
    """
    given = request.query_params
    states: set[JobState] = set()
    for name in given.getlist("state"):
        states |= _GROUPS.get(name) or {_state(name)}
    cursor = given.get("cursor")
    limit = given.get("limit", "100")
    if not limit.isascii() or not limit.isdigit() or len(limit) > 9 or not 1 <= int(limit) <= MOST_JOBS:
        raise RequestError(400, f"limit: found {limit!r}, expected a whole number from 1 to {MOST_JOBS}")
    return JobQuery(states=tuple(sorted(states)), workload=given.get("workload"), limit=int(limit), cursor=cursor)


def flag(request: Request, name: str) -> bool:
    """Return whether a query switches something on; ``name``, ``name=1`` and ``name=true`` do."""
    text = request.query_params.get(name)
    if text is None or text.lower() in {"0", "false", "no"}:
        return False
    if text.lower() in {"", "1", "true", "yes"}:
        return True
    raise RequestError(400, f"{name}: found {text!r}, expected true or false")


def _state(name: str) -> JobState:
    try:
        return JobState(name)
    except ValueError:
        names = ", ".join([*_GROUPS, *(state.value for state in JobState)])
        raise RequestError(400, f"state: found {name!r}, expected one of {names}") from None
