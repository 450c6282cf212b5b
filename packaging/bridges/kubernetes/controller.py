#!/usr/bin/env python3
"""Starts suspended Jobs and gated Pods in clean hours, as an evenwatt collector advises.

One file, standard library only. A Job opts in by being created with ``spec.suspend: true`` and a label; a Pod by the
scheduling gate ``evenwatt.io/clean-hour`` and the same label::

    labels:      {evenwatt.io/deadline: 8h}        # from its creation; or 20261128T060000Z, a moment in UTC
    annotations: {evenwatt.io/length: 2h}          # default: activeDeadlineSeconds
                 {evenwatt.io/zones: hall-1}       # default: --zone
                 {evenwatt.io/interruptible: "true"}   # a Job that saves its state may be suspended again

When it is time, ``spec.suspend`` becomes false, or the gate is taken away. ``evenwatt.io/why``, ``/start`` and
``/latest-start`` say what is expected. Work comes first: the latest start (deadline - length - margin) is kept without
any advice, and what cannot be understood starts at once and says so. There is no state but the objects themselves, so
several replicas, a restart or a second run change nothing; ``--overdue`` looks once and starts what has to start.

A Job that somebody else suspended later, or that Kueue manages, is left alone.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import re
import signal
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "evenwatt.io/"
LABEL = f"{PREFIX}deadline"
GATE = f"{PREFIX}clean-hour"
KUEUE = "kueue.x-k8s.io/queue-name"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
AT_ONCE_S = 60.0
LEAST_MOVE_S = 600.0
LEAST_PAUSE_S = 1800.0
LEAST_RUN_S = 1800.0
LEAST_SAVING = 0.05
MARGIN_S = 600.0
"""Time kept for scheduling and pulling images."""
PATIENCE_S = 5.0
_UNITS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PATHS = {"Job": "/apis/batch/v1", "Pod": "/api/v1"}


# --- what is known of a workload; pure ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Workload:
    """A Job or Pod that opted in."""

    kind: str
    namespace: str
    name: str
    version: str
    created_s: float
    started_s: float | None
    """When it was started last; None: it has not been."""
    waiting: bool
    """Suspended, or held by our gate."""
    over: bool
    gates: tuple[str, ...]
    labels: dict[str, str]
    annotations: dict[str, str]
    limit_s: float | None

    def note(self, name: str) -> str:
        """Return one of our annotations."""
        return self.annotations.get(PREFIX + name, "")

    @property
    def path(self) -> str:
        """Where it stands in the API."""
        return f"{_PATHS[self.kind]}/namespaces/{self.namespace}/{self.kind.lower()}s/{self.name}"


@dataclass(frozen=True)
class Wish:
    """What its owner asked for, as of now."""

    left_s: float
    latest_s: float
    zones: tuple[str, ...]
    interruptible: bool


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


def read_workload(kind: str, item: dict[str, Any]) -> Workload:
    """Read an object of the API; raise ValueError for what is none."""
    try:
        return _workload(kind, item)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"no {kind} as the API describes it: {error!r}") from None


def _name(item: Any) -> str:
    try:
        return str(item["metadata"]["name"])
    except (KeyError, TypeError):
        return "an object without a name"


def _workload(kind: str, item: dict[str, Any]) -> Workload:
    meta, spec, status = item["metadata"], item.get("spec", {}), item.get("status", {})
    gates = tuple(gate["name"] for gate in spec.get("schedulingGates") or ())
    ended = any(
        c.get("type") in {"Complete", "Failed"} and c["status"] == "True" for c in status.get("conditions") or ()
    )
    limit = spec.get("activeDeadlineSeconds")
    return Workload(
        kind=kind,
        namespace=meta["namespace"],
        name=meta["name"],
        version=meta["resourceVersion"],
        created_s=moment_s(meta["creationTimestamp"]),
        started_s=moment_s(status["startTime"]) if status.get("startTime") else None,
        waiting=bool(spec.get("suspend")) if kind == "Job" else GATE in gates,
        over=ended or "deletionTimestamp" in meta or status.get("phase") in {"Succeeded", "Failed"},
        gates=gates,
        labels={name: str(value) for name, value in (meta.get("labels") or {}).items()},
        annotations={name: str(value) for name, value in (meta.get("annotations") or {}).items()},
        limit_s=None if limit is None else float(limit),
    )


def length_s(text: str) -> float:
    """Return a length such as ``1h30m`` in seconds; raise ValueError."""
    if not re.fullmatch(r"(\d+(\.\d+)?[wdhms])+", text):
        raise ValueError(f"{text!r} is no length of time such as 45m or 1h30m")
    return sum(float(amount) * _UNITS[unit] for amount, unit in re.findall(r"([\d.]+)([wdhms])", text))


def moment_s(text: str) -> float:
    """Return a moment with its offset as Unix time; raise ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC; write a Z after it")
    return moment.timestamp()


