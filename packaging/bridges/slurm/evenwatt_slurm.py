#!/usr/bin/env python3
"""evenwatt-slurm: lets Slurm jobs that opted in run in clean hours, as an evenwatt collector advises.

One file, standard library only (Python 3.11 or later); it calls squeue and scontrol with an operator's rights.
A job opts in by its comment, or by a QOS or partition named with --qos or --partition::

    sbatch --time=2:00:00 --comment='evenwatt:deadline=+8h' job.sh

Terms, separated by commas: ``deadline`` (+8h from submission, or 2026-11-28T06:00:00Z; default: sbatch --deadline),
``length`` (default: --time), ``margin`` (time kept for waiting in the queue; default 10m), ``interruptible=1`` (it may
be suspended while it runs), ``least_run`` (between two suspensions; default 30m), ``hold=1`` (submitted with --hold, to
be released by us), ``power`` (watts).

What it does to a waiting job is set its StartTime, never beyond its latest start (deadline - length - margin): Slurm
itself starts it then, also if this program, its machine or the collector has died. A running job that is interruptible
may be suspended; it is resumed when advised, at its latest moment, when this program ends, and when it starts again.
What was done stands in the job's AdminComment (``evenwatt:begin=...``): there is no state to lose, and doing it twice
changes nothing. Jobs that did not opt in are never touched, nor is a hold or a suspension that somebody else made.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE_S = 60.0
LEAST_MOVE_S = 600.0
"""A start is moved by no less: plans that change a little do not shake the queue."""
LEAST_PAUSE_S = 1800.0
LEAST_RUN_S = 1800.0
"""So long it runs between two pauses, if its owner says nothing else."""
LEAST_SAVING = 0.05
"""A pause has to save this share of what is left."""
MARGIN_S = 600.0
PATIENCE_S = 5.0
ENDED = {"COMPLETED": "ended", "CANCELLED": "failed", "FAILED": "failed", "TIMEOUT": "failed", "NODE_FAIL": "failed",
         "OUT_OF_MEMORY": "failed", "DEADLINE": "failed", "BOOT_FAIL": "failed", "PREEMPTED": "failed"}  # fmt: skip
_UNITS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_OURS = re.compile(r"evenwatt:(\S*)")
_TERMS = {"deadline", "length", "margin", "interruptible", "least_run", "hold", "power"}


# --- what is known of a job; pure ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A job as Slurm shows it. Times are Unix seconds, lengths seconds."""

    id: int
    state: str
    reason: str
    submit_s: float
    begin_s: float
    """When it may start at the earliest; 0: not set."""
    run_s: float
    """How long it has run, without suspensions."""
    since_s: float
    """When it was started, suspended or resumed last."""
    limit_s: float | None
    deadline_s: float | None
    end_s: float
    comment: str
    admin_comment: str
    qos: str
    partition: str
    name: str
    user: str
    het: bool

    @property
    def mark(self) -> dict[str, str]:
        """What we wrote into its AdminComment."""
        found = _OURS.search(self.admin_comment)
        return dict(part.split("=", 1) for part in found[1].split(",") if "=" in part) if found else {}

    def marked(self, **terms: float) -> str:
        """Return its AdminComment with these terms of ours, and all that others wrote there."""
        ours = "evenwatt:" + ",".join(f"{key}={value:.0f}" for key, value in terms.items()) if terms else ""
        return " ".join(f"{_OURS.sub('', self.admin_comment)} {ours}".split())


@dataclass(frozen=True)
class Wish:
    """What the owner of a job asked for, as of now."""

    left_s: float
    """How long it still has to run."""
    deadline_s: float
    latest_s: float
    """The last moment at which it can start, or go on, and be done in time."""
    earliest_s: float
    interruptible: bool
    least_run_s: float
    hold: bool
    power_w: float | None


@dataclass(frozen=True)
class Advice:
    """What the collector says: when to start (None: it sees no way to be in time), and the grams of that and of now."""

    start_s: float | None
    grams: float
    now_g: float

    @property
    def saving(self) -> float:
        """As a share."""
        return 1.0 - self.grams / self.now_g if self.now_g > 0 else 0.0


@dataclass(frozen=True)
class Step:
    """Something to be done: arguments of scontrol, and why."""

    calls: list[list[str]] = field(default_factory=list)
    why: str = ""


