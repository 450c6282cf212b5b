"""Jobs over HTTP, on a real socket: what is taken, what is refused and how, and who may."""

from __future__ import annotations

import asyncio

import httpx
import msgspec
import pytest

from evenwatt_collector.http.application import application
from evenwatt_collector.jobs.desk import ExternalReport, JobPage, PlanView
from evenwatt_collector.jobs.logs import LogPiece
from evenwatt_collector.jobs.model import JobRecord, JobState, Run
from evenwatt_collector.jobs.reading import MOST_BYTES
from evenwatt_collector.jobs_api import jobs_routes
from evenwatt_collector.storage import DatabaseError, LedgerWriter
from evenwatt_collector.storage import jobs as store
from tests.collector.doors import gate
from tests.jobs.desk import StoredDesk
from tests.jobs.made import ID, NOW_S, decision, record, spec
from tests.live.alerts import served

TOKEN = "0123456789abcdef0123456789abcdef"
JOB = {"id": ID, "name": "nightly", "template": "nightly", "length": "45m"}
SIGNED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def desk(tmp_path):
    writer = LedgerWriter(str(tmp_path / "collector.db"))
    yield StoredDesk(writer.connection)
    writer.close()


@pytest.fixture
async def client(desk):
    app = application(jobs_routes(desk), gate(ada=TOKEN, bob="another-token-of-bob"))
    async with served(app) as url, httpx.AsyncClient(base_url=f"{url}/api/v1") as client:
        yield client


async def submit(client, job=None, **more):
    return await client.post("/jobs", json=JOB if job is None else job, headers=SIGNED, **more)


async def test_a_job_is_taken_shown_and_given_up(client, desk):
    answer = await submit(client)
    assert answer.status_code == 201
    assert (answer.json()["new"], answer.json()["kept"], answer.json()["warnings"]) == ([ID], True, [])
    shown = await client.get(f"/jobs/{ID}")
    kept = msgspec.json.decode(shown.content, type=JobRecord)
    assert (kept.spec, kept.by, kept.state, kept.length_s) == (spec(), "ada", JobState.WAITING, 2700)
    gone = await client.delete(f"/jobs/{ID}", headers={"authorization": "bearer another-token-of-bob"})
    assert (gone.json()["state"], gone.json()["why"]) == ("cancelled", "cancelled by bob")
    assert desk.asked_by == ["ada", "bob"]


async def test_the_same_id_makes_one_job_and_another_specification_a_conflict(client):
    assert (await submit(client)).status_code == 201
    again = await submit(client)
    assert (again.status_code, again.json()["new"]) == (200, [])
    other = await submit(client, JOB | {"priority": 9})
    assert other.status_code == 409
    assert "another specification" in other.json()["error"]


async def test_several_jobs_are_taken_together_or_not_at_all(client, desk):
    rows = [JOB, {"name": "second", "template": "nightly", "length": "5m", "after": ["nightly"]}]
    wrong = await submit(client, {"jobs": [*rows, {"name": "third", "template": "nightly", "length": "x"}]})
    assert wrong.status_code == 422
    assert [(row["key"], row["severity"]) for row in wrong.json()["problems"]] == [("jobs[2].length", "error")]
    assert "expected a length of time" in wrong.json()["error"]
    assert store.open_records(desk.connection) == []
    taken = await submit(client, {"jobs": rows})
    assert [one["spec"].get("after") for one in taken.json()["jobs"]] == [[], [ID]]


async def test_a_check_keeps_nothing(client, desk):
    answer = await client.post("/jobs?check=true", json=JOB | {"phase": "trian"}, headers=SIGNED)
    assert (answer.status_code, answer.json()["kept"]) == (200, False)
    assert answer.json()["warnings"][0]["key"] == "phase"
    assert store.open_records(desk.connection) == []


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({}, 401, "expected the header 'Authorization: Bearer TOKEN'"),
        ({"Authorization": "Basic YTpi"}, 401, "expected the header"),
        ({"Authorization": "Bearer"}, 401, "expected the header"),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401, "this token is not known here"),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, 401, "this token is not known here"),
        ({"Authorization": "Bearer \xff".encode("latin-1")}, 401, "this token is not known here"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/jobs"), ("DELETE", f"/jobs/{ID}"), ("POST", f"/jobs/{ID}/report")]
)
async def test_who_has_no_token_changes_nothing(client, desk, headers, status, words, method, path):
    body = None if method == "DELETE" else JOB
    answer = await client.request(method, path, json=body, headers=headers)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert desk.asked_by == []