def wish_of(work: Workload, zone: str, now_s: float) -> Wish:
    """Return what its owner asked for; raise ValueError with what is wrong."""
    said = work.labels.get(LABEL, "")
    try:
        deadline_s = moment_s(said) if "T" in said else work.created_s + length_s(said)
    except ValueError:
        raise ValueError(
            f"{LABEL}={said!r}: expected a length such as 8h, or a moment such as 20261128T060000Z"
        ) from None
    length = length_s(work.note("length")) if work.note("length") else work.limit_s
    if length is None:
        raise ValueError(f"it does not say how long it takes: annotate {PREFIX}length=2h, or set activeDeadlineSeconds")
    margin_s = length_s(work.note("margin")) if work.note("margin") else MARGIN_S
    ran_s = float(work.note("ran") or 0)
    if not work.waiting and work.started_s is not None:
        ran_s += max(0.0, now_s - work.started_s)
    left_s = max(60.0, length - ran_s)
    zones = tuple(filter(None, (work.note("zones") or zone).split(",")))
    interruptible = work.kind == "Job" and work.note("interruptible") == "true"
    return Wish(left_s, deadline_s - left_s - margin_s, zones, interruptible)


# --- what to do; pure ---------------------------------------------------------------------------------------------


def concerns_us(work: Workload) -> bool:
    """Say whether it waits for us, or runs and may be paused by us."""
    if work.over or LABEL not in work.labels or KUEUE in work.labels:
        return False
    if work.waiting:
        return not work.note("released") or bool(work.note("paused"))
    return work.kind == "Job" and work.note("interruptible") == "true" and bool(work.note("released"))


def decide(work: Workload, wish: Wish, advice: Advice | None, now_s: float, trouble: str = "") -> dict[str, Any] | None:
    """Return the patch that it needs now; None if it stays as it is."""
    if not work.waiting:
        return _pause(work, wish, advice, now_s)
    reason = _reason(work, wish, advice, now_s, trouble)
    if reason:
        return start(work, reason, now_s)
    if advice is None or advice.start_s is None:
        return None  # the latest advice holds
    at_s, latest = min(advice.start_s, wish.latest_s), _utc(wish.latest_s)
    known = work.note("start")
    if known and abs(moment_s(known) - at_s) < LEAST_MOVE_S and work.note("latest-start") == latest:
        return None
    saved_g = advice.now_g - advice.grams
    why = f"waits for a cleaner hour: {100 * advice.saving:.0f} % less expected, {saved_g:.3g} g CO2e"
    return _patch(work, {}, {"start": _utc(at_s), "latest-start": latest, "why": why})


def _reason(work: Workload, wish: Wish, advice: Advice | None, now_s: float, trouble: str) -> str:
    """Say why it starts now; nothing, if it does not."""
    if now_s >= wish.latest_s - AT_ONCE_S:
        return "its deadline asks for a start now"
    if advice is None:
        known_s = moment_s(work.note("start")) if work.note("start") else now_s
        return (trouble or "nobody advised") if known_s <= now_s + AT_ONCE_S else ""
    if advice.start_s is None:
        return "nobody sees how it could be done in time"
    return f"advised: {advice.grams:.3g} g CO2e expected" if advice.start_s <= now_s + AT_ONCE_S else ""


def start(work: Workload, why: str, now_s: float) -> dict[str, Any]:
    """Return the patch that lets it start."""
    if work.kind == "Job":
        spec: dict[str, Any] = {"suspend": False}
    else:
        spec = {"schedulingGates": [{"name": gate} for gate in work.gates if gate != GATE] or None}
    return _patch(work, spec, {"why": why, "released": _utc(now_s), "start": None, "paused": None})