def read_queue(document: dict[str, Any], now_s: float) -> list[Job]:
    """Read ``squeue --json``, as Slurm 21.08 and later write it; a row that cannot be read is left out."""
    jobs = []
    for row in document.get("jobs", []):
        try:
            jobs.append(_job(row, now_s))
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
            number = row.get("job_id") if isinstance(row, dict) else None
            say(f"job {number}: cannot be read ({error!r}); left alone")
    return jobs


def _number(value: Any) -> float | None:
    """Return a number of either dialect: plain, or {"set", "infinite", "number"}."""
    if isinstance(value, dict):
        value = value["number"] if value.get("set") and not value.get("infinite") else None
    if value is None:
        return None
    if not 0 <= float(value) < 1e12:
        raise ValueError(f"{value} is no number that Slurm has")
    return float(value)


def _job(row: dict[str, Any], now_s: float) -> Job:
    def at(name: str) -> float:
        return _number(row.get(name)) or 0.0

    def text(name: str) -> str:
        said = row.get(name)
        return said.get("comment", "") if isinstance(said, dict) else str(said or "")

    states = row["job_state"] if isinstance(row["job_state"], list) else [row["job_state"]]
    state = str(states[0])
    since_s = at("suspend_time") or at("start_time")
    before_s = at("pre_sus_time")
    running_s = now_s - since_s if state == "RUNNING" else 0.0
    limit_min = _number(row.get("time_limit"))
    return Job(
        id=int(row["job_id"]),
        state=state,
        reason=text("state_reason"),
        submit_s=at("submit_time"),
        begin_s=at("eligible_time"),
        run_s=max(0.0, before_s + running_s) if state in {"RUNNING", "SUSPENDED"} else 0.0,
        since_s=since_s,
        limit_s=60.0 * limit_min if limit_min and limit_min < 2**31 else None,
        deadline_s=at("deadline") or None,
        end_s=at("end_time"),
        comment=text("comment"),
        admin_comment=text("admin_comment"),
        qos=text("qos"),
        partition=text("partition"),
        name=text("name"),
        user=text("user_name"),
        het=bool(at("het_job_id")),
    )


def length_s(text: str) -> float:
    """Return a length such as ``1h30m`` in seconds; raise ValueError."""
    if not re.fullmatch(r"(\d+(\.\d+)?[wdhms])+", text):
        raise ValueError(f"{text!r} is no length of time such as 45m or 1h30m")
    return sum(float(amount) * _UNITS[unit] for amount, unit in re.findall(r"([\d.]+)([wdhms])", text))


def moment_s(text: str, from_s: float) -> float:
    """Return ``+8h`` after a moment, or a moment with its offset, as Unix time; raise ValueError."""
    if text.startswith("+"):
        return from_s + length_s(text[1:])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a time from now such as +8h nor like 2026-11-28T06:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC; write a Z after it")
    return moment.timestamp()


def opted(job: Job, qos: dict[str, str], partitions: dict[str, str]) -> str | None:
    """Return the terms of a job that opted in; None if it did not."""
    found = re.search(r"evenwatt(?::(\S*))?", job.comment)
    if found:
        return found[1] or ""
    return qos.get(job.qos, partitions.get(job.partition))


def wish_of(job: Job, terms: str) -> Wish:
    """Return what a job's owner asked for; raise ValueError with what is wrong."""
    said = {}
    for part in filter(None, terms.split(",")):
        key, _, value = part.partition("=")
        if key not in _TERMS:
            raise ValueError(f"{key!r} is none of {', '.join(sorted(_TERMS))}")
        said[key] = value
    length = length_s(said["length"]) if "length" in said else job.limit_s
    if length is None:
        raise ValueError("it does not say how long it takes; give --time, or length=2h")
    deadlines = [job.deadline_s] if job.deadline_s else []
    if "deadline" in said:
        deadlines.append(moment_s(said["deadline"], job.submit_s))
    if not deadlines:
        raise ValueError("it has no deadline; give deadline=+8h, or --deadline")
    margin_s = length_s(said["margin"]) if "margin" in said else MARGIN_S
    left_s = max(60.0, length - job.run_s)
    latest_s = min(deadlines) - left_s - margin_s
    if job.deadline_s and job.limit_s and job.state == "PENDING":  # Slurm removes what cannot end in time by its limit
        latest_s = min(latest_s, job.deadline_s - job.limit_s - margin_s)
    return Wish(
        left_s=left_s,
        deadline_s=min(deadlines),
        latest_s=latest_s,
        earliest_s=_earliest(job),
        interruptible=said.get("interruptible") in {"1", "yes", "true"},
        least_run_s=length_s(said["least_run"]) if "least_run" in said else LEAST_RUN_S,
        hold=said.get("hold") in {"1", "yes", "true"},
        power_w=float(said["power"]) if "power" in said else None,
    )


