"""Jobs on the disk: records, decisions, outcomes and logs.

A record is JSON in one column, beside the few columns that it is found by. Whoever runs jobs holds the open ones in
memory and writes them as they change; ended ones are read page by page. What is damaged is left out and said, so that
one spoilt row never keeps the others from being run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from evenwatt_collector.jobs.desk import JobPage, JobQuery
from evenwatt_collector.jobs.logs import LogPiece
from evenwatt_collector.jobs.model import Decision, JobRecord, Outcome
from evenwatt_collector.storage.connection import DatabaseError, transaction
from evenwatt_daemon import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evenwatt_collector.storage.connection import Connection

T = TypeVar("T")

MOST_LOG_CHARACTERS: Final = 400_000
"""Kept of a job's log; what is older goes first."""


# --- records ----------------------------------------------------------------------------------------------------------


def save_records(connection: Connection, records: Iterable[JobRecord]) -> None:
    """Keep records as they stand, all or none of them; the connection's shard plans them.

    Raises:
        DatabaseError: none was stored.
    """
    kept = list(records)
    with transaction(connection):
        connection.many(
            "INSERT INTO job (id, state, is_open, workload, submitted_ms, ended_ms, record, shard) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state, "
            "is_open = excluded.is_open, workload = excluded.workload, submitted_ms = excluded.submitted_ms, "
            "ended_ms = excluded.ended_ms, record = excluded.record WHERE job.shard = excluded.shard",
            [(*_row(record), connection.shard) for record in kept],
        )
        for record in kept if connection.postgres else ():
            whose = connection.rows("SELECT shard FROM job WHERE id = ?", (record.id,))
            if whose and whose[0][0] != connection.shard:
                raise DatabaseError(f"there is a job {record.id} already, of shard {whose[0][0]!r}; use another id")


def open_records(connection: Connection) -> list[JobRecord]:
    """Return the records of jobs that have something left to do, of any shard, the oldest first.

    Raises:
        DatabaseError: the database cannot be read.
    """
    return _records(connection, "WHERE is_open = 1 ORDER BY submitted_ms, id", ())


def records_to_plan(connection: Connection) -> list[JobRecord]:
    """Return those of them that the connection's shard plans.

    Raises:
        DatabaseError: the database cannot be read.
    """
    where = "WHERE is_open = 1 AND shard = ? ORDER BY submitted_ms, id"
    return _records(connection, where, (connection.shard,))


def ended_records(connection: Connection, since_ms: int, limit: int) -> list[JobRecord]:
    """Return the records of jobs that ended since a moment (Unix ms), the latest first.

    Raises:
        DatabaseError: the database cannot be read.
    """
    where = "WHERE is_open = 0 AND ended_ms >= ? ORDER BY ended_ms DESC, id LIMIT ?"
    return _records(connection, where, (since_ms, limit))


def find_records(connection: Connection, ids: Sequence[str]) -> dict[str, JobRecord]:
    """Return those of some jobs that are kept, by id; open ones only of the connection's shard.

    Raises:
        DatabaseError: the database cannot be read.
    """
    found: dict[str, JobRecord] = {}
    where = "WHERE (is_open = 0 OR shard = ?)"
    for first in range(0, len(ids), _MOST_ASKED):
        asked = tuple(ids[first : first + _MOST_ASKED])
        marks = ", ".join("?" * len(asked))
        found |= {
            record.id: record
            for record in _records(connection, f"{where} AND id IN ({marks})", (connection.shard, *asked))
        }
    return found


def page_of_records(connection: Connection, query: JobQuery) -> JobPage:
    """Return a page of the shard's jobs, the newest first, and the cursor of the next one.

    Raises:
        DatabaseError: the database cannot be read.
        ValueError: the cursor is none of ours.
    """
    terms, parameters = ["shard = ?"], list[object]([connection.shard])
    if query.states:
        terms.append(f"state IN ({', '.join('?' * len(query.states))})")
        parameters += [state.value for state in query.states]
    if query.workload is not None:
        terms.append("workload = ?")
        parameters.append(query.workload)
    if query.cursor is not None:
        submitted_ms, job = query.position
        terms.append("(submitted_ms < ? OR (submitted_ms = ? AND id > ?))")
        parameters += [submitted_ms, submitted_ms, job]
    where = f"WHERE {' AND '.join(terms)} ORDER BY submitted_ms DESC, id LIMIT ?"
    found = _records(connection, where, (*parameters, query.limit + 1))
    more = len(found) > query.limit
    found = found[: query.limit]
    return JobPage(jobs=found, cursor=JobQuery.after(found[-1]) if more else None)


def _records(connection: Connection, where: str, parameters: Sequence[object]) -> list[JobRecord]:
    return _decoded(_RECORD, connection.rows(f"SELECT id, record FROM job {where}", parameters))


def _row(record: JobRecord) -> tuple[object, ...]:
    ended_ms = None if record.ended_s is None else int(record.ended_s * 1000)
    return (
        record.id, record.state.value, int(record.open), record.workload, int(record.submitted_s * 1000), ended_ms,
        msgspec.json.encode(record).decode(),
    )  # fmt: skip


# --- decisions and outcomes -------------------------------------------------------------------------------------------


