"""Asks the collector about jobs over HTTP, with the operator's token where something is changed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from evenwatt_cli import asking
from evenwatt_cli.exits import Exit
from evenwatt_cli.operator_settings import load
from evenwatt_cli.plain import plain
from evenwatt_collector.jobs.desk import MOST_JOBS, JobPage
from evenwatt_collector.jobs.model import JobRecord
from evenwatt_collector.models.variants import service_id
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import httpx

    from evenwatt_cli.operator_settings import OperatorSettings

T = TypeVar("T")
_TIMEOUT_S: Final = 30.0
_ID: Final = re.compile(r"[0-9a-f]{12}")


class _Service(Struct):
    service: str
    variant: str
    zone: str
    node: str = ""


class _Status(Struct):
    services: list[_Service] = []


def is_id(named: str) -> bool:
    """Return whether this is a job's whole id."""
    return _ID.fullmatch(named) is not None


class ProblemsError(Exception):
    """The collector refuses jobs; ``problems`` has its rows, each with key, error and severity."""

    def __init__(self, problems: list[dict[str, str]]) -> None:
        super().__init__("; ".join(row["error"] for row in problems))
        self.problems = problems


UnknownJobError = asking.UnknownNameError
"""The collector knows no job of that id or name."""


class Client:
    """The collector's jobs API."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings

    @classmethod
    def of(cls, config: Path | None) -> Client:
        """Return the client of the settings."""
        return cls(load(config))

    def get(self, path: str, kind: type[T], parameters: Sequence[tuple[str, str]] = ()) -> T:
        """Return an answer; ``path`` begins after ``/api/v1/``.

        Raises:
            Failure: there is none, with the collector's own words if it has some.
        """
        return self._read(self._ask("GET", path, parameters=parameters), kind)

    def text(self, path: str, accept: str = "text/plain") -> str:
        """Return an answer as it comes, in the form that is asked for; with the token, if there is one."""
        return str(plain(self._ask("GET", path, headers={"Accept": accept}).text))

    def post(self, path: str, body: object, kind: type[T]) -> T:
        """Send a body and return the answer; only who has a token may.

        Raises:
            ProblemsError: what was sent is wrong.
            Failure: there is no answer, or it is refused for another reason.
        """
        headers = {"Content-Type": "application/json", **self._authorised()}
        return self._read(self._ask("POST", path, headers=headers, body=msgspec.json.encode(body)), kind)

    def delete(self, path: str, kind: type[T]) -> T:
        """Delete something and return the answer; only who has a token may."""
        return self._read(self._ask("DELETE", path, headers=self._authorised()), kind)

    def records(self, parameters: Sequence[tuple[str, str]], limit: int) -> list[JobRecord]:
        """Return jobs, the newest first, page by page."""
        found: list[JobRecord] = []
        cursor: str | None = None
        while len(found) < limit:
            asked = [*parameters, ("limit", str(min(MOST_JOBS, limit - len(found))))]
            page = self.get("jobs", JobPage, [*asked, *([("cursor", cursor)] if cursor else [])])
            found += page.jobs
            cursor = page.cursor
            if cursor is None:
                break
        return found

    def record(self, named: str) -> JobRecord:
        """Return the job with an id, the only one whose id begins so, or the newest one of a name.

        Raises:
            UnknownJobError: there is none.
            Failure: there is more than one, or the collector cannot be asked.
        """
        if is_id(named):
            return self.get(f"jobs/{named}", JobRecord)
        latest = self.records((), MOST_JOBS)
        found = [record for record in latest if record.id.startswith(named)] if named else []
        if len(found) > 1:
            ids = ", ".join(record.id for record in found[:5])
            raise Failure(f"{named!r} begins the ids of {len(found)} jobs: {ids}; write more of it")
        of_name = [record for record in latest if record.spec.name == named]
        if len([record for record in of_name if record.open]) > 1:
            ids = ", ".join(record.id for record in of_name if record.open)
            raise Failure(f"several open jobs are called {named!r}: {ids}; name one by its id")
        if not found and not of_name:
            raise UnknownJobError(f"there is no job {named!r}; `evenwatt jobs --all` lists those that are known")
        return (found or sorted(of_name, key=lambda record: not record.open))[0]

    def serving(self, jobs: Sequence[tuple[str, str]]) -> dict[str, str]:
        """Return what services run and where, as ``VARIANT on NODE``, by id.

        Args:
            jobs: Ids and names of jobs that may be services.
        """
        if not jobs:
            return {}
        try:
            services = self.get("status", _Status).services
        except Failure:  # said only to say more
            return {}
        words = {one.service: f"{one.variant} on {one.node or one.zone}" for one in services}
        return {id_: words[service_id(name)] for id_, name in jobs if service_id(name) in words}

    def _authorised(self) -> dict[str, str]:
        """Return the header that what changes something needs; without a token nothing is sent."""
        return {"Authorization": f"Bearer {asking.token(self._settings)}"}

    def _ask(
        self,
        method: str,
        path: str,
        *,
        parameters: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> httpx.Response:
        try:
            return asking.request(
                self._settings, method, f"/api/v1/{quote(path, safe='/?=')}", parameters=parameters, headers=headers,
                body=body, timeout_s=_TIMEOUT_S,
            )  # fmt: skip
        except asking.AnswerError as error:
            if error.document.get("problems"):
                raise ProblemsError(error.document["problems"]) from None
            raise

    def _read(self, answer: httpx.Response, kind: type[T]) -> T:
        try:
            return msgspec.convert(plain(msgspec.json.decode(answer.content)), kind)
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            raise Failure(
                f"{self._settings.collector_url}: its answer cannot be read: {error}; is it of this version?",
                exit_code=Exit.FAILURE,
            ) from None
