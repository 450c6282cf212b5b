"""What is kept of jobs, in both databases."""

from __future__ import annotations

from math import inf

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from evenwatt_collector.jobs.desk import JobQuery
from evenwatt_collector.jobs.learned import learn
from evenwatt_collector.jobs.logs import LogPiece, log_text
from evenwatt_collector.jobs.model import JobState, Run
from evenwatt_collector.jobs.spec import JobSpec
from evenwatt_collector.storage import LedgerWriter, connect
from evenwatt_collector.storage import jobs as store
from evenwatt_collector.storage.documents import documents, latest_document, latest_documents, put_document
from evenwatt_collector.storage.exchange import export, import_
from evenwatt_collector.storage.keeping import JOBS_DAYS, LOGS_DAYS, tidy
from evenwatt_collector.storage.samples import samples
from evenwatt_wire.jobs import RunState
from tests.jobs import made
from tests.jobs.made import HOUR, ID, NOW_S, decision, outcome, record, spec
from tests.storage.made import entry, task
from tests.storage.made import record as ledger_record

DAY = 86_400.0


@pytest.fixture
def kept(database):
    return database.connection


def run(id_="cccccccccccc", **keys):
    return Run(id=id_, zone="hall", node="gpu-1", asked_s=NOW_S, attempt=1, **keys)


def piece(start, text, job=ID, run="cccccccccccc", at_s=NOW_S):
    return LogPiece(job=job, run=run, start=start, at_s=at_s, text=text)


# --- records ----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made.documents())
def test_a_record_comes_back_as_it_was(kept, raw):
    one = record(spec=msgspec.convert(raw, JobSpec), runs=[run(state=RunState.RUNNING, units={"é\u0000": 1.5})])
    store.save_records(kept, [one])
    assert store.find_records(kept, [ID, "f" * 12]) == {ID: one}
    assert store.open_records(kept) == [one]


def test_open_jobs_are_found_at_the_start_the_oldest_first(kept):
    jobs = [record(f"{i:012x}", submitted_s=NOW_S - i, state=state) for i, state in enumerate(JobState)]
    store.save_records(kept, jobs)
    assert [one.state for one in store.open_records(kept)] == ["stopping", "running", "starting", "waiting"]
    jobs[0].state = JobState.DONE
    jobs[0].ended_s = NOW_S
    store.save_records(kept, [jobs[0]])
    assert len(store.open_records(kept)) == 3
    assert [one.id for one in store.ended_records(kept, int(NOW_S * 1000), 9)] == [jobs[0].id]


def test_all_or_none_of_some_records_are_kept(kept):
    with pytest.raises(TypeError):
        store.save_records(kept, [record(), record("f" * 12, submitted_s=NOW_S, why=object())])
    assert store.open_records(kept) == []