def _earliest(job: Job) -> float:
    """Return the begin that its owner asked for; one that we set is none."""
    mark = job.mark
    ours = "begin" in mark and abs(job.begin_s - float(mark["begin"])) < 2
    if ours:
        return float(mark.get("earliest", 0))
    return job.begin_s if job.begin_s > job.submit_s + 1 else 0.0  # without --begin it is eligible when submitted


# --- what to do; pure ---------------------------------------------------------------------------------------------


def decide(job: Job, wish: Wish, advice: Advice | None, now_s: float) -> Step:
    """Say what is to be done about a job now, if anything. Without advice nothing is delayed further."""
    if job.state == "PENDING":
        return _decide_pending(job, wish, advice, now_s)
    if job.state == "SUSPENDED" and "suspended" in job.mark:
        return _decide_suspended(job, wish, advice, now_s)
    if job.state == "RUNNING" and "suspended" in job.mark:  # somebody else resumed it
        return Step([["update", f"JobId={job.id}", f"AdminComment={job.marked()}"]], "goes on")
    if job.state == "RUNNING" and wish.interruptible and advice is not None:
        return _decide_running(job, wish, advice, now_s)
    return Step()


def _decide_pending(job: Job, wish: Wish, advice: Advice | None, now_s: float) -> Step:
    held = job.reason in {"JobHeldUser", "JobHeldAdmin"}
    if held and not wish.hold:
        return Step()
    release = [["release", str(job.id)]] if held else []
    first_s = max(now_s, wish.earliest_s)
    target_s = first_s if advice is None or advice.start_s is None else max(advice.start_s, wish.earliest_s)
    if advice is None and not held:
        target_s = max(job.begin_s, first_s)  # the latest advice holds
    target_s = max(first_s, min(target_s, wish.latest_s))
    begin_s = max(job.begin_s, now_s)
    moved_s = target_s - begin_s
    due = begin_s > target_s and (target_s <= now_s + AT_ONCE_S or begin_s > max(wish.latest_s, first_s))
    if abs(moved_s) < (1.0 if due else LEAST_MOVE_S):
        return Step(release, "released" if release else "")
    begin = [_begin(job, target_s, wish.earliest_s, now_s)]
    share = f", {100 * advice.saving:.0f} % less expected" if advice and moved_s > 0 else ""
    return Step(begin + release, f"begins at {_utc(target_s)} UTC{share}; latest start {_utc(wish.latest_s)}")


def _begin(job: Job, at_s: float, earliest_s: float, now_s: float) -> list[str]:
    # scontrol reads times by its own clock: it is run with TZ=UTC.
    when = _utc(at_s) if at_s > now_s + 1 else "now"
    mark = job.marked(begin=at_s, **({"earliest": earliest_s} if earliest_s else {}))
    return ["update", f"JobId={job.id}", f"StartTime={when}", f"AdminComment={mark}"]


def _decide_suspended(job: Job, wish: Wish, advice: Advice | None, now_s: float) -> Step:
    until_s = min(float(job.mark.get("until", 0)), wish.latest_s)
    if advice is not None:
        until_s = min(advice.start_s if advice.start_s is not None else now_s, wish.latest_s)
    if until_s > now_s + AT_ONCE_S and wish.interruptible:
        return Step()
    return Step(_resume(job), "resumed")


def _resume(job: Job) -> list[list[str]]:
    return [["resume", str(job.id)], ["update", f"JobId={job.id}", f"AdminComment={job.marked()}"]]


def _decide_running(job: Job, wish: Wish, advice: Advice, now_s: float) -> Step:
    if advice.start_s is None or advice.saving < LEAST_SAVING or now_s - job.since_s < wish.least_run_s:
        return Step()
    until_s = advice.start_s
    if until_s - now_s < LEAST_PAUSE_S or until_s > wish.latest_s:
        return Step()
    mark = job.marked(suspended=now_s, until=until_s)
    calls = [["update", f"JobId={job.id}", f"AdminComment={mark}"], ["suspend", str(job.id)]]
    return Step(calls, f"suspended until {_utc(until_s)} UTC, {100 * advice.saving:.0f} % less expected")


