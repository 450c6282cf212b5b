"""The verb: real processes that ask a real HTTP server, files, pipes and terminals."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pyarrow.parquet as pq
import pytest

from evenwatt_cli.exits import Exit
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.document import from_document, to_document
from tests.report.examples import EXAMPLE

NOW = EXAMPLE.made_s


@contextmanager
def serving(answer):
    """Serve what ``answer(parameters)`` returns: a status and JSON types or bytes. Yield the URL and what was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            assert parts.path == "/api/v1/report"
            asked.append(dict(parse_qsl(parts.query)))
            status, said = answer(asked[-1])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(said if isinstance(said, bytes) else json.dumps(said).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def example(parameters):
    query = ReportQuery.from_parameters(parameters, NOW)
    report = replace(EXAMPLE, by=query.by, start_s=query.start_s, end_s=query.end_s, known_at_s=query.end_s)
    return 200, to_document(report)


@pytest.fixture
def call(tmp_path):
    """Return a function that runs the verb against a server that says ``answer``."""

    def run(*arguments, answer=example, url=None, **more):
        with serving(answer) as (address, asked):
            settings = tmp_path / "operator.toml"
            settings.write_text(f'collector_url = "{url or address}"\n')
            command = [sys.executable, "-m", "evenwatt_cli", "report", "--config", str(settings), *map(str, arguments)]
            more = {"capture_output": True, "env": {**os.environ, "TZ": "Europe/Berlin", "COLUMNS": "80"}, **more}
            done = subprocess.run(command, check=False, timeout=60, **more)
        done.asked = asked
        return done

    return run


def test_a_table_by_default(call):
    done = call("--by", "workload", "--from", "2026-10-25", "--to", "2026-10-26", "--zone", "hall-1")
    assert done.returncode == Exit.OK, done.stderr
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "lab by workload, 2026-10-25 00:00 to 2026-10-26 00:00 (Europe/Berlin)"
    assert lines[1].split() == ["WORKLOAD", "ENERGY", "CO2e", "MARKET", "EMBODIED", "SHARE"]
    assert done.asked == [
        {
            "by": "workload",
            "from": repr(EXAMPLE.start_s),
            "to": repr(EXAMPLE.end_s),
            "tz": "Europe/Berlin",
            "zone": "hall-1",
        }
    ]


def test_a_document_for_programs(call):
    done = call("--json", "--from", "yesterday", "--per", "epoch", "--known-at", "now")
    document = json.loads(done.stdout)
    assert from_document(document).rows == EXAMPLE.rows
    assert document["derived"]["sci"]["unit"] == "epoch"
    assert float(done.asked[0]["known_at"]) > float(done.asked[0]["to"])


def test_each_format_goes_to_a_file_or_a_pipe(call, tmp_path):
    for form in ("csv", "codecarbon", "html", "json", "parquet"):
        path = tmp_path / f"report.{form}"
        filed, piped = (
            call("--format", form, "--out", path, "--from", "2026-10-25", "--to", "2026-10-26"),
            call("--format", form, "--from", "2026-10-25", "--to", "2026-10-26"),
        )
        assert (filed.returncode, piped.returncode, filed.stdout) == (0, 0, b""), filed.stderr
        assert path.read_bytes() == piped.stdout
    assert len(list(csv.reader(io.StringIO((tmp_path / "report.csv").read_text())))) == 1 + len(EXAMPLE.rows)
    assert pq.read_table(tmp_path / "report.parquet").num_rows == len(EXAMPLE.rows)
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("form", ["parquet", "html"])
def test_what_is_not_for_a_terminal_is_not_written_to_one(call, form):
    ours, theirs = pty.openpty()
    try:
        done = call("--format", form, capture_output=False, stdout=theirs, stderr=subprocess.PIPE)
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == Exit.USAGE
    assert b"is not for a terminal; give --out FILE" in done.stderr
    assert done.asked == []


def test_another_period_is_asked_for_and_put_beside(call):
    done = call("--from", "2026-10-19", "--to", "2026-10-26", "--compare", "previous", "--per", "epoch", "--json")
    assert done.returncode == Exit.OK, done.stderr
    starts = {float(asked["from"]) for asked in done.asked}
    assert len(starts) == 2
    assert max(starts) - min(starts) == 7 * 86_400
    assert json.loads(done.stdout)["derived"]["comparison"]["ratio"] == 1.0


def test_the_users_own_count_is_of_the_whole(call):
    done = call("--per-count", "1000", "--per", "request", "--json", "--sci-intensity", "marginal")
    derived = json.loads(done.stdout)["derived"]
    assert (derived["sci"]["units"], derived["sci"]["kind"], derived["sci_rows"]) == (1000.0, "marginal", [])


def uncovered(parameters):
    status, document = example(parameters)
    document["total"]["missing_s"] = 1e9
    return status, document


def empty(parameters):
    status, document = example(parameters)
    zero = dict.fromkeys(("energy_j", "site_j", "location_g", "measured_j"), 0.0)
    return status, {**document, "rows": [], "total": zero}


@pytest.mark.parametrize(
    ("arguments", "answer", "word"),
    [
        (["--per", "token"], example, b"SCI: none, since no token was reported"),
        ([], uncovered, b"not filled in"),
        ([], empty, b"nothing was recorded in this period"),
        (["--compare", "previous", "--per", "token"], example, b"comparison: none, since"),
    ],
)
def test_what_is_only_half_an_answer_has_its_exit_code(call, arguments, answer, word):
    done = call("--from", "2026-10-25", "--to", "2026-10-26", *arguments, answer=answer)
    assert done.returncode == Exit.DEGRADED, done.stderr
    assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "more", "code", "words"),
    [
        (["--by", "cat"], {}, Exit.USAGE, ["--by 'cat'", "zone, node, workload"]),
        (["--format", "xls"], {}, Exit.USAGE, ["--format 'xls'", "codecarbon"]),
        (["--from", "soon"], {}, Exit.USAGE, ["--from 'soon'"]),
        (["--tz", "Mars"], {}, Exit.USAGE, ["--tz 'Mars'"]),
        (["--per-count", "0"], {}, Exit.USAGE, ["--per-count 0", "above 0"]),
        (["--sci-intensity", "both"], {}, Exit.USAGE, ["--sci-intensity 'both'", "average, marginal"]),
        (["--compare", "then"], {}, Exit.USAGE, ["--compare 'then'", "previous"]),
        (["--format", "csv", "--out", "/nowhere/r.csv"], {}, Exit.USAGE, ["--out /nowhere/r.csv", "cannot be written"]),
        ([], {"url": "http://127.0.0.1:9"}, Exit.FAILURE, ["http://127.0.0.1:9 does not answer", "--database"]),
        ([], {"answer": lambda _: (400, {"error": "no zone 'x'; known are y"})}, Exit.USAGE, ["no zone 'x'"]),
        ([], {"answer": lambda _: (503, {"error": "the database is busy"})}, Exit.FAILURE, ["the database is busy"]),
        ([], {"answer": lambda _: (503, {"error": "bad \x1b[2J"})}, Exit.FAILURE, ["bad ?[2J"]),
        ([], {"answer": lambda _: (401, {"error": "who?"})}, Exit.REJECTED, ["refuses: who?; set token_file"]),
        ([], {"answer": lambda _: (404, {})}, Exit.FAILURE, ["is it a collector"]),
        ([], {"answer": lambda _: (500, b"<html>oops")}, Exit.FAILURE, ["answered 500"]),
        ([], {"answer": lambda _: (200, {"rows": 5})}, Exit.USAGE, ["this is no report"]),
        (["--database", "/nowhere/ledger.db"], {}, None, ["/nowhere/ledger.db"]),
    ],
)
def test_errors_say_what_to_change(call, arguments, more, code, words):
    done = call(*arguments, **more)
    said = done.stderr.decode()
    assert done.returncode == (done.returncode if code is None else code) != 0, said
    assert said.startswith("evenwatt: ")
    assert "Traceback" not in said
    for word in words:
        assert word in said
