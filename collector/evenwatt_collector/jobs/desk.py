"""What HTTP, MQTT and the command line ask of whoever keeps the jobs, and how it answers."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol

from msgspec import Meta, Struct

from evenwatt_collector.jobs.model import Decision, JobRecord, JobState, Piece
from evenwatt_collector.jobs.spec import NotNegative

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.jobs.admission import Admitted
    from evenwatt_collector.jobs.logs import LogPiece
    from evenwatt_collector.jobs.reading import Entry

MOST_JOBS: Final = 500
"""On a page."""
_CURSOR: Final = re.compile(r"([0-9]{1,15}):([0-9a-f]{12})")


class JobQuery(Struct, frozen=True, kw_only=True):
    """Which jobs; the newest come first."""

    states: tuple[JobState, ...] = ()
    """None: in every state."""
    workload: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_JOBS)] = 100
    cursor: str | None = None
    """Where the page before ended."""

    @property
    def position(self) -> tuple[int, str]:
        """What the cursor says: submission (Unix ms) and id of the last job of the page before.

        Raises:
            ValueError: it is no cursor of ours.
        """
        try:
            text = base64.urlsafe_b64decode((self.cursor or "").encode("ascii")).decode("ascii")
        except (ValueError, binascii.Error):
            text = ""
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise ValueError(f"cursor {self.cursor!r}: expected one that an earlier page gave")
        return int(found[1]), found[2]

    @staticmethod
    def after(last: JobRecord) -> str:
        """Return the cursor of the page that begins after a job."""
        return base64.urlsafe_b64encode(f"{int(last.submitted_s * 1000)}:{last.id}".encode()).decode()


class JobPage(Struct, frozen=True, kw_only=True):
    """Some jobs."""

    jobs: list[JobRecord]
    cursor: str | None = None
    """Of the next page; None: there is none."""


class ExternalReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody else's scheduler says of a job that it runs."""

    state: Literal["started", "ended", "failed"]
    zone: Annotated[str, Meta(max_length=63)] | None = None
    """Where it runs; default: the job's home."""
    node: Annotated[str, Meta(max_length=128)] = ""
    at_s: float | None = None
    """When that was, Unix time; default: now."""
    duration_s: NotNegative | None = None
    """So far; default: since ``started``."""
    energy_j: NotNegative | None = None
    """At the machines, so far, if it is known."""
    units: dict[Annotated[str, Meta(min_length=1, max_length=128)], NotNegative] = {}
    """Work done so far, by unit."""
    exit_code: Annotated[int, Meta(ge=-255, le=255)] | None = None
    detail: Annotated[str, Meta(max_length=400)] = ""


class PlaceView(Struct, frozen=True, kw_only=True):
    """A place as the plan sees it; lists have a value for each slot."""

    zone: str
    intensity_g_per_kwh: list[float]
    low_g_per_kwh: list[float]
    high_g_per_kwh: list[float]
    """90 % of all times it is between low and high."""
    known_slots: int
    """So many are forecast; the rest is a fallback."""
    source: str = ""
    """Who forecasts, and since when."""
    pue: float = 1.0
    slots_free: list[float] | None = None
    """Job slots that planned work may take; None: no limit."""
    power_free_w: list[float] | None = None
    """Watts that planned work may take; None: no limit."""


class PlannedView(Struct, frozen=True, kw_only=True):
    """A job in the plan; of one that has ended, what was."""

    job: str
    name: str
    state: JobState
    pieces: list[Piece]
    """What runs now and what is planned, in order of time."""
    grams: float
    """Expected of what is left."""
    low_g: float
    high_g: float
    deadline_s: float | None = None
    late: bool = False
    why: str = ""
    power_w: float = 0.0
    """What it adds to a node's power, on one slot."""
    ran: list[Piece] = []
    """Stretches that are over."""


class PlanView(Struct, frozen=True, kw_only=True):
    """The plan as it stands now. Times are Unix seconds."""

    made_s: float
    now_s: float
    start_s: float
    slot_s: float
    slots: int
    dispatching: bool
    """Whether the collector starts jobs itself; else it only plans and advises."""
    places: list[PlaceView]
    jobs: list[PlannedView]
    """Those that are open."""
    ended: list[PlannedView] = []
    """Those that ended last, the latest first."""
    solver: str = ""
    notes: list[str] = []


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a job is where and when it is."""

    job: JobRecord
    decisions: list[Decision]
    """The newest first."""
    lines: list[str]
    """The same in words."""


class Advice(Struct, frozen=True, kw_only=True):
    """What would be decided about a job; nothing of it is kept."""

    job: JobRecord
    decision: Decision
    warnings: list[str] = []


class ConflictError(Exception):
    """What was asked does not go with what is; the text says why and what would."""


class JobsDesk(Protocol):
    """Whoever keeps the jobs. A LookupError has words for people; trouble of the disk is a DatabaseError."""

    async def submit(self, entries: Sequence[Entry], by: str, *, check_only: bool = False) -> Admitted:
        """Take jobs, all or none of them; an id that is known already is left as it is.

        Raises:
            RefusedError: something is wrong with one of them; all that is wrong with any.
            ConflictError: an id is known already, with another specification.
        """

    async def cancel(self, job: str, by: str) -> JobRecord:
        """Give a job up; one that has ended stays as it ended.

        Raises:
            LookupError: there is no such job.
        """

    async def jobs(self, query: JobQuery) -> JobPage:
        """Return a page of jobs.

        Raises:
            ValueError: the cursor is none of ours.
        """

    async def job(self, job: str) -> JobRecord:
        """Return a job.

        Raises:
            LookupError: there is no such job.
        """

    async def logs(self, job: str, run: str | None = None) -> list[LogPiece]:
        """Return what is kept of a job's log, or of one run's.

        Raises:
            LookupError: there is no such job or run.
        """

    async def report_external(self, job: str, report: ExternalReport, by: str) -> JobRecord:
        """Take what somebody else's scheduler says of a job.

        Raises:
            LookupError: there is no such job.
            ConflictError: it is not an external job, or has ended.
        """

    async def plan(self) -> PlanView:
        """Return the plan as it stands."""

    async def explain(self, job: str) -> Explanation:
        """Return why a job is where and when it is.

        Raises:
            LookupError: there is no such job.
        """

    async def advise(self, entry: Entry, by: str) -> Advice:
        """Return what would be decided about a job; nothing is kept.

        Raises:
            RefusedError: something is wrong with it.
        """