def _utc(wall_s: float) -> str:
    return datetime.fromtimestamp(int(wall_s), UTC).strftime("%Y-%m-%dT%H:%M:%S")


# --- who is asked -------------------------------------------------------------------------------------------------


class UnreachableError(Exception):
    """The collector or Slurm did not answer; the text says how."""


class Collector:
    """A collector's HTTP API."""

    def __init__(self, url: str, zone: str, token: str = "") -> None:
        self._url, self.zone, self.token = url.rstrip("/"), zone, token

    def advise(self, job: Job, wish: Wish, now_s: float) -> Advice | None:
        """Ask about a job; None if it is refused. Raise UnreachableError."""
        try:
            said = self._call("/api/v1/advise", self.spec(job, wish, now_s))
            decision = said.get("decision") or said
            chosen = decision["chosen"]
            start = None if chosen["start_s"] is None else _finite(chosen["start_s"])
            return Advice(start, _finite(chosen["grams"]), _finite(decision["baseline"]["grams"]))
        except urllib.error.HTTPError as error:
            say(f"job {job.id}: no advice: {error.code} {error.read(300).decode(errors='replace')}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            say(f"job {job.id}: no advice: the answer cannot be read ({error!r})")
        return None

    def spec(self, job: Job, wish: Wish, now_s: float) -> dict[str, Any]:
        """Return a job the way the collector takes one; times are rounded so that the same question is asked twice."""
        spec: dict[str, Any] = {
            "name": job.name[:100] or f"slurm-{job.id}",
            "workload": f"slurm/{job.user}/{job.name}"[:120],
            "team": job.user,
            "external": f"slurm:{job.id}",
            "length": f"{wish.left_s:.0f}s",
            "deadline": _utc(wish.latest_s + wish.left_s) + "Z",
            "interruptible": wish.interruptible,
            "zones": [self.zone],
        }
        if wish.earliest_s > now_s:
            spec["earliest"] = _utc(wish.earliest_s) + "Z"
        if wish.interruptible:
            spec["least_run_s"] = wish.least_run_s
        if wish.power_w:
            spec["power_w"] = wish.power_w
        return spec

    def forecast(self) -> list[tuple[int, int, float]]:
        """Return slots of (start, end, g/kWh) from now on; raise UnreachableError, HTTPError or ValueError."""
        query = urllib.parse.urlencode({"location": self.zone})
        said = self._call(f"/emissions/forecasts/current?{query}")
        slots = []
        for point in said[0]["forecastData"]:
            start = int(moment_s(point["timestamp"], 0.0))
            slots.append((start, start + int(60 * point["duration"]), float(point["value"])))
        return sorted(slots)

    def report(self, job: Job, spec: dict[str, Any], state: str, report: dict[str, Any]) -> None:
        """Tell how a job stands, and of the job itself when it is new; a second time changes nothing."""
        name = hashlib.sha256(f"slurm:{job.id}:{job.submit_s:.0f}".encode()).hexdigest()[:12]
        try:
            if state == "waiting":
                self._call("/api/v1/jobs", {"id": name, **spec})
            else:
                self._call(f"/api/v1/jobs/{name}/report", {"state": state, **report})
        except urllib.error.HTTPError as error:
            if error.code not in {404, 409}:
                say(f"job {job.id}: not reported: {error.code} {error.read(300).decode(errors='replace')}")

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers)  # noqa: S310  (the address is the operator's)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
                return json.loads(answer.read())
        except urllib.error.HTTPError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"{self._url}: {error!r}") from None


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no number")
    return number


