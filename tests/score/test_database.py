"""From records of two weeks in a real database to scores, by the verb and over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from unittest import mock

import msgspec
import numpy as np
import pytest
import uvicorn

from evenwatt_cli.exits import Exit
from evenwatt_cli.main import entry as evenwatt
from evenwatt_cli.score.beside import collector_database
from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.carbon.site import DeviceFacts
from evenwatt_collector.carbon.weigh import factors, period_mean, weigh
from evenwatt_collector.feedback.asking import ImprovementQuery
from evenwatt_collector.feedback.guard import Guard
from evenwatt_collector.http.application import application
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.build import Made, build_report
from evenwatt_collector.report.document import to_document, to_json
from evenwatt_collector.report.model import By
from evenwatt_collector.score.answer import from_document, scores
from evenwatt_collector.score.asking import ScoreQuery
from evenwatt_collector.score.desk import GUARD, DatabaseDesk, open_and_freeze, open_and_improve, open_and_score
from evenwatt_collector.score.gather import gather
from evenwatt_collector.score_api import score_routes
from evenwatt_collector.storage import LedgerWriter, connect
from evenwatt_collector.storage import intensity as store
from evenwatt_collector.storage.jobs import save_outcome
from evenwatt_collector.storage.memory import remember
from evenwatt_daemon import Failure
from tests.feedback.made import outcome
from tests.storage.made import DAY, HOUR, T0, entry, facts, reading, record, task

NIGHT = {"north": 100.0, "south": 300.0}
NOON = {"north": 200.0, "south": 600.0}
MADE = Made(now_s=T0 + 4 * DAY, version="test", fleet="lab")


def fill(path):
    """Two days in two halls: dirty noons from 6 to 18 h. On day 1 epochs run at noon, on day 2 at night and for half.

    Each node idles at 50 W; what runs adds 250 W and reserves nothing.
    """
    writer = LedgerWriter(str(path))
    for zone, pue in (("north", 1.1), ("south", 1.25)):
        store.set_site(writer.connection, zone, facts(grid=zone.upper(), pue=pue), None, 1)
        store.record(
            writer.connection,
            [
                reading(
                    T0 + HOUR * h, T0 + HOUR * (h + 1), (NOON if 6 <= h % 24 < 18 else NIGHT)[zone], grid=zone.upper()
                )
                for h in range(72)
            ],
        )
    store.set_device(writer.connection, "*", DeviceFacts(embodied_g=876_600.0, lifetime_s=8766 * 3600.0), None, 1)
    for zone in ("north", "south"):
        for hour in range(48):
            busy = zone == "south" and (hour in range(8, 16) or hour in range(24, 28))
            done = min(8, max(0, hour - 7)) if hour < 24 else 2 * min(4, max(0, hour - 23))
            number = 1 + hour // 24
            tasks = (
                [task(number, units=[("epoch", float(done))], duration_s=3600.0 * (hour % 24 + 1))]
                if zone == "south"
                else []
            )
            parts = [("idle", "", 0.0, 180_000.0)] + ([("task", f"{number:012x}", 900_000.0, 0.0)] if busy else [])
            start_ms = (T0 + HOUR * hour) * 1000
            made = record(f"{zone}-1", hour + 1, start_ms, start_ms + 3_600_000, parts, tasks=tasks)
            writer.append([entry(made, zone)], T0 + HOUR * (hour + 1) + 1.0)
    writer.settle()
    for number in range(30):
        ended_s = T0 + HOUR * number
        save_outcome(
            writer.connection, outcome(number, 60.0 + number % 4, workload="resnet", ended_s=ended_s, predicted_g=70.0)
        )
    writer.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    path = tmp_path_factory.mktemp("scores") / "collector.db"
    fill(path)
    return path


@pytest.fixture
def database(filled, tmp_path):
    path = tmp_path / "collector.db"
    shutil.copy(filled, path)
    return path


def verb(*arguments, code=0):
    """Run the command in this process; return what it printed: to standard error if it failed."""
    out, err = io.StringIO(), io.StringIO()
    called = mock.patch.object(sys, "argv", ["evenwatt", *map(str, arguments)])
    at = mock.patch.dict(os.environ, {"TZ": "UTC", "COLUMNS": "120"})
    with called, at, redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        evenwatt()
    assert end.value.code == code, err.getvalue() + out.getvalue()
    return out.getvalue() if code in {0, 3} else err.getvalue()


def test_as_a_process(database):
    command = [sys.executable, "-m", "evenwatt_cli", "score", *DAY_1, "--database", str(database)]
    env = {**os.environ, "TZ": "UTC", "COLUMNS": "80"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == Exit.OK, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "resnet" in done.stdout


DAY_1 = ("--from", "2026-11-02", "--to", "2026-11-03")
DAY_2 = ("--from", "2026-11-03", "--to", "2026-11-04")


def test_a_class_is_frozen_and_a_better_day_is_graded(database):
    at = ("--database", database)
    said = verb("score", "freeze", "resnet", *DAY_1, *at)
    assert "frozen: resnet v1 of workloads 'resnet'" in said
    document = json.loads(verb("score", "resnet", *DAY_2, *at, "--json"))
    one = from_document(document).scores[0]
    # 4 h x 250 W x PUE 1.25 at 300 g/kWh for 8 epochs, instead of 8 h at 600; a part of 0.1 g/h of making it.
    assert one.terms.operational_g == pytest.approx(4 * 0.25 * 1.25 * 300)
    assert one.against.g_per_unit == pytest.approx((8 * 0.25 * 1.25 * 600 + 8 * 100 * 900 / 1080) / 8)
    ratios = {factor.name: factor.ratio for factor in one.factors}
    assert (ratios["energy"], ratios["timing"]) == (pytest.approx(0.5), pytest.approx(0.5))
    assert (ratios["idle"], ratios["grid"], ratios["placement"]) == pytest.approx((1, 1, 1))
    assert one.grade.letter == "A"
    assert one.coverage == pytest.approx(1)
    assert (one.runs.count, one.runs.without_units) == (1, 0)
    text = verb("score", "resnet", *DAY_2, *at)
    for word in ("CO2e per epoch (90 %:", "grade A", "baseline resnet v1", "boundary:", "timing", "0.500", "product",
                 "measured coverage 100 %", "SOUTH by file (lifecycle, measured)"):  # fmt: skip
        assert word in text


def test_a_baseline_is_superseded_and_never_changed(database):
    at = ("--database", database)
    first = json.loads(verb("score", "freeze", "resnet", *DAY_1, *at, "--json"))
    second = json.loads(verb("score", "freeze", "resnet", *DAY_2, *at, "--json"))
    assert (first["version"], second["version"]) == (1, 2)
    assert second["previous_g_per_unit"] == pytest.approx(
        from_document(json.loads(verb("score", "resnet", *DAY_1, *at, "--json"))).scores[0].sci.g_per_unit
    )
    against = json.loads(verb("score", "resnet", *DAY_2, *at, "--json"))["scores"][0]["against"]
    assert (against["version"], against["digest"]) == (2, second["digest"])
    assert against["moved_pct"] < -60
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT value FROM document WHERE kind = 'score-baseline' ORDER BY at_s").fetchall()
        assert [json.loads(row[0])["version"] for row in rows] == [1, 2]
        assert json.loads(rows[0][0]) == first
        connection.execute("UPDATE document SET value = replace(value, '\"units\":8.0', '\"units\":80.0')")
        connection.commit()
    spoilt = verb("score", "resnet", *DAY_2, *at, code=3)
    assert "was changed after it was frozen" in spoilt
    assert "no baseline of its class is frozen" in spoilt
    assert json.loads(verb("score", "freeze", "resnet", *DAY_1, *at, "--json"))["version"] == 3  # and never 1 again


def test_on_either_database(where):
    fill(where)
    first = ScoreQuery(start_s=T0, end_s=T0 + DAY)
    versions = [open_and_freeze(where, first, "resnet", MADE).version for _ in range(2)]
    assert versions == [1, 2]
    found = open_and_score(where, ScoreQuery(name="resnet", start_s=T0, end_s=T0 + DAY), MADE)
    assert found.scores[0].against.version == 2
    assert found.scores[0].grade.points == pytest.approx(50)
    assert open_and_improve(where, ImprovementQuery(), MADE).whole.total.saved.jobs == 30


def test_the_fleet_counts_its_idle(database):
    at = ("--database", database)
    assert "no work of a frozen class was done" in verb("score", "freeze", "--fleet", *DAY_1, *at, code=2)
    verb("score", "freeze", "resnet", *DAY_1, *at)
    verb("score", "freeze", "--fleet", *DAY_1, *at)
    same = from_document(json.loads(verb("score", "--fleet", *DAY_1, *at, "--json"))).scores[0]
    assert same.grade.points == pytest.approx(50)
    found = from_document(json.loads(verb("score", "--fleet", *DAY_2, *at, "--json"))).scores[0]
    ratios = {factor.name: factor.ratio for factor in found.factors}
    assert ratios["idle"] > 1.5  # half the work, and the same idle beside it
    assert (
        found.grade.points
        < from_document(json.loads(verb("score", "resnet", *DAY_2, *at, "--json"))).scores[0].grade.points
    )
    assert "belongs to nobody" in verb("score", "--fleet", *DAY_2, *at)


def test_sums_are_those_of_the_report_and_means_those_of_the_clock(database, tmp_path):
    out = tmp_path / "report.json"
    connection = connect(str(database), write=False)
    with contextlib.closing(connection):
        found = gather(connection, "workload", (T0, T0 + 2 * DAY), MADE)
        verb("report", "--from", "2026-11-02", "--to", "2026-11-04", "--database", database, "--json", "--out", out)
        report = json.loads(out.read_text())
        assert found.total.location_g == pytest.approx(report["total"]["location_g"], rel=1e-9)
        assert found.total.embodied_g == pytest.approx(report["total"]["embodied_g"], rel=1e-9)
        assert found.means == pytest.approx({"north": 1.1 * 150, "south": 1.25 * 450})
        assert sum(found.weights.values()) == pytest.approx(1)
        known = store.known(connection, connection.rows("SELECT id FROM zone WHERE name = 'south'")[0][0], T0, T0 + DAY)
        assert period_mean(known, T0 + 5.5 * HOUR, T0 + 6.25 * HOUR) == pytest.approx(
            1.25 * (0.5 * 300 + 0.25 * 600) / 0.75
        )
        listed = scores(connection, ScoreQuery(start_s=T0, end_s=T0 + 2 * DAY), MADE)
        assert listed.whole_g == pytest.approx(report["total"]["location_g"], rel=1e-9)
        assert [one.name for one in listed.scores] == ["resnet"]
        assert listed.scored_g + listed.nobody_g == pytest.approx(listed.whole_g)
        model = scores(connection, ScoreQuery(subject="model", name="resnet50", start_s=T0, end_s=T0 + DAY), MADE)
        assert model.scores[0].sci.units == 8
        with pytest.raises(LookupError, match="no workload matches 'cat'"):
            scores(connection, ScoreQuery(name="cat", start_s=T0, end_s=T0 + DAY), MADE)


def test_patterns_and_wrong_calls(database):
    at = ("--database", database)
    verb("score", "freeze", "vision", "--match", "res*", *DAY_1, *at)
    assert json.loads(verb("score", "vision", *DAY_2, *at, "--json"))["scores"][0]["against"]["name"] == "vision"
    assert json.loads(verb("score", "resnet", *DAY_2, *at, "--json"))["scores"][0]["against"]["name"] == "vision"
    assert json.loads(verb("score", "res*", *DAY_2, *at, "--json"))["scores"][0]["against"]["name"] == "vision"
    for arguments, word in [
        (["resnet", "--fleet"], "name one or the other"),
        (["--by", "cat"], "--by 'cat'"),
        (["cat", *DAY_1], "no workload matches 'cat'"),
        (["--from", "soon"], "--from 'soon'"),
        (["vision", "--by", "model", *DAY_1], "class 'vision' is of a workload"),
        (["freeze", "cat", *DAY_1], "no workload matches 'cat'"),
        (["freeze", "resnet", "--per", "token", *DAY_1], "no token was reported; reported are epoch"),
        (["freeze", "vision", "--by", "model", "--match", "resnet50", *DAY_1], "freeze it under another name"),
    ]:
        assert word in verb("score", *arguments, *at, code=2)
    assert "no such database" in verb("score", "freeze", "x", "--database", "/nowhere/x.db", code=2)


def test_improvement_from_the_database(database):
    at = ("--database", database)
    guard = Guard()
    guard.adopt("carbon-1")
    connection = connect(str(database), exclusive=False)
    with contextlib.closing(connection):
        remember(connection, GUARD, guard.document())
    weeks = 1 + int((time.time() - T0) // (7 * DAY))
    found = json.loads(verb("improvement", "--weeks", weeks, "--by", "workload", *at, "--json"))
    assert found["schema"] == "evenwatt-improvement/1"
    assert found["whole"]["total"]["saved"]["jobs"] == 30
    assert found["workloads"][0]["workload"] == "resnet"
    assert found["policy"]["active"] == "carbon-1"
    text = verb("improvement", "--weeks", weeks, *at)
    for word in ("2026-W45", "30 jobs emitted", "at once, at home, at full power", "error of grams:", "controls: 0",
                 "policy carbon-1"):  # fmt: skip
        assert word in text
    assert "no job had an outcome in the" in verb("improvement", "--weeks", weeks + 1, *at)
    assert "2026-W44" not in text
    assert "ERROR OF" in text
    assert "not to be trusted yet" not in text  # 30 outcomes
    for number in range(200):
        guard.observe(outcome(number, 300.0, 100.0, version="carbon-1"))
    connection = connect(str(database), exclusive=False)
    with contextlib.closing(connection):
        remember(connection, GUARD, guard.document())
    assert "! policy carbon-1 was rolled back" in verb("improvement", "--weeks", weeks, *at, code=3)
    assert "no job with an outcome" in verb("improvement", "--workload", "cat", *at, code=3)
    assert "--by 'cat'" in verb("improvement", "--by", "cat", *at, code=2)


def test_each_shard_tells_its_own_policy(database):
    """Shards remember under names of their own; who reads the database alone hears of one that was rolled back."""
    connection = connect(str(database), exclusive=False)
    with contextlib.closing(connection):
        for shard, jobs in (("north", 0), ("south", 200)):
            guard = Guard()
            guard.adopt(f"{shard}-1")
            for number in range(jobs):
                guard.observe(outcome(number, 300.0, 100.0, version=f"{shard}-1"))
            connection.run("INSERT INTO shard (zone, name, url) VALUES (?, ?, '')", (shard, shard))
            connection.shard = shard
            remember(connection, GUARD, guard.document())
    query = ImprovementQuery()
    asked = {
        name: asyncio.run(DatabaseDesk(str(database), "lab", "test", name).improvement(query)).policy
        for name in ("", "north", "south")
    }
    assert asked[""] is None
    assert (asked["north"].active, asked["north"].alarm) == ("north-1", None)
    assert "south-1 was rolled back" in asked["south"].alarm
    assert open_and_improve(str(database), query, MADE).policy == asked["south"]


@contextlib.contextmanager
def serving(desk):
    server = uvicorn.Server(uvicorn.Config(application(score_routes(desk)), port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_the_same_over_http(database, tmp_path):
    settings = tmp_path / "operator.toml"
    with serving(DatabaseDesk(str(database), "lab", "test")) as url:
        settings.write_text(f'collector_url = "{url}"\n')
        at = ("--config", settings)
        asked = json.loads(verb("score", "resnet", *DAY_1, *at, "--json", code=Exit.DEGRADED))
        assert asked["scores"][0]["terms"]["operational_g"] == pytest.approx(8 * 0.25 * 1.25 * 600)
        assert "no grade: no baseline of its class is frozen; evenwatt score freeze resnet" in verb(
            "score", "resnet", *DAY_1, *at, code=Exit.DEGRADED
        )
        assert "RESULT" not in verb("score", *DAY_1, *at)
        assert "no workload matches 'cat'" in verb("score", "cat", *at, code=Exit.USAGE)
        assert "lab: all jobs" in verb("improvement", "--weeks", "500", *at)
    assert "does not answer" in verb("score", *at, code=Exit.FAILURE)
    with serving(DatabaseDesk("/nowhere/x.db", "lab", "test")) as url:
        settings.write_text(f'collector_url = "{url}"\n')
        assert "/nowhere/x.db" in verb("score", *at, code=Exit.USAGE)


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"by": "cat"}, "by: found 'cat'"),
        ({"cat": "1"}, "cat: no such parameter"),
        ({"from": "x"}, "from: found 'x'"),
        ({"from": "5", "to": "4"}, "expected less than to"),
        ({"by": "fleet", "name": "x"}, "there is one fleet"),
        ({"to": "nan"}, "to: found 'nan'"),
    ],
)
def test_parameters_are_checked(said, word):
    with pytest.raises(Failure, match=word):
        ScoreQuery.from_parameters(said, 1e9)
    query = ScoreQuery(subject="model", name="x", start_s=1.5, end_s=2.5, unit="token")
    assert ScoreQuery.from_parameters(query.parameters(), 0) == query


def test_time_before_recording_began_is_not_covered_and_a_short_period_is_frozen_only_as_provisional(
    database, tmp_path
):
    at = ("--database", database)
    week = ("--from", "2026-10-28", "--to", "2026-11-03")  # five days of nothing, and a day
    one = from_document(json.loads(verb("score", "resnet", *week, *at, "--json", code=3))).scores[0]
    assert one.coverage == pytest.approx(1 / 6)
    assert one.recorded_s == pytest.approx(DAY)
    assert "measured coverage 16.7 % (recording began 1.00 d before its end)" in verb(
        "score", "resnet", *week, *at, code=3
    )
    refused = verb("score", "freeze", "resnet", *week, *at, code=2)
    assert "16.7 % of the period is metered, expected at least 80 %" in refused
    assert "--anyway" in refused
    short = ("--from", "2026-11-02T08:00", "--to", "2026-11-02T12:00")
    assert "4h of it are recorded, expected at least a day" in verb("score", "freeze", "resnet", *short, *at, code=2)
    assert "! provisional: 4h" in verb("score", "freeze", "resnet", *short, "--anyway", *at)
    assert "provisional: 4h" in " ".join(verb("score", "resnet", *DAY_1, *at).split())


def test_where_a_baseline_is_written_without_a_database_being_named(tmp_path):
    nowhere = tmp_path / "nowhere"
    with pytest.raises(Failure, match=r"beside the collector, e\.g\. evenwatt score freeze x --database"):
        collector_database("x", nowhere, nowhere)
    settings, usual = tmp_path / "collector.toml", tmp_path / "collector.db"
    usual.touch()
    assert collector_database("x", nowhere, usual) == str(usual)
    settings.write_text('database = "/srv/its.db"\n')
    assert collector_database("x", settings, usual) == "/srv/its.db"


def test_periods_may_be_as_long_as_anybody_likes(database):
    """A period costs what was recorded in it, not its length; time before the first record is compared with nothing."""
    connection = connect(str(database), write=False)
    with contextlib.closing(connection):
        whole = gather(connection, "workload", (T0, T0 + 2 * DAY), MADE)
        late = Made(now_s=T0 + 300 * 365.25 * DAY, version="test", fleet="lab")
        for start_s, made in ((0.0, MADE), (0.0, late)):
            found = gather(connection, "workload", (start_s, T0 + 2 * DAY), made)
            assert found.total.location_g == pytest.approx(whole.total.location_g, rel=1e-9)
            assert found.means == pytest.approx(whole.means, rel=1e-9)
        ever = ReportQuery(by=By.NODE, start_s=0.0, end_s=250_000_000_000.0, timezone="UTC")
        report = build_report(connection, ever, MADE)
        assert to_json(report) == msgspec.json.encode(to_document(report))
        assert report.total.location_g == pytest.approx(whole.total.location_g, rel=1e-9)
        assert report.used[0].energy_j == pytest.approx(
            build_report(connection, replace(ever, start_s=T0, end_s=T0 + 2 * DAY), MADE).used[0].energy_j
        )


def test_a_mean_is_that_of_a_constant_load(database):
    """As energy is weighed, slot by slot; also where the site's facts change and some hours are only foreseen."""
    writer = LedgerWriter(str(database))
    with contextlib.closing(writer):
        store.set_site(writer.connection, "south", facts(grid="SOUTH", pue=1.5), T0 + 7 * HOUR + 60, T0 + 3 * DAY)
        ahead = [
            reading(T0 + HOUR * h, T0 + HOUR * (h + 1), 900.0, T0 - DAY, grid="SOUTH", standing=Standing.FORECAST)
            for h in (5, 80)
        ]
        store.record(writer.connection, ahead)
        zone = writer.connection.rows("SELECT id FROM zone WHERE name = 'south'")[0][0]
        known = store.known(writer.connection, zone, T0, T0 + 4 * DAY)
        assert [one.start_s for one in known.average if one.standing is Standing.FORECAST] == [T0 + 80 * HOUR]
        for first, hours in ((0, 24), (6, 3), (70, 26)):
            made = factors(known, T0 // HOUR + first, hours, 12)
            load = np.zeros((hours, 2, 12))
            load[:, 0] = 1.0
            weighed = weigh(made, T0 // HOUR + first + np.arange(hours), load)
            wanted = weighed.location_g.sum() / (weighed.energy_j.sum() / 3.6e6)
            start_s = T0 + first * HOUR
            assert period_mean(known, start_s, start_s + hours * HOUR) == pytest.approx(wanted, rel=1e-12)
