"""The verbs against a real server, its database and a real broker."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
import time

import msgspec
import pytest
from starlette.responses import JSONResponse
from starlette.routing import Route

from evenwatt_cli.jobs.words import when
from evenwatt_cli.main import entry
from evenwatt_collector.http.application import application
from evenwatt_collector.jobs.logs import LogPiece
from evenwatt_collector.jobs.model import JobRecord, JobState, Piece, Run
from evenwatt_collector.jobs.submission import Cancelled, SubmissionDesk, Submitted
from evenwatt_collector.jobs_api import jobs_routes
from evenwatt_collector.storage import LedgerWriter
from evenwatt_collector.storage import jobs as store
from evenwatt_wire import JobLine, JobList, KeyRing, Kind, Topic, encode
from evenwatt_wire.command import Key, Role
from evenwatt_wire.jobs import RunState
from evenwatt_wire.topics import CONTROLLER_NODE
from tests.collector.doors import gate
from tests.jobs.desk import StoredDesk
from tests.jobs.made import ID, NOW_S, decision, outcome, record, spec
from tests.live.alerts import served
from tests.support import make_key

TOKEN = "0123456789abcdef0123456789abcdef"
FILE = """
[[jobs]]
name = "fetch"
template = "nightly"
length = "20m"

[[jobs]]
name = "train"
template = "train"
length = "6h"
values = { epochs = "90", data = "x" }
after = ["fetch"]
"""


@pytest.fixture
def desk(tmp_path):
    writer = LedgerWriter(str(tmp_path / "collector.db"))
    yield StoredDesk(writer.connection)
    writer.close()


async def undecided(request):
    words = f"nothing was decided about {request.path_params['name']!r}; known are hall, gpu-1"
    return JSONResponse({"error": words}, status_code=404)


@pytest.fixture
def url(desk):
    """A server on a thread of its own, as the verbs wait for answers."""
    address, ready, stop = [], threading.Event(), threading.Event()

    async def serve():
        app = application([Route("/api/v1/explain/{name}", undecided), *jobs_routes(desk)], gate(ada=TOKEN))
        async with served(app) as where:
            address.append(where)
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)
    yield address[0]
    stop.set()
    thread.join()


@pytest.fixture
def evenwatt(url, tmp_path, capsys, monkeypatch):
    """Run a verb; returns exit code, standard output and standard error."""
    (tmp_path / "token").write_text(f"ada {TOKEN}\n")
    (tmp_path / "operator.toml").write_text(f'collector_url = "{url}"\ntoken_file = "{tmp_path / "token"}"\n')
    monkeypatch.setenv("EVENWATT_CONFIG", str(tmp_path / "operator.toml"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["evenwatt", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            entry()
        said = capsys.readouterr()
        return left.value.code or 0, said.out, said.err

    return run


# --- submit -----------------------------------------------------------------------------------------------------------


def test_a_file_is_submitted(evenwatt, desk, tmp_path):
    (tmp_path / "jobs.toml").write_text(FILE)
    code, out, err = evenwatt("submit", "jobs.toml")
    assert (code, err) == (0, "next: evenwatt jobs fetch\n")
    first, second = out.splitlines()
    assert first.endswith("fetch: taken; 20m at 100 W (length stated, power assumed)")
    assert second.endswith("train: taken; 6h at 100 W (length stated, power assumed)")
    kept = {one.spec.name: one for one in store.open_records(desk.connection)}
    assert kept["train"].spec.after == [kept["fetch"].id]
    assert desk.asked_by == ["ada"]


def test_when_it_is_planned_to_begin_is_said(evenwatt, desk, monkeypatch):
    def planned(_seconds):
        (one,) = store.open_records(desk.connection)
        one.pieces = [Piece(zone="hall", start_s=time.time() + 7250, end_s=time.time() + 9050)]
        store.save_records(desk.connection, [one])

    monkeypatch.setattr("evenwatt_cli.jobs.submit.time.sleep", planned)
    _, out, err = evenwatt("submit", "-n", "a b", "-t", "nightly", "-l", "30m")
    assert re.search(r"; planned: in 2h( \d+m)?, done in 2h 30m, in hall\n", out), out
    assert err == "next: evenwatt jobs 'a b'\n"


def test_a_job_in_options_is_the_same_as_in_a_file(evenwatt, desk):
    options = ["-n", "nightly", "-t", "train", "-l", "45m", "-d", "+8h", "--interruptible", "--work", "90 epochs",
               "--value", "epochs=90", "--value", "data=a=b", "-z", "hall", "-z", "edge", "--node", "gpu-*", "--power",
               "250", "-w", "resnet", "--priority", "7", "--id", ID]  # fmt: skip
    code, out, _ = evenwatt("submit", *options, "--json")
    assert (code, json.loads(out)["new"]) == (0, [ID])
    wanted = spec(
        name="nightly", template="train", length="45m", deadline="+8h", interruptible=True, power_w=250.0, priority=7,
        work={"amount": 90, "unit": "epochs"}, values={"epochs": "90", "data": "a=b"}, zones=["hall", "edge"],
        nodes=["gpu-*"], workload="resnet",
    )  # fmt: skip
    assert store.find_records(desk.connection, [ID])[ID].spec == wanted
    assert evenwatt("submit", *options)[:2] == (0, f"{ID}  nightly: known already, waiting\n")


def test_a_check_says_what_is_wrong_where_and_keeps_nothing(evenwatt, desk, tmp_path):
    (tmp_path / "jobs.toml").write_text(FILE.replace('"6h"', '"6h"\ndeadline = "+1h"\nphase = "trian"'))
    code, out, err = evenwatt("submit", "jobs.toml", "--check")
    assert (code, out) == (2, "")
    warning, error = sorted(err.splitlines(), reverse=True)[:2]
    assert warning == "jobs.toml:12: warning: jobs[1].phase: 'trian' is unusual; did you mean 'train'?"
    assert error.startswith("jobs.toml:11: jobs[1].deadline: begun at 2026-11-02 00:00 UTC it takes 6h and ends 5h too")
    (tmp_path / "jobs.toml").write_text(FILE)
    code, out, _ = evenwatt("submit", "jobs.toml", "--check")
    assert code == 0
    assert out.count("would be taken") == 2
    assert store.open_records(desk.connection) == []


def test_what_cannot_be_read_never_leaves_the_machine(evenwatt, desk, tmp_path):
    (tmp_path / "jobs.toml").write_text("name = 'a'\nprio = 1\n")
    assert evenwatt("submit", "jobs.toml") == (
        2,
        "",
        ("jobs.toml:2: prio: unknown key; did you mean 'priority'?\nevenwatt: nothing was submitted\n"),
    )
    code, out, err = evenwatt("submit", "jobs.toml", "--check", "--json")
    assert (code, err) == (2, "")
    assert json.loads(out)["problems"] == [
        {"key": "prio", "error": "unknown key; did you mean 'priority'?", "severity": "error", "line": 2}
    ]
    assert desk.asked_by == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to submit: name a file"),
        (["nowhere.toml"], "nowhere.toml: no such file"),
        (["x.toml", "-n", "a"], "both x.toml and --name say what the job is"),
        (["-n", "a", "--work", "epochs"], "--work 'epochs': expected an amount and a unit such as '90 epochs'"),
        (["-n", "a", "--work", "1.2.3 epochs"], "--work: found '1.2.3', expected a number"),
        (["-n", "a", "--value", "epochs"], "--value 'epochs': expected KEY=TEXT"),
        (["-n", "a", "--via", "pigeon"], "--via 'pigeon': expected http or mqtt"),
        (["-n", "a", "--via", "mqtt", "--wait"], "--via mqtt only sends"),
        (["-n", "a", "-l", "1h"], "<options>: template: nothing says what runs it"),
        (["-n", "a", "-t", "nihgtly", "-l", "1h"], "did you mean 'nightly'?"),
    ],
)
def test_wrong_calls(evenwatt, arguments, words):
    code, _, err = evenwatt("submit", *arguments)
    assert code == 2
    assert words in err


def test_without_a_token_or_with_a_wrong_one(evenwatt, tmp_path):
    (tmp_path / "token").write_text("wrong-wrong-wrong-wrong\n")
    code, _, err = evenwatt("submit", "-n", "a", "-t", "nightly", "-l", "1h")
    assert code == 4
    assert "refuses: this token is not known here" in err
    (tmp_path / "token").write_text("\n")
    assert "no token in its first line" in evenwatt("submit", "-n", "a", "-t", "nightly", "-l", "1h")[2]
    (tmp_path / "operator.toml").write_text('collector_url = "http://127.0.0.1:9"\n')
    assert "no token: set token_file" in evenwatt("submit", "-n", "a", "-t", "nightly", "-l", "1h")[2]
    code, _, err = evenwatt("jobs")
    assert code == 1
    assert "http://127.0.0.1:9 does not answer" in err


def test_the_schema_is_printed(evenwatt):
    code, out, _ = evenwatt("submit", "--schema")
    assert code == 0
    assert "speedup" in json.loads(out)["$defs"]["JobSpec"]["properties"]


@pytest.mark.parametrize(("end", "code"), [(JobState.DONE, 0), (JobState.FAILED, 1), (JobState.CANCELLED, 1)])
def test_waiting_ends_as_the_job_ends(evenwatt, desk, monkeypatch, end, code):
    naps = []

    def later(_seconds):
        naps.append(1)
        (one,) = store.open_records(desk.connection)
        one.state = JobState.RUNNING if len(naps) == 1 else end
        one.runs = [Run(id="c" * 12, zone="hall", node="gpu-1", asked_s=NOW_S, attempt=1, state=RunState.RUNNING)]
        if len(naps) > 1:
            one.ended_s, one.why = NOW_S, "as it was told"
            one.outcome = outcome(one.id) if end is JobState.DONE else None
        store.save_records(desk.connection, [one])

    monkeypatch.setattr("evenwatt_cli.jobs.waiting.time.sleep", later)
    found, out, err = evenwatt("submit", "-n", "nightly", "-t", "nightly", "-l", "1h", "--wait", "--id", ID)
    assert found == code
    assert [line.split(" ")[1] for line in err.splitlines()[2:]] == ["waiting", "running", end.value]
    wanted = "40.0 g CO2e, 33 % less than at once, at home, at full power" if code == 0 else "as it was told"
    assert out == f"{ID}  nightly: {end.value}; {wanted}\n"


# --- jobs, cancel, plan -----------------------------------------------------------------------------------------------


def test_jobs_in_a_table(evenwatt, desk):
    assert "No job is open" in evenwatt("jobs")[1]
    done = record("d" * 12, state=JobState.DONE, ended_s=NOW_S, outcome=outcome("d" * 12), spec=spec(name="old"))
    piece = Piece(zone="hall", start_s=NOW_S, end_s=NOW_S + 60)
    late = record(late=True, why="no room", decision=decision(), pieces=[piece])
    store.save_records(desk.connection, [late, done])
    code, out, _ = evenwatt("jobs")
    assert code == 3
    assert "nightly" in out
    assert " late, now" in out
    assert "old" not in out
    assert "old" in evenwatt("jobs", "--all")[1]
    listed = json.loads(evenwatt("jobs", "--state", "done", "--json")[1])["jobs"]
    assert msgspec.convert(listed, list[JobRecord]) == [done]
    assert all(len(line) <= 80 for line in out.splitlines())


def test_a_narrow_table_leaves_columns_out_and_cuts_none(evenwatt, desk, monkeypatch):
    run = Run(id="c" * 12, zone="hall", node="a-long-node-name-1", asked_s=time.time() - 90, attempt=1)
    pieces = [Piece(zone="hall", start_s=time.time() - 60, end_s=time.time() + 7290)]
    rows = [record(f"{i:012x}", spec=spec(name=f"clean-hours-render-{i}"), state=JobState.RUNNING, runs=[run],
                   pieces=pieces, late=True, decision=decision()) for i in (10, 19)]  # fmt: skip
    store.save_records(desk.connection, rows)
    heads = {}
    for columns in (120, 80, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = evenwatt("jobs")[1].splitlines()
        heads[columns] = lines[0].split()
        assert all(len(line) <= columns for line in lines)
        assert all(words in line for line in lines[1:] for words in ("running", "late, for 1m "))
        assert columns == 60 or all(", done in 2h" in line for line in lines[1:])
        assert {line.split()[1][-3:] for line in lines[1:]} == {"-10", "-19"}
        assert "…" not in "".join(lines)
    assert heads[120] == ["ID", "NAME", "STATE", "DONE", "WHERE", "WHEN", "CO2e"]
    assert heads[60] == ["ID", "NAME", "STATE", "WHEN"]


def test_a_service_has_no_share_and_no_end(evenwatt, desk):
    service = record(spec=spec(template=None, length=None, service={"task": "read"}, name="reader"), length_s=0.0,
                     state=JobState.RUNNING, why="reader:large fits")  # fmt: skip
    store.save_records(desk.connection, [service])
    line = evenwatt("jobs")[1].splitlines()[1]
    assert "serving" in line
    assert "%" not in line
    assert "not planned" not in evenwatt("jobs", "reader")[1]
    assert when(service, NOW_S, "reader:large on serve-1") == "serving reader:large on serve-1"


def test_logs_as_json_and_why_there_is_none(evenwatt, desk):
    store.save_records(desk.connection, [record(why="it waits for a clean hour")])
    code, out, err = evenwatt("jobs", ID, "--logs")
    assert (code, out) == (0, "")
    assert err == (
        "evenwatt: nothing is kept of a log of 'nightly': it has never been started (it waits for a clean hour)\n"
    )
    assert json.loads(evenwatt("jobs", ID, "--logs", "--json")[1])["pieces"] == []
    store.append_log(desk.connection, [LogPiece(job=ID, run="c" * 12, start=0, at_s=NOW_S, text="epoch 1\n")])
    assert json.loads(evenwatt("jobs", ID, "--logs", "--json")[1])["pieces"][0]["text"] == "epoch 1\n"


SHOWN = (
    "cleanest hours",
    "template nightly with epochs=90",
    "run cccccccccccc on gpu-1: running",
    "cap 200 W",
    "40.0 g (30.0 g to 55.0 g); at once, at home: 60.0 g",
    "would change it: an hour more saves 3 g",
)


def test_one_job_in_full_by_id_beginning_or_name(evenwatt, desk):
    run = Run(id="c" * 12, zone="hall", node="gpu-1", asked_s=NOW_S, attempt=1, state=RunState.RUNNING, duration_s=60.0,
              energy_j=7200.0, grams=0.8, cap_w=200.0, log_end=20)  # fmt: skip
    kept = record(runs=[run], state=JobState.RUNNING, decision=decision(would_change=["an hour more saves 3 g"]),
                  deadline_s=NOW_S, why="cleanest hours", spec=spec(values={"epochs": "90"}))  # fmt: skip
    store.save_records(desk.connection, [kept])
    store.append_log(desk.connection, [LogPiece(job=ID, run="c" * 12, start=0, at_s=NOW_S, text="epoch 1\n")])
    outs = {evenwatt("jobs", name)[1].replace("\n", " ") for name in (ID, ID[:4])}
    for out in (*outs, evenwatt("jobs", "nightly")[1]):
        assert [words for words in SHOWN if words not in " ".join(out.split())] == []
    assert evenwatt("jobs", ID, "--logs")[1] == (
        "--- run cccccccccccc on gpu-1\nepoch 1\n[12 characters are not kept]\n"
    )  # fmt: skip
    assert json.loads(evenwatt("jobs", ID, "--json")[1])["id"] == ID
    assert "there is no job 'nobody'" in evenwatt("jobs", "nobody")[2]
    assert "name the job whose log is wanted" in evenwatt("jobs", "--logs")[2]


def test_a_name_that_stands_for_several_jobs_is_not_guessed(evenwatt, desk):
    store.save_records(desk.connection, [record("a1" + "0" * 10), record("a2" + "0" * 10)])
    assert "several open jobs are called 'nightly'" in evenwatt("cancel", "nightly")[2]
    assert "begins the ids of 2 jobs" in evenwatt("cancel", "a")[2]
    assert len(store.open_records(desk.connection)) == 2


def test_jobs_are_cancelled_and_what_has_ended_stays(evenwatt, desk):
    store.save_records(desk.connection, [record(), record("d" * 12, state=JobState.DONE, ended_s=NOW_S)])
    code, out, _ = evenwatt("cancel", ID, "dddd")
    assert (code, out) == (4, f"{ID}  nightly: cancelled\n{'d' * 12}  nightly: was done already; nothing to cancel\n")
    assert evenwatt("cancel", ID)[:2] == (4, f"{ID}  nightly: was cancelled already\n")
    store.save_records(desk.connection, [record("e" * 12)])
    assert [evenwatt("cancel", "e" * 12)[0] for _ in range(2)] == [0, 4]


def test_a_job_is_explained_by_id_beginning_or_name(evenwatt, desk):
    store.save_records(desk.connection, [record(decision=decision())])
    for named in (ID, ID[:5], "nightly"):
        assert evenwatt("explain", named)[:2] == (0, "0 decisions\n")
    code, _, err = evenwatt("explain", "nobody")
    assert (code, err.partition(";")[0]) == (2, "evenwatt: nothing was decided about 'nobody'")
    assert "nor is a job called so, by its name, its id or the beginning of its id: `evenwatt jobs --all`" in err
    assert "leave --at out" in evenwatt("explain", "nightly", "--at", "10m ago")[2]


def test_the_plan_is_drawn(evenwatt, desk, monkeypatch):
    store.save_records(desk.connection, [record()])
    for columns in (80, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        code, out, _ = evenwatt("plan")
        assert code == 0
        assert all(len(line) <= columns for line in out.splitlines())
        assert "nightly" in out
        assert "\x1b" not in out
    assert json.loads(evenwatt("plan", "--json", "--zone", "hall")[1])["jobs"][0]["job"] == ID
    assert "--zone 'moon': the plan has hall" in evenwatt("plan", "--zone", "moon")[2]


# --- over MQTT --------------------------------------------------------------------------------------------------------


def test_jobs_go_over_mqtt_signed_and_are_confirmed_by_the_list(evenwatt, url, desk, broker, tmp_path):
    from evenwatt_agent.transport import connect
    from evenwatt_daemon.broker import BrokerSettings

    _, public = make_key(tmp_path / "key.pem")
    stored, desk = desk, SubmissionDesk(KeyRing([Key(public, Role.OPERATOR, name="ada")]), "fleet")
    mqtt = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
    top = f'collector_url = "{url}"\nzone = "hall"\nprivate_key = "{tmp_path / "key.pem"}"\n'
    (tmp_path / "operator.toml").write_text(f"{top}{mqtt}")
    taken, ready, stop = [], threading.Event(), threading.Event()

    async def collector():
        import time

        async with connect(BrokerSettings(host="127.0.0.1", port=broker.port), "middle") as connection:
            await connection.subscribe("evenwatt/v1/+/_ctl/submit")
            ready.set()
            async for message in connection.messages():
                asked = desk.take(message.payload, time.time_ns() // 1_000_000)
                taken.append((message.topic, message.retained, asked))
                job = asked.entry.id if isinstance(asked, Submitted) else asked.job
                line = JobLine(id=job, name="nightly", state="waiting" if isinstance(asked, Submitted) else "cancelled",
                               done_pct=0)  # fmt: skip
                said = JobList(zone="edge", wall_ms=1, epoch=1, jobs=[line])
                topic = Topic("edge", CONTROLLER_NODE, Kind.JOBS)
                await connection.publish(str(topic), encode(said), qos=1, retain=True)
                if stop.is_set() or len(taken) == 2:
                    return

    thread = threading.Thread(target=lambda: asyncio.run(collector()))
    thread.start()
    assert ready.wait(60)
    options = ["-n", "nightly", "-t", "nightly", "-l", "45m", "--id", ID, "--via", "mqtt"]
    assert evenwatt("submit", *options) == (0, f"{ID}  nightly: waiting\n", "")
    store.save_records(stored.connection, [record()])
    assert evenwatt("cancel", "nightly", "--via", "mqtt") == (0, f"{ID}  nightly: cancelled\n", "")
    thread.join(60)
    (topic, retained, first), (_, _, second) = taken
    assert (topic, retained) == ("evenwatt/v1/hall/_ctl/submit", False)
    assert (first.entry.spec, first.by) == (spec(), "ada (operator)")
    assert second == Cancelled(ID, "ada (operator)")


def test_over_mqtt_silence_is_said_to_be_silence(evenwatt, broker, tmp_path, monkeypatch):
    monkeypatch.setattr("evenwatt_cli.jobs.mqtt._ANSWER_S", 0.2)
    make_key(tmp_path / "key.pem")
    mqtt = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
    (tmp_path / "operator.toml").write_text(f'zone = "hall"\nprivate_key = "{tmp_path / "key.pem"}"\n{mqtt}')
    code, out, err = evenwatt("submit", "-n", "a", "-t", "t", "-l", "1h", "--id", ID, "--via", "mqtt")
    assert (code, out) == (5, "")
    assert f"not confirmed within 0 s: {ID}" in err
    away = 'collector_url = "http://127.0.0.1:9"\n' + (tmp_path / "operator.toml").read_text()
    (tmp_path / "operator.toml").write_text(away)
    code, _, err = evenwatt("cancel", "nightly", "--via", "mqtt")
    assert (code, "'nightly' is no id, and names are looked up over HTTP: http://127.0.0.1:9 does" in err) == (1, True)
    long = ["--value", "a=" + "x" * 3000]
    assert "expected a table of texts of at most 200" in evenwatt("submit", "-n", "a", *long, "--via", "mqtt")[2]
    (tmp_path / "operator.toml").write_text("")
    assert "no operator key" in evenwatt("cancel", ID, "--via", "mqtt")[2]