def _pause(work: Workload, wish: Wish, advice: Advice | None, now_s: float) -> dict[str, Any] | None:
    if advice is None or advice.start_s is None or work.started_s is None or not wish.interruptible:
        return None
    if advice.start_s - now_s < LEAST_PAUSE_S or advice.start_s > wish.latest_s or advice.saving < LEAST_SAVING:
        return None
    if now_s - work.started_s < LEAST_RUN_S:
        return None
    ran_s = float(work.note("ran") or 0) + now_s - work.started_s
    notes: dict[str, str | None] = {
        "why": f"paused for a cleaner hour: {100 * advice.saving:.0f} % less expected of what is left",
        "start": _utc(advice.start_s),
        "latest-start": _utc(wish.latest_s),
        "paused": _utc(now_s),
        "ran": f"{ran_s:.0f}",
    }
    return _patch(work, {"suspend": True}, notes)


def _patch(work: Workload, spec: dict[str, Any], notes: dict[str, str | None]) -> dict[str, Any]:
    # With the version that was read, a change by somebody else in between makes this fail instead of undoing it.
    annotations = {PREFIX + name: text for name, text in notes.items()}
    metadata = {"resourceVersion": work.version, "annotations": annotations}
    return {"metadata": metadata, **({"spec": spec} if spec else {})}


def _utc(wall_s: float) -> str:
    return datetime.fromtimestamp(int(wall_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- who is asked -------------------------------------------------------------------------------------------------


class UnreachableError(Exception):
    """The collector or the API server did not answer; the text says how."""


def ask(url: str, work: Workload, wish: Wish) -> Advice:
    """Ask the collector; raise UnreachableError, or ValueError if it refuses."""
    spec = {
        "name": work.name[:100],
        "workload": f"k8s/{work.namespace}/{work.name}"[:120],
        "external": f"k8s:{work.namespace}/{work.name}"[:120],
        "length": f"{wish.left_s:.0f}s",
        "deadline": _utc(wish.latest_s + wish.left_s),
        "zones": list(wish.zones),
        "interruptible": wish.interruptible,
    }
    body = json.dumps(spec).encode()
    request = urllib.request.Request(  # noqa: S310  (the address is the operator's)
        f"{url.rstrip('/')}/api/v1/advise", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
            said = json.load(answer)
        decision = said.get("decision") or said
        chosen = decision["chosen"]
        start_s = None if chosen["start_s"] is None else _finite(chosen["start_s"])
        return Advice(start_s, _finite(chosen["grams"]), _finite(decision["baseline"]["grams"]))
    except urllib.error.HTTPError as error:
        raise ValueError(f"the collector answered {error.code}: {error.read(200).decode(errors='replace')}") from None
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"{url}: {error!r}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the collector's answer cannot be read ({error!r})") from None


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no number")
    return number


class Api:
    """The Kubernetes API, from inside a cluster or by ``kubectl proxy``."""

    def __init__(self, url: str) -> None:
        inside = (
            f"https://{os.environ.get('KUBERNETES_SERVICE_HOST')}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}"
        )
        self._url = url.rstrip("/") or inside
        authority = ACCOUNT / "ca.crt"
        self._tls = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)

    def items(self, kind: str, namespace: str) -> tuple[list[dict[str, Any]], str]:
        """Return all objects that bear our label, and the version of the list."""
        with self._open("GET", self._listing(kind, namespace)) as answer:
            said = json.load(answer)
        return said["items"], said["metadata"]["resourceVersion"]

    def watch(self, kind: str, namespace: str, version: str, seconds: int) -> Iterator[dict[str, Any]]:
        """Yield what changes after a version, for some seconds."""
        more = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(seconds)}
        with self._open("GET", self._listing(kind, namespace, more), timeout_s=seconds + PATIENCE_S) as answer:
            for line in answer:
                yield json.loads(line)

    def patch(self, work: Workload, patch: dict[str, Any]) -> bool:
        """Change an object; False if somebody else was faster."""
        try:
            with self._open("PATCH", work.path, patch):
                return True
        except urllib.error.HTTPError as error:
            if error.code in {404, 409}:
                return False
            raise

    @staticmethod
    def _listing(kind: str, namespace: str, more: dict[str, str] | None = None) -> str:
        where = f"/namespaces/{namespace}" if namespace else ""
        query = urllib.parse.urlencode({"labelSelector": LABEL, **(more or {})})
        return f"{_PATHS[kind]}{where}/{kind.lower()}s?{query}"

    def _open(self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = 30.0) -> Any:
        headers = {"Accept": "application/json"}
        token = ACCOUNT / "token"
        if token.exists():  # it is renewed every hour, so it is read anew
            headers["Authorization"] = f"Bearer {token.read_text().strip()}"
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers, method=method)  # noqa: S310
        try:
            tls = self._tls if self._url.startswith("https:") else None
            return urllib.request.urlopen(request, timeout=timeout_s, context=tls)  # noqa: S310
        except urllib.error.HTTPError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"{self._url}: {error!r}") from None


