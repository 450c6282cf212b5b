"""``evenwatt submit``: reads jobs, has them checked by the collector, submits them, and waits if wanted."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from evenwatt_cli.exits import Exit
from evenwatt_cli.jobs.client import Client, ProblemsError
from evenwatt_cli.jobs.mqtt import send_jobs
from evenwatt_cli.jobs.waiting import wait_for
from evenwatt_cli.jobs.words import taken, when, where
from evenwatt_collector.jobs.model import JobRecord
from evenwatt_collector.jobs.reading import MOST_BYTES, form_of, read, schema
from evenwatt_collector.policy.problems import Path, Problem, Severity, key_of, listed
from evenwatt_daemon import Failure, read_document

if TYPE_CHECKING:
    import pathlib

    from evenwatt_collector.jobs.reading import Entry, Read
    from evenwatt_collector.jobs.spec import JobSpec

_WORK: Final = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*(\S.*?)\s*", re.IGNORECASE)

_MOMENT_S: Final = 2.5
"""A plan is waited for so long."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for."""

    file: str | None
    keys: dict[str, Any]
    """A job in options instead of a file."""
    via: str
    check: bool
    wait: bool
    as_json: bool
    config: pathlib.Path | None


class _Answer(Struct):
    jobs: list[JobRecord]
    new: list[str]
    kept: bool
    warnings: list[dict[str, str]]

    def spec(self, id_: str) -> JobSpec:
        return next(record.spec for record in self.jobs if record.id == id_)


def print_schema() -> Exit:
    """Print the JSON Schema of what may be submitted."""
    print(json.dumps(schema(), indent=2))
    return Exit.OK


def submit_jobs(wish: Wish) -> Exit:
    """Submit, and say what was taken.

    Raises:
        Failure: the call makes no sense, or the collector cannot be asked.
    """
    if wish.via not in {"http", "mqtt"}:
        raise Failure(f"--via {wish.via!r}: expected http or mqtt")
    if wish.via == "mqtt" and (wish.check or wish.wait):
        raise Failure("--via mqtt only sends: leave --check and --wait out, or ask the collector with --via http")
    name, text = _text(wish)
    found = read(text, form_of(name, text), lambda: secrets.token_hex(6))
    if found.problems:
        return _refused(found.problems, name, wish)
    if wish.via == "mqtt":
        return send_jobs(found.entries, config=wish.config, as_json=wish.as_json)
    return _over_http(wish, name, found)


def _over_http(wish: Wish, name: str, found: Read) -> Exit:
    client = Client.of(wish.config)
    try:
        answer = client.post("jobs?check=true" if wish.check else "jobs", _body(found.entries), _Answer)
    except ProblemsError as error:
        return _refused(_located(error.problems, found), name, wish)
    if answer.warnings:
        print(listed(_located(answer.warnings, found), name), file=sys.stderr)
    if not wish.wait or wish.check:
        if wish.as_json:
            print(msgspec.json.encode(answer).decode())
        else:
            begins = _planned(client, answer) if answer.kept else {}
            for record in answer.jobs:
                line = taken(record, new=record.id in answer.new, kept=answer.kept)
                print(line + (f"; {begins[record.id]}" if record.id in begins else ""))
            if answer.kept:
                print(f"next: evenwatt jobs {shlex.quote(answer.jobs[0].spec.name)}", file=sys.stderr)
        return Exit.OK
    if not wish.as_json:
        for record in answer.jobs:
            print(taken(record, new=record.id in answer.new, kept=True), file=sys.stderr)
    return wait_for(client, [record.id for record in answer.jobs], as_json=wish.as_json)


def _refused(problems: list[Problem], name: str, wish: Wish) -> Exit:
    """Say what is wrong: in words, or as one JSON document."""
    if wish.as_json:
        rows = [
            {"key": key_of(one.path), "error": one.text, "severity": one.severity.value, "line": one.line or None}
            for one in problems
        ]
        print(json.dumps({"problems": rows}))
    else:
        print(listed(problems, name), file=sys.stderr)
        print("evenwatt: nothing was submitted", file=sys.stderr)
    return Exit.USAGE


def _planned(client: Client, answer: _Answer) -> dict[str, str]:
    """Return when jobs are planned to begin, by id, as far as that is known within a moment."""
    waited = [id_ for id_ in answer.new if not answer.spec(id_).service]
    begins: dict[str, str] = {}
    until_s = time.monotonic() + _MOMENT_S
    for id_ in waited:
        while True:
            try:
                record = client.get(f"jobs/{id_}", JobRecord)
            except Failure:  # they are taken; what is missing is only when they begin
                return begins
            if record.pieces or record.runs:
                begins[id_] = f"planned: {when(record, time.time())}, in {where(record)}"
                break
            if time.monotonic() > until_s:
                break
            time.sleep(0.1)
    return begins


def _text(wish: Wish) -> tuple[str, bytes]:
    """Return what was given and how it is called in messages."""
    if wish.file is not None and wish.keys:
        raise Failure(f"both {wish.file} and {_option(next(iter(wish.keys)))} say what the job is; use one of them")
    if wish.file == "-":
        return "<stdin>", sys.stdin.buffer.read(MOST_BYTES + 1)
    if wish.file is not None:
        return wish.file, read_document(wish.file)
    if not wish.keys:
        raise Failure("nothing to submit: name a file, or describe a job with --name, --template and --length")
    return "<options>", json.dumps(_job(wish.keys)).encode()


def _job(keys: dict[str, Any]) -> dict[str, Any]:
    """Return a job as in a file; texts of a command line that stand for tables are taken apart."""
    job = dict(keys)
    if "name" not in job:
        job["name"] = keys.get("workload") or keys.get("template") or keys.get("external") or "job"
    if "work" in job:
        parts = _WORK.fullmatch(job["work"])
        if parts is None:
            raise Failure(f"--work {job['work']!r}: expected an amount and a unit such as '90 epochs'")
        job["work"] = {"amount": _number(parts[1]), "unit": parts[2]}
    if "values" in job:
        pairs = [pair.partition("=") for pair in job["values"]]
        wrong = next((key for key, equals, _ in pairs if not key or not equals), None)
        if wrong is not None:
            raise Failure(f"--value {wrong!r}: expected KEY=TEXT such as epochs=90")
        job["values"] = {key: text for key, _, text in pairs}
    return job


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Failure(f"--work: found {text!r}, expected a number such as 90 or 1.5e6") from None


def _option(key: str) -> str:
    renamed = {"values": "value", "zones": "zone", "nodes": "node", "power_w": "power"}
    return f"--{renamed.get(key, key)}"


def _body(entries: list[Entry]) -> dict[str, Any]:
    """Return what is sent: of the same shape as the text, so that its keys are those of the answer."""
    rows = [{"id": entry.id, **msgspec.to_builtins(entry.spec)} for entry in entries]
    return rows[0] if not entries[0].path else {"jobs": rows}


def _located(problems: list[dict[str, str]], found: Read) -> list[Problem]:
    """Return the collector's problems with lines of our text."""
    made = []
    for row in problems:
        path: Path = tuple(int(n) if n else key for n, key in re.findall(r"\[(\d+)\]|([^.\[\]]+)", row["key"]))
        made.append(Problem(path, row["error"], Severity(row["severity"]), found.lines.of(path)))
    return made