def call(*command: str) -> str:
    """Run one of Slurm's commands; raise UnreachableError with what it said."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "TZ": "UTC"}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError(f"{command[0]}: {error}") from None
    if done.returncode:
        raise UnreachableError(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def say(text: str) -> None:
    """Log a line."""
    print(f"evenwatt-slurm: {text}", file=sys.stderr, flush=True)


# --- the bridge ---------------------------------------------------------------------------------------------------


class Bridge:
    """Looks at the queue again and again, and does what is to be done."""

    def __init__(self, collector: Collector, options: argparse.Namespace, run: Callable[..., str] = call) -> None:
        self._collector, self._run, self._options = collector, run, options
        self._asked: dict[int, float] = {}
        self._reported: dict[int, str] = {}
        self._said: dict[int, str] = {}
        self._reachable = True

    def tick(self, now_s: float) -> None:
        """Look once. Trouble with one job is said and keeps no other one."""
        self._write_forecast(now_s)
        jobs = read_queue(json.loads(self._run("squeue", "--json", "--states=all")), now_s)
        until = time.monotonic() + self._options.interval / 2
        self._reachable = True
        for job in sorted(jobs, key=lambda job: self._asked.get(job.id, 0.0)):
            terms = opted(job, self._options.qos, self._options.partition)
            if terms is None or job.het:  # the parts of a heterogeneous job start together, as Slurm sees fit
                continue
            if job.state in ENDED and not self._collector.token:
                continue
            try:
                self._handle(job, terms, now_s, may_ask=time.monotonic() < until)
            except (UnreachableError, ValueError) as error:
                self._say_once(job, f"left alone: {error}")
                if job.state == "SUSPENDED" and "suspended" in job.mark:
                    self._do(job, Step(_resume(job), "resumed"))
        known = {job.id for job in jobs}
        for kept in (self._asked, self._reported, self._said):
            for gone in kept.keys() - known:
                del kept[gone]

    def release(self, now_s: float) -> None:
        """Leave nothing behind that only this program would end: resume and release what is ours."""
        for job in read_queue(json.loads(self._run("squeue", "--json", "--states=all")), now_s):
            terms = opted(job, self._options.qos, self._options.partition) or ""
            if job.state == "SUSPENDED" and "suspended" in job.mark:
                self._do(job, Step(_resume(job), "resumed, since the bridge ends"))
            elif job.state == "PENDING" and job.reason.startswith("JobHeld") and "hold=1" in terms.split(","):
                self._do(job, Step([["release", str(job.id)]], "released, since the bridge ends"))

    def _handle(self, job: Job, terms: str, now_s: float, *, may_ask: bool) -> None:
        wish = wish_of(job, terms)
        self._report(job, wish, now_s)
        step = decide(job, wish, self._advice(job, wish, now_s) if may_ask else None, now_s)
        if step.calls:
            self._do(job, step)

    def _advice(self, job: Job, wish: Wish, now_s: float) -> Advice | None:
        held = job.state == "PENDING" and job.reason.startswith("JobHeld")
        matters = (
            (job.state == "PENDING" and (wish.hold or not held))
            or (job.state == "SUSPENDED" and "suspended" in job.mark)
            or (job.state == "RUNNING" and wish.interruptible)
        )
        fresh = now_s - self._asked.get(job.id, 0.0) < self._options.ask_every
        soon = abs(float(job.mark.get("until", job.begin_s)) - now_s) < 2 * self._options.interval
        if not matters or not self._reachable or now_s >= wish.latest_s or (fresh and not soon and not held):
            return None
        try:
            advice = self._collector.advise(job, wish, now_s)
        except UnreachableError as error:
            self._reachable = False
            say(f"no advice: {error}; the latest advice holds, and nothing waits longer than it may")
            return None
        self._asked[job.id] = now_s
        return advice

    def _do(self, job: Job, step: Step) -> None:
        done = True
        for arguments in step.calls:
            if arguments[0] == "suspend" and not done:
                break  # what is not written down must not be suspended
            try:
                self._run("scontrol", *arguments)
            except UnreachableError as error:
                done = False
                say(f"job {job.id}: {error}")
        if done:
            say(f"job {job.id}: {step.why}")

    def _report(self, job: Job, wish: Wish, now_s: float) -> None:
        state = {"PENDING": "waiting", "RUNNING": "started", "SUSPENDED": "started"}.get(
            job.state, ENDED.get(job.state)
        )
        if not self._collector.token or not self._reachable or state is None or self._reported.get(job.id) == state:
            return
        spec = self._collector.spec(job, wish, now_s)
        if now_s >= wish.latest_s:
            del spec["deadline"]  # one that cannot be kept is refused, and the job runs all the same
        try:
            if job.id not in self._reported and job.state not in ENDED:
                self._collector.report(job, spec, "waiting", {})
            if state != "waiting":
                self._collector.report(job, spec, state, self._facts(job, now_s))
        except UnreachableError as error:
            self._reachable = False
            say(f"nothing is reported: {error}")
            return
        self._reported[job.id] = state

    def _facts(self, job: Job, now_s: float) -> dict[str, Any]:
        """Return what is known of how a job went; energy only where Slurm's accounting counts it."""
        if job.state not in ENDED:
            return {"at_s": min(job.since_s or now_s, now_s), "zone": self._collector.zone}
        facts: dict[str, Any] = {"at_s": min(job.end_s or now_s, now_s), "detail": f"Slurm: {job.state}"}
        try:
            said = self._run("sacct", "-j", str(job.id), "-nPX", "-o", "ConsumedEnergyRaw,ElapsedRaw")
            joules, _, seconds = said.strip().partition("|")
            facts |= {"duration_s": float(seconds), **({"energy_j": float(joules)} if float(joules or 0) > 0 else {})}
        except (UnreachableError, ValueError):
            pass  # no accounting here
        return facts

    def _write_forecast(self, now_s: float) -> None:
        """Write what job_submit.lua reads, whole or not at all; an old file stays and is soon too old to count."""
        path = self._options.forecast
        if path is None:
            return
        try:
            slots = self._collector.forecast()
        except (UnreachableError, urllib.error.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
            say(f"no forecast: {error!r}")
            return
        lines = [f"evenwatt-forecast 1 {now_s:.0f}"]
        lines += [f"qos {name} {terms}" for name, terms in self._options.qos.items()]
        lines += [f"partition {name} {terms}" for name, terms in self._options.partition.items()]
        lines += [f"slot {start} {end} {grams:.3f}" for start, end, grams in slots]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            written = path.with_name(f".{path.name}.{os.getpid()}")
            written.write_text("\n".join([*lines, "end", ""]))
            written.chmod(0o644)
            written.replace(path)
        except OSError as error:
            say(f"{path}: {error.strerror}; slurmctld goes on without a forecast")

    def _say_once(self, job: Job, text: str) -> None:
        if self._said.get(job.id) != text:
            self._said[job.id] = text
            say(f"job {job.id}: {text}")


def _pair(text: str) -> tuple[str, str]:
    name, _, terms = text.partition(":")
    if not name or "deadline=" not in terms:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME:TERMS such as green:deadline=+24h")
    return name, terms


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="evenwatt-slurm", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", default=os.environ.get("EVENWATT_URL", "http://127.0.0.1:9730"))
    parser.add_argument("--zone", required=True, help="this cluster's zone, as the collector knows it")
    parser.add_argument("--token-file", type=Path, help="with it, jobs and how they went are reported to the collector")
    parser.add_argument(
        "--forecast", type=Path, help="write what job_submit.lua reads, e.g. /run/evenwatt-slurm/forecast"
    )
    parser.add_argument("--qos", action="append", type=_pair, default=[], help="NAME:TERMS; its jobs opted in")
    parser.add_argument("--partition", action="append", type=_pair, default=[], help="NAME:TERMS; its jobs opted in")
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between looks at the queue")
    parser.add_argument("--ask-every", type=float, default=300.0, help="seconds until a job is asked about again")
    parser.add_argument("--once", action="store_true", help="look once and end; nothing is resumed or released")
    parser.add_argument("--release", action="store_true", help="resume and release all that is ours, and end")
    options = parser.parse_args(arguments)
    options.qos, options.partition = dict(options.qos), dict(options.partition)
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; whatever ends it, what only it would resume is resumed."""
    options = options_of(arguments)
    try:
        token = options.token_file.read_text().strip() if options.token_file else ""
    except OSError as error:
        say(f"{options.token_file}: {error.strerror}; name a file that this user may read")
        return 2
    bridge = Bridge(Collector(options.url, options.zone, token), options)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        while not (options.release or stop.is_set()):
            try:
                bridge.tick(time.time())
            except (UnreachableError, ValueError) as error:  # slurmctld restarts, or answers something that is no JSON
                say(str(error))
            if options.once:
                return 0
            stop.wait(options.interval)
    finally:
        if not options.once:
            try:
                bridge.release(time.time())
            except (UnreachableError, ValueError) as error:
                say(f"not everything could be released: {error}; run evenwatt-slurm --release")
    return 0


if __name__ == "__main__":
    sys.exit(main())
