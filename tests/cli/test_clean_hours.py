"""The demo's scenario clean-hours: what can be said of it without running it."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import msgspec
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from evenwatt_agent.settings import load as load_agent
from evenwatt_cli.demo.clean import files, learned, serving
from evenwatt_cli.demo.clean.bars import HOURS_SHOWN, curve, job_bar, ruler
from evenwatt_cli.demo.clean.day import HOURS, GridDay
from evenwatt_cli.demo.clean.hints import at_end, at_start
from evenwatt_cli.demo.clean.optimum import Stretch, best, measured, sweep
from evenwatt_cli.demo.clean.report import make_report
from evenwatt_cli.demo.clean.run import end_runs
from evenwatt_cli.demo.clean.scenario import (
    RENDER,
    SERVING,
    TRAIN,
    WORKLOADS,
    CleanScenario,
    make_scenario,
    write_intensity,
)
from evenwatt_cli.demo.clean.seen import Held, Seen, cap_words, variant_words
from evenwatt_cli.demo.clean.stream import BEFORE, SERVICE_SPEC, arrivals
from evenwatt_cli.demo.clean.view import picture
from evenwatt_cli.demo.clean.words import in_words
from evenwatt_cli.main import app
from evenwatt_cli.operator_settings import load as load_operator
from evenwatt_collector.carbon import IntensityTable
from evenwatt_collector.jobs.reading import read
from evenwatt_collector.models.registry import ModelsFile
from evenwatt_collector.settings import load as load_collector
from evenwatt_daemon import Failure, load_settings
from evenwatt_twin import Machine, preset
from evenwatt_twin.profiles import Steady
from evenwatt_wire import Deployments, Kind, Topic, encode
from evenwatt_wire.messages import Deployment
from evenwatt_wire.topics import CONTROLLER_NODE
from tests.support import make_key, make_trust

BEGAN_S = 1_800_000_000
SECOND = 1_000_000_000


@pytest.fixture
def day():
    return GridDay(BEGAN_S)


@pytest.fixture
def scenario(tmp_path, day):
    made = CleanScenario(tmp_path, day, 1883, 9730, "/usr/bin/python3")
    make_key(tmp_path / "controller.pem")
    make_trust(tmp_path, [], fleet="demo")
    (tmp_path / "tokens").write_text("demo a-token-that-is-long-enough\n")
    (tmp_path / "tokens").chmod(0o600)
    return made


# --- the grid ---------------------------------------------------------------------------------------------------------


def test_a_day_has_clean_and_dirty_parts_and_begins_dirty(day):
    values = [day.forecast_g(number) for number in range(HOURS)]
    assert day.median_g == median(values)
    assert max(values) > 3 * min(values)
    assert values[0] > 1.3 * day.median_g
    sides = [value < day.median_g for value in values]
    assert sum(a != b for a, b in pairwise([*sides, sides[0]])) == 4  # two clean parts
    assert values == [day.forecast_g(number + HOURS) for number in range(HOURS)]


def test_what_is_measured_differs_a_little_from_the_forecast_and_stays_what_it_is(day):
    off = [math.log(day.measured_g(number) / day.forecast_g(number)) for number in range(-20, 400)]
    assert 0.03 < math.sqrt(sum(x * x for x in off) / len(off)) < 0.07
    assert day.measured_g(7) == GridDay(BEGAN_S).measured_g(7) == day.measured_g(7)
    assert day.measured_g(7) != GridDay(BEGAN_S, seed=2).measured_g(7)


def test_its_file_tells_what_was_measured_and_what_is_forecast(day, scenario):
    now_s = BEGAN_S + 35
    write_intensity(scenario, now_s)
    head, *lines = scenario.intensity.read_text().splitlines()
    assert head == "start,end,g_per_kwh"
    rows = [tuple(float(cell) for cell in line.split(",")) for line in lines]
    assert all(before[1] == after[0] for before, after in pairwise(rows))
    assert rows[0][0] <= now_s - 200
    assert rows[-1][1] >= now_s + 3 * day.day_s
    for start_s, end_s, value in rows:
        number = day.number(start_s)
        assert end_s - start_s == day.hour_s
        assert value == (day.measured_g(number) if start_s <= now_s else round(day.forecast_g(number), 1))


@given(st.integers(-500, 5_000), st.floats(0, 9.9))
def test_hours_and_clock_agree(number, more_s):
    day = GridDay(BEGAN_S)
    assert day.number(day.starts_s(number) + more_s) == number
    assert day.clock(day.starts_s(number)) == f"{(number + day.first) % HOURS:02d}:00"


# --- the jobs ---------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.floats(150, 3_600))
def test_jobs_can_be_done_before_the_end_and_are_what_the_collector_reads(seconds):
    found = arrivals(seconds, 240)
    assert [one.at_s for one in found] == sorted(one.at_s for one in found)
    assert {one.spec["workload"] for one in found} == {TRAIN.name, RENDER.name}
    assert len({one.spec["name"] for one in found}) == len(found)
    for one in found:
        deadline_s, length_s = float(one.spec["deadline"].strip("+s")), float(one.spec["length"].strip("s"))
        assert deadline_s >= 1.25 * length_s
        assert one.at_s + deadline_s <= seconds - 5
    text = json.dumps({"jobs": [*(one.spec for one in found), SERVICE_SPEC]}).encode()
    ids = iter(f"{n:012x}" for n in range(10_000))
    assert read(text, "json", lambda: next(ids)).problems == []


def test_some_cannot_wait_and_the_first_come_before_anything_is_learned():
    found = arrivals(480, 240)
    assert tuple(one.spec["name"] for one in found[:2]) == BEFORE
    assert sum("urgent" in one.spec["name"] for one in found) == 2
    assert all(not one.spec["interruptible"] for one in found if "urgent" in one.spec["name"])
    assert any(one.spec["interruptible"] for one in found)


# --- its files, read by those who read them ---------------------------------------------------------------------------


def test_agents_collector_and_operator_take_their_settings(scenario):
    for node in scenario.nodes:
        scenario.settings(node).write_text(files.agent(scenario, node))
        agent = load_agent(str(scenario.settings(node)))
        assert agent.node == node
        assert agent.jobs.enabled == (node != SERVING)
        assert {template.name for template in agent.jobs.templates} <= {workload.name for workload in WORKLOADS}
        for template in agent.jobs.templates:
            assert str(scenario.guests(node)) in template.command
    scenario.models.write_text(files.MODELS)
    scenario.settings("collector").write_text(files.collector(scenario))
    middle = load_collector(str(scenario.settings("collector")), IntensityTable.packaged())
    assert middle.jobs.slot_s == scenario.day.hour_s == middle.zones[0].slot_s
    variants = load_settings(ModelsFile, middle.models).models
    assert {variant.label for variant in variants} == set(serving.VARIANTS)
    bound = SERVICE_SPEC["slo"]["min_quality"]
    assert all(variant.quality is not None and variant.quality.value >= bound for variant in variants)
    scenario.settings("operator").write_text(files.operator(scenario))
    assert load_operator(scenario.settings("operator")).token_file == str(scenario.tokens)


# --- what is best, and what was learned -------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_the_least_energy_lies_inside_the_range_of_caps(workload):
    points = sweep(workload)
    least = best(points)
    assert points[0].power_w < least.power_w < 0.8 * points[-1].power_w
    assert points[-1].speed == pytest.approx(1.0)
    assert least.energy_j_per_s < 0.85 * points[-1].energy_j_per_s


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_what_a_machine_did_is_found_again_in_its_log(workload, tmp_path):
    from evenwatt_twin import Truth

    spec = msgspec.structs.replace(preset("xeon_2s", "m"), profile=Steady(load=workload.load))
    machine = Machine(spec, tmp_path / "m", start_ns=0)
    for socket in range(2):
        for index in range(2):
            zone = machine.places.sysfs / "class" / "powercap" / f"intel-rapl:{socket}"
            (zone / f"constraint_{index}_power_limit_uw").write_text(f"{160 * 10**6}\n")
    machine.step_to(30 * SECOND)
    machine.close()
    found = measured(workload, [Stretch("m", 5 * SECOND, 25 * SECOND, 0.0)], {"m": Truth.load(machine.places.truth)})
    assert found is not None
    point = min(sweep(workload), key=lambda point: abs(point.power_w - found.power_w))
    assert found.energy_j_per_s == pytest.approx(point.energy_j_per_s, rel=0.01)


def test_stretches_end_where_cap_run_or_sight_of_it_ends():
    def held(second, cap_w, run="a", workload="train"):
        return Held(0.0, int(second * SECOND), "n", workload, run, cap_w)

    rows = [held(s / 2, 400.0 + s % 2) for s in range(20)]  # 0 to 9.5 s, read back within a watt
    rows += [held(10 + s / 2, 300.0) for s in range(10)]  # to 14.5 s
    rows += [held(60 + s / 2, 300.0) for s in range(10)]  # after a gap
    rows += [held(5 + s / 2, 300.0, run="b") for s in range(2)]  # too short
    rows += [held(s / 2, 100.0, workload="render") for s in range(20)]
    found = list(learned.stretches(rows, "train"))
    spans = [(one.cap_w, one.start_ns / SECOND, one.end_ns / SECOND) for one in found]
    assert spans == [(400.0, 1.5, 9.5), (300.0, 11.5, 14.5), (300.0, 61.5, 64.5)]


# --- the service ------------------------------------------------------------------------------------------------------


def told(service=files.SERVICE, variant=f"{files.MODEL}:small"):
    one = Deployment(
        service=service, variant=variant, zone=files.ZONE, since_wall_ms=0, g_per_unit=0.1, unit="request", why="clean"
    )
    return encode(Deployments(zone=files.ZONE, wall_ms=0, epoch=1, services=[one]))


def test_the_service_follows_its_own_deployment_and_nothing_else():
    topic = str(Topic(files.ZONE, CONTROLLER_NODE, Kind.DEPLOYMENTS))
    service = serving.Service(Path("/nowhere"), "/nowhere")
    serving.take(service, topic, told(service="other"))
    serving.take(service, topic, b"\xff nonsense")
    serving.take(service, "evenwatt/v1/demo/x", told())
    assert service.wanted == ""
    serving.take(service, topic, told())
    assert service.wanted == f"{files.MODEL}:small"


# --- what is shown ----------------------------------------------------------------------------------------------------


def job(day, name="train-1", state="running", ran=(3, None), planned=(), **more):
    runs = [
        {
            "id": f"run-{name}",
            "node": "batch-1",
            "state": "running" if ran[1] is None else "ended",
            "started_s": day.starts_s(ran[0]) + 1.0,
            "ended_s": None if ran[1] is None else day.starts_s(ran[1]) + 1.0,
            "heard_s": day.starts_s(ran[0]) + 1.0,
            "duration_s": 0.0,
            "energy_j": 0.0,
            "grams": 0.0,
        }
    ]
    return {
        "id": name,
        "spec": {"name": name, "workload": "train"},
        "state": state,
        "submitted_s": float(day.starts_s(0)),
        "deadline_s": float(day.starts_s(30)),
        "ended_s": runs[0]["ended_s"] if state == "done" else None,
        "length_s": 30.0,
        "runs": runs,
        "pieces": [{"start_s": day.starts_s(a), "end_s": day.starts_s(b)} for a, b in planned],
        "outcome": None,
        "late": False,
    } | more


def test_bars_lie_under_the_hours_that_they_mean(day):
    now_s = day.starts_s(5) + 2.0
    bar = job_bar(job(day, planned=[(9, 11)]), day, 0, now_s)
    assert bar.plain[:12] == "···███   ▒▒ "
    assert bar.plain[30] == "|"
    assert len(bar.plain) == HOURS_SHOWN == len(ruler(day, 0, now_s).plain)
    assert ruler(day, 0, now_s).plain[5] == "▲"
    rows = curve(day, 0, now_s)
    assert {len(row.plain) for row in rows} == {HOURS_SHOWN}
    dirtiest = max(range(HOURS_SHOWN), key=day.forecast_g)
    assert rows[0].plain[dirtiest] != " "
    assert rows[0].plain[min(range(HOURS_SHOWN), key=day.forecast_g)] == " "


def seen_so_far(day):
    seen = Seen(day, began_s=float(BEGAN_S), ended_s=BEGAN_S + 60.0, frozen_s=BEGAN_S + 40.0)
    seen.status = {
        "nodes": [
            {"node": "batch-1", "power_w": 320.4, "cap_w": 337.0, "ceiling_w": 495.0},
            {"node": SERVING, "power_w": None, "cap_w": None, "ceiling_w": 495.0},
        ]
    }
    outcome = {"grams": 2.0, "counterfactual_g": 5.0}
    seen.jobs = {
        "a": job(day, planned=[(7, 9)]),
        "b": job(day, name="render-2-with-a-very-long-name", state="done", ran=(1, 2), outcome=outcome),
    }
    seen.held = [Held(BEGAN_S + 30.0, 0, "batch-1", "train", "run-train-1", 337.0)]
    seen.take_service({"service": files.SERVICE, "variant": "reader:small", "node": SERVING, "why": "lowered: " * 30})
    seen.caps = {"train": "337 W: least J per unit (energy) of 3 caps measured: 337 W, within the deadline in 59 s"}
    factors = [{"name": name, "ratio": 0.8} for name in ("energy", "idle", "grid", "timing")]
    score = {"name": "train", "unit": "steps", "sci": {"g_per_unit": 0.001}, "against": {"g_per_unit": 0.003}}
    seen.score = {"scores": [score | {"factors": factors, "grade": {"letter": "A", "points": 89.6}}, {"name": "x"}]}
    return seen


def test_the_picture_fits_eighty_columns_and_says_that_time_is_accelerated(day):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(picture(seen_so_far(day), 50.0, 480.0, BEGAN_S + 52.0))
    text = console.export_text()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "a grid hour is 10 s" in text
    for word in (
        "batch-1",
        "cap of train: 337 W: least J per unit",
        "reader:small",
        "60 % saved",
        "energy x0.80",
        "A 90 of 100",
        "dirty",
    ):
        assert word in re.sub(r"[\s│]+", " ", text), word


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 14), (120, 50), (200, 8)])
def test_the_picture_fits_the_terminal_and_its_frame_is_always_drawn(day, width, height):
    seen = seen_so_far(day)
    seen.jobs |= {f"more-{n}": job(day, name=f"more-{n}", id=f"more-{n}") for n in range(30)}
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(picture(seen, 50.0, 480.0, BEGAN_S + 52.0, width, height))
    lines = console.export_text().splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) == min(width, 120)
    assert "430 s left, Ctrl-C ends" in lines[-1]
    assert sum("▒ planned" in line for line in lines) == (height > 8)
    if height >= 24:
        assert any("serve-1" in line for line in lines)


def test_a_job_is_late_when_its_deadline_is_over_and_when_its_plan_says_so(day):
    def said():
        console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(picture(seen, 50.0, 480.0, BEGAN_S + 52.0))
        return console.export_text()

    seen = seen_so_far(day)
    seen.jobs["a"]["late"] = True
    assert "1 late (1 foreseen)" in said()
    seen.jobs["a"]["deadline_s"] = BEGAN_S + 50.0
    assert "1 late " in said()
    assert "foreseen" not in said()
    seen.jobs["a"] |= {"state": "cancelled", "ended_s": BEGAN_S + 51.0}
    assert "0 late " in said()


def test_nothing_is_said_twice():
    tried = "376 W (trying): trying 376.2 W: expected to save 2.1 %"
    assert cap_words(tried) == "trying 376.2 W: expected to save 2.1 %"
    assert variant_words("reader:small", "reader:small weighs 1 mg; more") == "reader:small weighs 1 mg"
    assert variant_words("reader:small", "lowered: dirty; more") == "reader:small: lowered: dirty"
    assert cap_words("376 W: least J per unit") == "376 W: least J per unit"


def test_before_anything_is_known_there_is_a_picture_too(day):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(picture(Seen(day), 0.0, 480.0, float(BEGAN_S)))
    assert "nothing to compare yet" in console.export_text()


# --- the report -------------------------------------------------------------------------------------------------------


def test_joules_and_grams_of_runs_are_held_against_the_machines_own_log(scenario, monkeypatch):
    day = scenario.day
    monkeypatch.setattr("time.time_ns", lambda: BEGAN_S * SECOND)
    monkeypatch.setattr("time.monotonic_ns", lambda: 0)
    scenario.twins.mkdir()
    for node in scenario.nodes:
        spec = msgspec.structs.replace(preset("xeon_2s", node), profile=Steady(load=1.0))
        machine = Machine(spec, scenario.twins / node, start_ns=0, step_ns=50_000_000)
        machine.step_to(120 * SECOND)
        machine.close()
    monkeypatch.setattr("evenwatt_cli.demo.clean.report.learned_caps", lambda *_: {})
    # Ten seconds in hour 8, which is clean; submitted in hour 0, which is not.
    row = job(day, name="train-3", state="done", ran=(8, 9))
    (run,) = row["runs"]
    run |= {"duration_s": 10.0, "energy_j": 4_900.0, "grams": 0.32}
    seen = replace(seen_so_far(day), jobs={"c": row}, ended_s=BEGAN_S + 100.0)
    report = make_report(scenario, seen)
    assert report["energy"]["true_j"] == pytest.approx(5_000.0, rel=1e-3)
    assert report["energy"]["error_pct"] == pytest.approx(-2.0, abs=0.1)
    hours = 0.9 * day.measured_g(8) + 0.1 * day.measured_g(9)
    assert report["energy"]["true_g"] == pytest.approx(5_000.0 / 3.6e6 * 1.2 * hours, rel=1e-3)
    assert report["energy"]["counted_g"] == 0.32
    assert report["clean"]["share_pct"] == pytest.approx(100.0)
    assert report["clean"]["at_once_share_pct"] == 0.0
    assert report["jobs"] | {"late": 0, "done": 1, "open": 0} == report["jobs"]
    assert report["score"]["train"]["factors"]["energy"] == 0.8
    assert "accelerated" in in_words(report)
    json.dumps(report)


def test_a_job_that_is_still_open_after_its_deadline_is_late(scenario, monkeypatch):
    monkeypatch.setattr("evenwatt_cli.demo.clean.report.Truth.load", lambda _: None)
    monkeypatch.setattr("evenwatt_cli.demo.clean.report.learned_caps", lambda *_: {})
    monkeypatch.setattr("evenwatt_cli.demo.clean.report._energy", lambda *_: {"error_pct": None})
    monkeypatch.setattr("evenwatt_cli.demo.clean.report._clean", lambda *_: {"share_pct": None})
    day = scenario.day
    waiting = job(day, state="waiting", deadline_s=float(day.starts_s(3))) | {"runs": []}
    seen = replace(seen_so_far(day), jobs={"a": waiting})
    assert make_report(scenario, seen)["jobs"]["late_names"] == ["train-1"]


def test_what_others_run_is_not_the_demos_and_loses_no_report(scenario, day, monkeypatch):
    monkeypatch.setattr("evenwatt_cli.demo.clean.report.Truth.load", lambda _: SimpleNamespace(mono_ns=()))
    monkeypatch.setattr("evenwatt_cli.demo.clean.report.learned_caps", lambda *_: {})
    seen = seen_so_far(day)
    seen.jobs["x"] = job(day, name="theirs", spec={"name": "theirs", "external": "cron"}, id="x", deadline_s=1.0)
    seen.jobs["x"]["runs"][0]["node"] = ""
    seen.jobs["y"] = job(day, name="elsewhere", id="y")
    seen.jobs["y"]["runs"][0]["node"] = "another-machine"
    seen.jobs["a"]["runs"][0] |= {"heard_s": None, "ended_s": None}
    seen.jobs["b"]["runs"][0] |= {"started_s": None}
    report = make_report(scenario, seen)
    assert report["jobs"]["submitted"] == 2
    assert not report["jobs"]["late"]
    assert in_words(report)


def test_the_demo_says_how_to_look_at_it_and_what_to_submit(scenario):
    said = at_start(scenario)
    for verb in ("status", "jobs", "plan"):
        assert f"evenwatt {verb} -c {scenario.folder}/operator.toml" in said
    assert all(f"  {workload.name}: " in said for workload in WORKLOADS)
    assert f"-c {scenario.folder}/operator.toml --database {scenario.database}" in at_end(scenario)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_without_root_it_says_why_and_what_to_do(tmp_path, day, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(Failure, match="only root can hand it to a user without privileges; run it as root"):
        make_scenario(tmp_path, day)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand work to another user")
def test_a_folder_that_the_jobs_user_cannot_pass_is_refused(tmp_path, day):
    (tmp_path / "closed").mkdir(mode=0o700)
    folder = tmp_path / "closed" / "demo"
    folder.mkdir()
    with pytest.raises(Failure, match=r"'nobody', who runs the jobs, cannot pass .*; name another --keep"):
        make_scenario(folder, day)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--scenario", "clean"], "--scenario 'clean': expected bursts or clean-hours"),
        (["--scenario", "clean-hours", "--seconds", "60"], "--seconds 60: .* needs 150 at least"),
    ],
)
def test_what_makes_no_sense_is_refused(options, says):
    with pytest.raises(Failure, match=says):
        app(["demo", *options], standalone_mode=False)


def test_runs_that_agents_left_going_are_ended_and_no_others(scenario, tmp_path):
    def supervisor(folder):
        words = ["-c", "import time; time.sleep(60)", "evenwatt_agent.jobs.supervisor", f"{folder}/shared/runs/1"]
        return subprocess.Popen([sys.executable, *words])

    ours, other = supervisor(scenario.folder), supervisor(f"{tmp_path}-other")
    try:
        while not all(psutil.Process(one.pid).cmdline()[1:2] == ["-c"] for one in (ours, other)):
            time.sleep(0.01)
        end_runs(scenario)
        assert not psutil.pid_exists(ours.pid)
        assert other.poll() is None
    finally:
        for one in (ours, other):
            one.kill()
            one.wait()