# --- the controller -----------------------------------------------------------------------------------------------


class Controller:
    """Looks at everything that opted in, does what is to be done, and waits for a change or for the next look."""

    def __init__(self, api: Api, options: argparse.Namespace) -> None:
        self._api, self._options = api, options
        self._reachable = True

    def look(self, now_s: float) -> str:
        """Handle everything once; return the version of the list of Jobs."""
        self._reachable = True
        version = ""
        for kind in ("Pod", "Job"):
            items, version = self._api.items(kind, self._options.namespace)
            for item in items:
                try:
                    self._handle(kind, item, now_s)
                except (ValueError, urllib.error.HTTPError) as error:
                    say(f"{_name(item)}: {error!r}")
        return version

    def wait(self, version: str, seconds: int) -> None:
        """Return when there is a Job that has not been looked at, or after some seconds."""
        for event in self._api.watch("Job", self._options.namespace, version, seconds):
            if event["type"] == "ERROR":
                return  # the version is too old: everything is listed anew
            if event["type"] in {"ADDED", "MODIFIED"}:
                try:
                    work = read_workload("Job", event["object"])
                except ValueError:
                    return  # the next look says what is wrong with it
                if work.waiting and concerns_us(work) and not work.note("start"):
                    return

    def _handle(self, kind: str, item: dict[str, Any], now_s: float) -> None:
        work = read_workload(kind, item)
        if not concerns_us(work):
            return
        try:
            wish = wish_of(work, self._options.zone, now_s)
        except ValueError as error:
            if work.waiting:
                self._apply(work, start(work, f"started at once: {error}", now_s))
            return
        if self._options.overdue:
            if work.waiting and now_s >= wish.latest_s:
                self._apply(work, start(work, "its deadline asks for a start now", now_s))
            return
        advice, trouble = self._advice(work, wish, now_s)
        patch = decide(work, wish, advice, now_s, trouble)
        if patch is not None:
            self._apply(work, patch)

    def _advice(self, work: Workload, wish: Wish, now_s: float) -> tuple[Advice | None, str]:
        if now_s >= wish.latest_s - AT_ONCE_S:
            return None, ""
        if not self._reachable:
            return None, "the collector cannot be reached"
        try:
            return ask(self._options.url, work, wish), ""
        except UnreachableError as error:
            self._reachable = False
            say(f"no advice: {error}")
            return None, "the collector cannot be reached"
        except ValueError as error:
            say(f"{work.namespace}/{work.name}: no advice: {error}")
            return None, str(error)[:200]

    def _apply(self, work: Workload, patch: dict[str, Any]) -> None:
        if self._api.patch(work, patch):
            say(f"{work.kind} {work.namespace}/{work.name}: {patch['metadata']['annotations'][PREFIX + 'why']}")


def say(text: str) -> None:
    """Log a line."""
    print(f"evenwatt-kubernetes: {text}", file=sys.stderr, flush=True)


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", default=os.environ.get("EVENWATT_URL", "http://127.0.0.1:9730"), help="the collector")
    parser.add_argument("--zone", default=os.environ.get("EVENWATT_ZONE", "default"), help="of this cluster's nodes")
    parser.add_argument("--kube", default="", help="the API server, e.g. of kubectl proxy; default: this cluster's")
    parser.add_argument("--namespace", default="", help="only this one")
    parser.add_argument("--interval", type=int, default=60, help="seconds between two looks at everything")
    parser.add_argument("--once", action="store_true", help="look once and end")
    parser.add_argument("--overdue", action="store_true", help="look once, ask nobody, start what has to start")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT."""
    options = options_of(arguments)
    controller = Controller(Api(options.kube), options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # nothing is kept here that could be torn
    while True:
        try:
            version = controller.look(time.time())
            if options.once or options.overdue:
                return 0
            controller.wait(version, options.interval)
        except (UnreachableError, OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            say(f"the cluster cannot be read: {error}")
            if options.once or options.overdue:
                return 1
            time.sleep(min(10, options.interval))


if __name__ == "__main__":
    sys.exit(main())