async def test_without_tokens_nobody_may_and_it_says_what_to_do(desk):
    app = application(jobs_routes(desk))
    async with served(app) as url, httpx.AsyncClient(base_url=f"{url}/api/v1") as client:
        answer = await submit(client)
        assert answer.status_code == 403
        assert "file named by tokens in [http]" in answer.json()["error"]
        assert (await client.get("/jobs")).status_code == 200


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (b"{", {}, 400, "not JSON"),
        (b'{"name": "\xff"}', {}, 400, "not UTF-8"),
        (b'{"name": NaN}', {}, 400, "not JSON"),
        (b'{"name": "a", "name": "b"}', {}, 400, "stands twice"),
        (b"[]", {}, 422, "expected a job"),
        (b'{"name": "a", "prio": 1}', {}, 422, "prio: unknown key; did you mean 'priority'?"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "found Content-Type 'text/plain', expected application/json"),
        (b"x" * (MOST_BYTES + 1), {}, 413, "submit fewer jobs at once"),
    ],
)
@pytest.mark.parametrize("path", ["/jobs", "/advise"])
async def test_bad_bodies(client, content, headers, status, words, path):
    sent = {"Content-Type": "application/json", **SIGNED, **headers}
    answer = await client.post(path, content=content, headers=sent)
    assert answer.status_code == status
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/jobs?limit=0", 400, "limit: found '0', expected a whole number from 1 to 500"),
        ("/jobs?limit=9999999999999", 400, "limit"),
        ("/jobs?limit=²", 400, "limit"),
        ("/jobs?state=over", 400, "state: found 'over', expected one of open, ended, waiting"),
        ("/jobs?cursor=x", 400, "expected one that an earlier page gave"),
        ("/jobs?sort=name", 400, "unknown parameter 'sort'; known are cursor, limit, state, workload"),
        ("/plan?x=1", 400, "unknown parameter 'x'"),
        ("/jobs/nobody", 404, "there is no job 'nobody'"),
        ("/jobs/nobody/logs", 404, "there is no job"),
        ("/jobs/nobody/explain", 404, "there is no job"),
    ],
)
async def test_bad_questions(client, path, status, words):
    answer = await client.get(path, headers=SIGNED)
    assert answer.status_code == status
    assert words in answer.json()["error"]