def save_decisions(connection: Connection, decisions: Iterable[Decision]) -> None:
    """Keep decisions beside all that were made before.

    Raises:
        DatabaseError: none was stored.
    """
    with transaction(connection):
        connection.many(
            "INSERT INTO decision (job, made_s, value) VALUES (?, ?, ?) "
            "ON CONFLICT (job, made_s) DO UPDATE SET value = excluded.value",
            [(one.job, one.made_s, msgspec.json.encode(one).decode()) for one in decisions],
        )


def decisions_of(connection: Connection, job: str, limit: int = 100) -> list[Decision]:
    """Return what was decided about a job, the newest first.

    Raises:
        DatabaseError: the database cannot be read.
    """
    rows = connection.rows("SELECT job, value FROM decision WHERE job = ? ORDER BY made_s DESC LIMIT ?", (job, limit))
    return _decoded(_DECISION, rows)


def save_outcome(connection: Connection, outcome: Outcome) -> None:
    """Keep what came of a job; an outcome that was weighed anew takes the place of the one before.

    Raises:
        DatabaseError: it was not stored.
    """
    with transaction(connection):
        connection.run(
            "INSERT INTO outcome (job, workload, model, policy, ended_ms, value) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (job) DO UPDATE SET workload = excluded.workload, model = excluded.model, "
            "policy = excluded.policy, ended_ms = excluded.ended_ms, value = excluded.value",
            (
                outcome.job, outcome.workload, outcome.model, outcome.policy, int(outcome.ended_s * 1000),
                msgspec.json.encode(outcome).decode(),
            ),
        )  # fmt: skip


def outcomes(
    connection: Connection,
    start_s: float = 0.0,
    end_s: float = 4e9,
    *,
    workload: str | None = None,
    limit: int = 100_000,
) -> list[Outcome]:
    """Return what came of the jobs that ended in [start, end), Unix time, the oldest first.

    Raises:
        DatabaseError: the database cannot be read.
    """
    which, parameters = ("", ()) if workload is None else ("AND workload = ? ", (workload,))
    rows = connection.rows(
        f"SELECT job, value FROM outcome WHERE ended_ms >= ? AND ended_ms < ? {which}ORDER BY ended_ms, job LIMIT ?",
        (int(start_s * 1000), int(end_s * 1000), *parameters, limit),
    )
    return _decoded(_OUTCOME, rows)


# --- logs -------------------------------------------------------------------------------------------------------------


def append_log(connection: Connection, pieces: Iterable[LogPiece]) -> None:
    """Keep pieces of log; a piece that comes again changes nothing. Drops the oldest beyond what is kept of a job.

    Raises:
        DatabaseError: none was stored.
    """
    rows = [(p.job, p.run, p.start, int(p.at_s * 1000), len(p.text), p.text) for p in pieces if p.text]
    if not rows:
        return
    with transaction(connection):
        connection.many(
            "INSERT INTO job_log (job, run, start, at_ms, characters, text) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (job, run, start) DO UPDATE SET text = excluded.text, characters = excluded.characters "
            "WHERE excluded.characters > job_log.characters",
            rows,
        )
        for job in sorted({row[0] for row in rows}):
            _trim(connection, job)


def log_of(connection: Connection, job: str, run: str | None = None) -> list[LogPiece]:
    """Return what is kept of a job's log, or of one run's: runs in the order in which they began, each in order.

    Raises:
        DatabaseError: the database cannot be read.
    """
    which, parameters = ("", ()) if run is None else ("AND run = ? ", (run,))
    rows = connection.rows(
        f"SELECT job, run, start, at_ms, text FROM job_log WHERE job = ? {which}ORDER BY start", (job, *parameters)
    )
    pieces = [LogPiece(job=row[0], run=row[1], start=row[2], at_s=row[3] / 1000, text=row[4]) for row in rows]
    began: dict[str, float] = {}
    for piece in pieces:
        began[piece.run] = min(began.get(piece.run, piece.at_s), piece.at_s)
    return sorted(pieces, key=lambda piece: (began[piece.run], piece.run, piece.start))


def _trim(connection: Connection, job: str) -> None:
    kept = connection.rows("SELECT COALESCE(SUM(characters), 0) FROM job_log WHERE job = ?", (job,))
    over = int(kept[0][0]) - MOST_LOG_CHARACTERS
    if over <= 0:
        return
    oldest = connection.rows(
        "SELECT run, start, characters FROM job_log WHERE job = ? ORDER BY at_ms, run, start", (job,)
    )
    gone = []
    for run, start, characters in oldest:
        if over <= 0:
            break
        gone.append((job, run, start))
        over -= characters
    connection.many("DELETE FROM job_log WHERE job = ? AND run = ? AND start = ?", gone)


def _decoded(decoder: msgspec.json.Decoder[T], rows: Iterable[tuple[Any, ...]]) -> list[T]:
    """Return what can be read of rows of a job's id and a text."""
    found = []
    for job, text in rows:
        try:
            found.append(decoder.decode(text))
        except msgspec.DecodeError as error:
            get_logger("jobs").error("what is kept of a job is damaged, and is left out", job=job, why=str(error))
    return found


_MOST_ASKED: Final = 500
_RECORD: Final = msgspec.json.Decoder(JobRecord)
_DECISION: Final = msgspec.json.Decoder(Decision)
_OUTCOME: Final = msgspec.json.Decoder(Outcome)
