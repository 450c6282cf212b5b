"""What the demo sees while it runs, from outside: status, jobs, plan and services, as anybody could ask for them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from evenwatt_cli.demo.clean.day import GridDay

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """A node that ran a job at a moment, and the cap that was read back from it."""

    wall_s: float
    mono_ns: int
    node: str
    workload: str
    run: str
    cap_w: float


@dataclass(slots=True)
class Change:
    """A service that runs another variant."""

    wall_s: float
    variant: str
    intensity_g: float
    why: str


@dataclass(slots=True)
class Seen:
    """Everything so far."""

    day: GridDay
    status: Document = field(default_factory=dict)
    jobs: dict[str, Document] = field(default_factory=dict)
    """By id."""
    plan: Document = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    service: Document = field(default_factory=dict)
    """What the service should run, as the collector decided it."""
    caps: dict[str, str] = field(default_factory=dict)
    """By workload: the cap that holds or is tried, and why, in the collector's words."""
    score: Document = field(default_factory=dict)
    improvement: Document = field(default_factory=dict)
    began_s: float = 0.0
    """Unix time, like the others."""
    ended_s: float = 0.0
    frozen_s: float = 0.0
    """When what the first jobs emitted was made the baseline; 0: not yet."""
    failures: list[str] = field(default_factory=list)
    """Commands that did not work."""

    @property
    def nodes(self) -> list[Document]:
        """The nodes as the collector has them."""
        found: list[Document] = self.status.get("nodes", [])
        return found

    def batch(self, nodes: Collection[str]) -> list[Document]:
        """Return the batch jobs that ran on these nodes alone or have not run yet: what others run is not the demo's.

        Args:
            nodes: The simulated machines.
        """
        return [
            job
            for job in self.jobs.values()
            if not job["spec"].get("service")
            and not job["spec"].get("external")
            and all(run["node"] in nodes for run in job["runs"])
        ]

    def running(self) -> Iterator[tuple[Document, Document]]:
        """Yield each job that runs with its latest run."""
        for job in self.jobs.values():
            for run in job["runs"]:
                if run["ended_s"] is None and run["state"] is not None:
                    yield job, run

    def take_service(self, told: Document) -> None:
        """Take which variant the service should run now."""
        self.service = told
        if not self.changes or self.changes[-1].variant != told["variant"]:
            now_s = time.time()
            self.changes.append(Change(now_s, told["variant"], self.day.intensity_g(now_s), told["why"]))


def is_late(job: Document, now_s: float) -> bool:
    """Whether a job's deadline is over, or was when it ended; one that was given up is late for nobody."""
    deadline_s = job["deadline_s"]
    return bool(deadline_s) and job["state"] != "cancelled" and (job["ended_s"] or now_s) > deadline_s + 1e-6


def will_be_late(job: Document, now_s: float) -> bool:
    """Whether a job that is open is planned to end after its deadline, which is still to come."""
    return bool(job.get("late")) and job["ended_s"] is None and not is_late(job, now_s)


def cap_words(said: str) -> str:
    """Return why a cap holds, without saying twice what it is: ``376 W (trying): trying 376.2 W: ...``."""
    held, _, why = said.partition(": ")
    return why if why and held.endswith("(trying)") else said


def variant_words(variant: str, why: str) -> str:
    """Return which variant runs and why; a reason that begins with its name is not preceded by it."""
    first = why.partition(";")[0]
    return first if first.startswith(variant) else f"{variant}: {first}"


class Window:
    """Asks the collector.

    Args:
        url: Where it answers.
        seen: Takes what it says.
    """

    def __init__(self, url: str, seen: Seen) -> None:
        self._client = httpx.Client(base_url=f"{url}/api/v1", timeout=5.0)
        self._seen = seen

    def look(self) -> bool:
        """Ask how things are; return False if nobody answers."""
        try:
            self._seen.status = self._get("/status")
            for job in self._get("/jobs?limit=500")["jobs"]:
                self._seen.jobs[job["id"]] = job
            self._seen.plan = self._get("/plan")
        except httpx.HTTPError:
            return False
        for told in self._seen.status.get("services", []):
            self._seen.take_service(told)
        self._note_caps()
        return True

    def ask(self, path: str) -> Document | None:
        """Return what else the collector knows; None if it does not answer."""
        try:
            return self._get(path)
        except httpx.HTTPError:
            return None

    def look_at_caps(self) -> None:
        """Ask why the jobs that run are held where they are."""
        for job, _ in self._seen.running():
            told = self.ask(f"/jobs/{job['id']}/explain") or {}
            for line in told.get("lines", []):
                _, held, words = line.partition(" is held at ")
                if held:
                    self._seen.caps[job["spec"].get("workload") or job["spec"]["name"]] = cap_words(words)

    def close(self) -> None:
        """Ask no more."""
        self._client.close()

    def _get(self, path: str) -> Document:
        document: Document = self._client.get(path).raise_for_status().json()
        return document

    def _note_caps(self) -> None:
        caps_w = {node["node"]: node.get("cap_w") for node in self._seen.nodes}
        wall_s, mono_ns = time.time(), time.monotonic_ns()
        for job, run in self._seen.running():
            cap_w = caps_w.get(run["node"])
            if cap_w is not None:
                workload = job["spec"].get("workload") or job["spec"]["name"]
                self._seen.held.append(Held(wall_s, mono_ns, run["node"], workload, run["id"], cap_w))