async def test_only_so_many_pieces_of_advice_are_thought_over_at_once(client, desk, monkeypatch):
    go = asyncio.Event()

    async def think(entry, by):
        await go.wait()
        return await type(desk).advise(desk, entry, by)

    monkeypatch.setattr(desk, "advise", think)
    asked = [asyncio.create_task(client.post("/advise", json=JOB, timeout=60)) for _ in range(24)]
    done, waiting = await asyncio.wait(asked, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 8:
        more, waiting = await asyncio.wait(waiting, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    refused = [task.result() for task in done]
    assert {(answer.status_code, answer.headers["retry-after"]) for answer in refused} == {(429, "1")}
    go.set()
    assert {(await task).status_code for task in waiting} == {200}


async def test_other_methods_are_not_there(client):
    assert (await client.put(f"/jobs/{ID}", json=JOB, headers=SIGNED)).status_code == 405
    assert (await client.post("/plan", json={}, headers=SIGNED)).status_code == 405


async def test_lists_are_filtered_and_paged(client, desk):
    rows = [record(f"{i:012x}", submitted_s=NOW_S + i, state=state) for i, state in enumerate(JobState)]
    store.save_records(desk.connection, rows)

    async def ids(query):
        page = msgspec.json.decode((await client.get(f"/jobs?{query}")).content, type=JobPage)
        return [int(one.id, 16) for one in page.jobs], page.cursor

    assert await ids("") == ([6, 5, 4, 3, 2, 1, 0], None)
    assert await ids("state=open") == ([3, 2, 1, 0], None)
    assert await ids("state=done&state=failed") == ([5, 4], None)
    assert await ids("workload=nobody") == ([], None)
    first, cursor = await ids("limit=4")
    rest, last = await ids(f"limit=4&cursor={cursor}")
    assert (first, rest, last) == ([6, 5, 4, 3], [2, 1, 0], None)


async def test_logs_as_pieces_and_as_text(client, desk):
    runs = [Run(id=letter * 12, zone="hall", node="n1", asked_s=NOW_S, attempt=1) for letter in "ab"]
    store.save_records(desk.connection, [record(runs=runs)])
    pieces = [LogPiece(job=ID, run=run.id, start=0, at_s=NOW_S, text=f"hello from {run.id[0]}\n") for run in runs]
    store.append_log(desk.connection, pieces)
    assert (await client.get(f"/jobs/{ID}/logs")).status_code == 401, "what work writes is not for everybody"
    said = (await client.get(f"/jobs/{ID}/logs", headers=SIGNED)).json()
    assert [p["text"] for p in said["pieces"]] == [p.text for p in pieces]
    plain = await client.get(f"/jobs/{ID}/logs?run={'b' * 12}", headers={"Accept": "text/plain", **SIGNED})
    assert plain.text == "--- run bbbbbbbbbbbb on n1\nhello from b\n"


async def test_reasons_have_every_decision(client, desk):
    store.save_records(desk.connection, [record()])
    store.save_decisions(desk.connection, [decision(made_s=NOW_S + i) for i in range(2)])
    said = (await client.get(f"/jobs/{ID}/explain")).json()
    assert ([one["made_s"] for one in said["decisions"]], said["lines"]) == ([NOW_S + 1, NOW_S], ["2 decisions"])


async def test_others_tell_of_the_jobs_that_they_run(client):
    await submit(client, {"id": ID, "name": "sim", "external": "slurm:4711", "length": "2h"})

    async def tell(body):
        return await client.post(f"/jobs/{ID}/report", json=body, headers=SIGNED)

    assert (await tell({"state": "started", "node": "c01"})).json()["state"] == "running"
    done = (await tell({"state": "ended", "units": {"step": 5e3}, "energy_j": 3.6e6})).json()
    assert (done["state"], done["runs"][0]["energy_j"], done["runs"][0]["units"]) == ("done", 3.6e6, {"step": 5000})
    for body, words in (
        ({"state": "gone"}, "Invalid enum value 'gone'"),
        ({"state": "ended", "joules": 5}, "unknown field 'joules'"),
        ({"state": "ended", "energy_j": -1}, ">= 0"),
        ({}, "missing required field 'state'"),
        ([], "Expected 'object'"),
    ):
        answer = await tell(body)
        assert answer.status_code == 400
        assert words in answer.json()["error"]
    assert msgspec.json.decode(b'{"state":"ended"}', type=ExternalReport).units == {}


async def test_only_external_jobs_are_told_of(client):
    await submit(client)
    answer = await client.post(f"/jobs/{ID}/report", json={"state": "ended"}, headers=SIGNED)
    assert (answer.status_code, answer.json()["error"]) == (409, f"job {ID} is not external")


async def test_the_plan_and_the_schema(client):
    await submit(client)
    plan = msgspec.json.decode((await client.get("/plan")).content, type=PlanView)
    assert (len(plan.places[0].intensity_g_per_kwh), plan.jobs[0].job) == (48, ID)
    schema = (await client.get("/jobs/schema")).json()
    assert schema["$defs"]["JobSpec"]["properties"]["length"]


async def test_advice_is_given_to_everybody_and_nothing_is_kept(client, desk):
    answer = await client.post("/advise", json={"name": "nightly", "template": "nightly", "length": "45m"})
    assert answer.status_code == 200
    assert answer.json()["decision"]["chosen"]["name"] == "chosen"
    assert (await client.post("/advise", json=JOB | {"speedup": [1, 3]})).status_code == 422
    two = await client.post("/advise", json={"jobs": [JOB, {"name": "b", "template": "nightly", "length": "1m"}]})
    assert two.json()["error"] == "found 2 jobs, expected one; ask for each of them"
    assert store.open_records(desk.connection) == []


async def test_a_database_that_is_away_is_not_the_callers_fault(client, desk):
    desk.broken = DatabaseError("disk I/O error")
    answer = await submit(client)
    assert (answer.status_code, answer.json()["error"]) == (
        503, "the database cannot be used: disk I/O error; try again",
    )  # fmt: skip


def test_without_a_desk_there_are_no_routes():
    assert jobs_routes(None) == []