def test_pages_have_every_job_once_whatever_comes_in_between(kept):
    jobs = [record(f"{i:012x}", submitted_s=NOW_S + i // 3) for i in range(20)]
    store.save_records(kept, jobs)
    seen, cursor = [], None
    while True:
        page = store.page_of_records(kept, JobQuery(limit=6, cursor=cursor))
        seen += [one.id for one in page.jobs]
        store.save_records(kept, [record(f"{100 + len(seen):012x}", submitted_s=NOW_S + 99)])
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [one.id for one in sorted(jobs, key=lambda one: (-one.submitted_s, one.id))]


def test_pages_can_be_of_states_and_of_a_workload(kept):
    store.save_records(
        kept,
        [
            record("1" * 12, state=JobState.DONE, ended_s=NOW_S),
            record("2" * 12, spec=spec(workload="etl")),
            record("3" * 12, spec=spec(workload="etl"), state=JobState.FAILED, ended_s=NOW_S),
        ],
    )

    def ids(**asked):
        return [one.id[0] for one in store.page_of_records(kept, JobQuery(**asked)).jobs]

    assert ids(workload="etl") == ["2", "3"]
    assert ids(states=(JobState.DONE, JobState.FAILED)) == ["1", "3"]
    assert ids(states=(JobState.FAILED,), workload="nightly") == []


@pytest.mark.parametrize("cursor", ["", "x", "ÿ", "MTI=", "bm86bm8="])
def test_a_cursor_of_somebody_else_is_refused(kept, cursor):
    with pytest.raises(ValueError, match="expected one that an earlier page gave"):
        store.page_of_records(kept, JobQuery(cursor=cursor))


def test_one_spoilt_row_does_not_keep_the_others_from_being_run(kept):
    store.save_records(kept, [record("1" * 12), record("2" * 12)])
    kept.run("UPDATE job SET record = ? WHERE id = ?", ('{"id": 5}', "1" * 12))
    assert [one.id for one in store.open_records(kept)] == ["2" * 12]


# --- decisions, outcomes ----------------------------------------------------------------------------------------------


def test_each_decision_is_kept(kept):
    store.save_decisions(kept, [decision(made_s=NOW_S + i, would_change=[f"{i}"]) for i in range(3)])
    store.save_decisions(kept, [decision("f" * 12)])
    assert [one.made_s for one in store.decisions_of(kept, ID)] == [NOW_S + 2, NOW_S + 1, NOW_S]
    assert len(store.decisions_of(kept, ID, limit=1)) == 1
    assert store.decisions_of(kept, "0" * 12) == []


def test_outcomes_of_a_period_the_oldest_first_and_each_once(kept):
    for i, workload in enumerate(("a", "b", "a")):
        store.save_outcome(kept, outcome(f"{i:012x}", NOW_S + i, workload=workload))
    store.save_outcome(kept, outcome(f"{1:012x}", NOW_S + 1, workload="b", grams=99.0))
    assert [one.grams for one in store.outcomes(kept)] == [40.0, 99.0, 40.0]
    assert [one.ended_s - NOW_S for one in store.outcomes(kept, NOW_S + 1, NOW_S + 2)] == [1]
    assert [one.ended_s - NOW_S for one in store.outcomes(kept, workload="a")] == [0, 2]


def test_what_cannot_be_read_again_is_left_out(kept):
    endless = decision(made_s=NOW_S + 1, rests_on="x")
    store.save_decisions(kept, [decision(), msgspec.structs.replace(endless, chosen=made.option(grams=inf))])
    assert [one.made_s for one in store.decisions_of(kept, ID)] == [NOW_S]


# --- logs -------------------------------------------------------------------------------------------------------------


def test_a_log_is_put_together_and_what_is_missing_is_said(kept):
    store.append_log(kept, [piece(0, "one\n"), piece(4, "two"), piece(4, "two"), piece(20, "late\n")])
    store.append_log(kept, [piece(2, "e\ntw"), piece(0, "other\n", run="d" * 12, at_s=NOW_S + 9)])
    runs = [run(log_end=25), run("d" * 12, log_end=16), run("e" * 12, log_end=7), run("f" * 12)]
    assert log_text(runs, store.log_of(kept, ID)) == (
        "--- run cccccccccccc on gpu-1\none\ntwo\n[13 characters are not kept]\nlate\n"
        "--- run dddddddddddd on gpu-1\nother\n[10 characters are not kept]\n"
        "--- run eeeeeeeeeeee on gpu-1\n[7 characters are not kept]\n"
    )
    assert [one.run for one in store.log_of(kept, ID, "d" * 12)] == ["d" * 12]


def test_a_longer_piece_at_the_same_place_counts(kept):
    store.append_log(kept, [piece(0, "one")])
    store.append_log(kept, [piece(0, "one two")])
    store.append_log(kept, [piece(0, "o")])
    assert [one.text for one in store.log_of(kept, ID)] == ["one two"]


def test_a_job_that_writes_without_end_keeps_its_latest_words(kept, monkeypatch):
    monkeypatch.setattr(store, "MOST_LOG_CHARACTERS", 1000)
    for i in range(50):
        store.append_log(kept, [piece(100 * i, f"{i:03d}" + "x" * 97, at_s=NOW_S + i)])
        store.append_log(kept, [piece(100 * i, "y" * 10, job="f" * 12, at_s=NOW_S)])
    left = store.log_of(kept, ID)
    assert sum(len(one.text) for one in left) == 1000
    assert [one.text[:3] for one in left] == [f"{i:03d}" for i in range(40, 50)]
    assert log_text([run()], left).startswith("--- run cccccccccccc on gpu-1\n[4,000 characters are not kept]\n040x")
    assert len(store.log_of(kept, "f" * 12)) == 50


# --- documents --------------------------------------------------------------------------------------------------------


def test_the_newest_version_of_a_document_counts_and_the_older_ones_stay(kept):
    put_document(kept, "baseline", "train", {"sci": 2.5}, NOW_S)
    put_document(kept, "baseline", "train", spec(), NOW_S + 1)
    put_document(kept, "baseline", "infer", [1, None, "é"], NOW_S - 1)
    put_document(kept, "caps", "train", 5, NOW_S + 9)
    assert latest_document(kept, "baseline", "train", JobSpec) == spec()
    assert latest_document(kept, "baseline", "nobody") is None
    assert [(one.name, one.at_s) for one in documents(kept, "baseline")] == [
        ("train", NOW_S + 1), ("train", NOW_S), ("infer", NOW_S - 1),
    ]  # fmt: skip
    assert [one.value for one in documents(kept, "baseline", "train", since_s=0)][1:] == [{"sci": 2.5}]
    assert documents(kept, "baseline", since_s=NOW_S + 1)[0].name == "train"
    assert [(one.name, one.at_s) for one in latest_documents(kept, "baseline")] == [
        ("infer", NOW_S - 1), ("train", NOW_S + 1),
    ]  # fmt: skip
    put_document(kept, "caps", "train", 6, NOW_S + 9)
    assert [one.value for one in documents(kept, "caps")] == [6]
    with pytest.raises(msgspec.ValidationError):
        latest_document(kept, "caps", "train", JobSpec)


# --- versions, retention, moving --------------------------------------------------------------------------------------


def test_old_logs_and_jobs_are_forgotten_and_what_came_of_them_is_not(kept):
    old_s = NOW_S - (JOBS_DAYS + 1) * DAY
    store.save_records(
        kept,
        [
            record("1" * 12, submitted_s=old_s, ended_s=old_s, state=JobState.DONE),
            record("2" * 12, submitted_s=old_s),
            record("3" * 12, submitted_s=NOW_S - 50 * DAY, ended_s=NOW_S - 50 * DAY, state=JobState.FAILED),
        ],
    )
    for job in ("1" * 12, "2" * 12, "3" * 12):
        store.save_decisions(kept, [decision(job)])
        store.append_log(kept, [piece(0, "a", job=job, at_s=NOW_S - (LOGS_DAYS + 1) * DAY)])
        store.append_log(kept, [piece(1, "b", job=job, at_s=NOW_S - DAY)])
    store.save_outcome(kept, outcome("1" * 12, old_s))
    put_document(kept, "baseline", "train", 1, old_s)
    assert list(tidy(kept, NOW_S, 40, 100)) == ["3 pieces of logs", "1 jobs"]
    assert list(tidy(kept, NOW_S, 40, 100)) == []
    assert sorted(store.find_records(kept, ["1" * 12, "2" * 12, "3" * 12])) == ["2" * 12, "3" * 12]
    assert [len(store.decisions_of(kept, job)) for job in ("1" * 12, "2" * 12, "3" * 12)] == [0, 1, 1]
    assert [len(store.log_of(kept, job)) for job in ("1" * 12, "2" * 12, "3" * 12)] == [0, 1, 1]
    assert len(store.outcomes(kept)) == 1
    assert latest_document(kept, "baseline", "train") == 1


def test_jobs_move_with_the_ledger_to_another_database(tmp_path):
    writer = LedgerWriter(str(tmp_path / "a.db"))
    store.save_records(writer.connection, [record()])
    store.save_decisions(writer.connection, [decision()])
    store.save_outcome(writer.connection, outcome())
    store.append_log(writer.connection, [piece(0, "txt:b64:é\n")])
    put_document(writer.connection, "k", "n", {"a": 1}, NOW_S + 0.25)
    writer.close()
    export(str(tmp_path / "a.db"), tmp_path / "all.gz", lambda *_: None)
    import_(tmp_path / "all.gz", str(tmp_path / "b.db"), lambda *_: None)
    moved = connect(str(tmp_path / "b.db"), write=False)
    assert store.find_records(moved, [ID]) == {ID: record()}
    assert store.decisions_of(moved, ID) == [decision()]
    assert store.outcomes(moved) == [outcome()]
    assert store.log_of(moved, ID) == [piece(0, "txt:b64:é\n")]
    assert documents(moved, "k")[0].at_s == NOW_S + 0.25
    moved.close()


# --- what the ledger teaches ------------------------------------------------------------------------------------------


def booked(database, number, minutes, j_per_minute, idle_j=50.0, state="ended", workload="resnet"):
    """A task on one node, a record a minute."""
    id_ = f"{number:012x}"
    for minute in range(1, minutes + 1):
        start_ms = int((NOW_S - 10 * HOUR) * 1000) + 60_000 * (minute - 1)
        told = msgspec.structs.replace(
            task(number, workload=workload, duration_s=60.0 * minute, units=[("images", 30.0 * minute)]),
            started_wall_ms=int((NOW_S - 10 * HOUR) * 1000), state=state if minute == minutes else "running",
        )  # fmt: skip
        parts = [("task", id_, j_per_minute, idle_j), ("idle", "", 0.0, 500.0)]
        made_one = ledger_record(f"n{number}", minute, start_ms, start_ms + 60_000, parts, tasks=[told])
        database.append([entry(made_one)], start_ms / 1000 + 60)
    database.settle()
    return id_


def test_tasks_that_were_run_by_hand_teach_how_long_and_what_power(database):
    booked(database, 1, 90, 6000.0)
    booked(database, 2, 70, 6000.0, state="gone")
    booked(database, 3, 70, 6000.0, workload="")
    found = learn(samples(database.connection, NOW_S))
    assert list(found) == ["resnet"]
    assert found["resnet"].length_s == 5400
    assert found["resnet"].power_w == pytest.approx(100.0)  # 6,000 J a minute above idle
    assert found["resnet"].seconds_per_unit == {"images": 2.0}


def test_a_job_counts_once_with_all_its_runs_and_not_as_tasks(database):
    first, second = booked(database, 1, 30, 6000.0), booked(database, 2, 60, 3000.0)
    runs = [
        run(first, state=RunState.STOPPED, duration_s=1800.0, units={"images": 900.0}),
        run(second, state=RunState.ENDED, duration_s=3600.0, units={"images": 1800.0}),
    ]
    done = record(spec=spec(workload="resnet"), state=JobState.DONE, ended_s=NOW_S - HOUR, runs=runs)
    store.save_records(database.connection, [done])
    (only,) = samples(database.connection, NOW_S)
    assert (only.seconds, only.units, only.full_power) == (5400.0, {"images": 2700.0}, True)
    assert only.energy_j == pytest.approx(30 * 6000 + 60 * 3000)
    assert samples(database.connection, NOW_S + 91 * DAY) == []


def test_jobs_that_failed_ran_wide_or_were_held_down(database):
    jobs = [
        record("1" * 12, state=JobState.FAILED, ended_s=NOW_S, runs=[run(duration_s=5.0)]),
        record("2" * 12, state=JobState.DONE, ended_s=NOW_S, runs=[run(duration_s=5.0)], spec=spec(speedup=[1, 2])),
        record("3" * 12, state=JobState.DONE, ended_s=NOW_S, runs=[run(duration_s=7.0, cap_w=100.0)]),
    ]
    store.save_records(database.connection, jobs)
    (only,) = samples(database.connection, NOW_S)
    assert (only.seconds, only.energy_j, only.full_power) == (7.0, 0.0, False)
