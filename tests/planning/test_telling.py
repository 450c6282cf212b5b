"""Why a job is when and where it is, in words."""

import pytest

from evenwatt_collector.jobs.model import JobState, Piece
from evenwatt_collector.jobs.spec import Service
from evenwatt_collector.planning.telling import explanation
from tests.jobs.made import HOUR, NOW_S, decision, option, outcome, record, spec


def said(kept, decisions=(), now_s=NOW_S, service=None):
    return explanation(kept, decisions, now_s, service).lines


def planned(why="", **keys):
    later = option(start_s=NOW_S + HOUR, end_s=NOW_S + 1.5 * HOUR, grams=27.3, energy_kwh=0.15, why=why)
    base = option("now", start_s=NOW_S, end_s=NOW_S + HOUR, grams=59.4, energy_kwh=0.15, why="")
    made = decision(**keys)
    return type(made)(job=made.job, made_s=made.made_s, policy=made.policy, chosen=later, baseline=base,
                      alternatives=made.alternatives, would_change=made.would_change)  # fmt: skip


def test_a_planned_job_says_why_then_in_figures():
    piece = Piece(zone="hall", start_s=NOW_S + HOUR, end_s=NOW_S + 2 * HOUR)
    kept = record(pieces=[piece], deadline_s=NOW_S + 8 * HOUR)
    lines = said(kept, [planned()])
    assert lines[0].startswith(f"nightly ({kept.id}) is waiting: to start at ")
    (because,) = (line for line in lines if "because" in line)
    assert because.startswith("  because lowest of the hours until its deadline at ")
    assert because.endswith("with room for it: 182 g/kWh, at once 396")
    assert not any(line.strip() == "because" for line in lines)


def test_what_the_plan_says_itself_comes_first():
    assert "  because it runs at once" in said(record(), [planned("it runs at once")])


def test_nothing_is_decided_only_where_there_is_no_decision():
    assert said(record())[0].endswith("waiting: nothing is decided yet")
    assert "nothing is decided" not in said(record(), [planned()])[0]


def test_a_saving_stands_with_the_decision():
    sure = option(why="it saves 32 g against running at once; estimated chance that it saves at all: 99 %")
    lines = said(record(), [planned(alternatives=[sure], would_change=["at 180 g/kWh it would have run"])])
    change = lines.index("what would change it:")
    assert lines[change + 1] == "  at 180 g/kWh it would have run"
    assert lines.index(f"  {sure.why}") < change


@pytest.mark.parametrize(("length_s", "seconds"), [(60.0, True), (7200.0, False)])
def test_moments_are_told_to_the_second_where_pieces_are_short(length_s, seconds):
    piece = Piece(zone="hall", start_s=NOW_S + 65.0, end_s=NOW_S + 65.0 + length_s)
    line = said(record(pieces=[piece]))[0]
    assert (line.count(":") == 3) is seconds


def test_done_is_said_once():
    kept = record(state=JobState.DONE, ended_s=NOW_S, why="done", outcome=outcome(), deadline_s=NOW_S)
    lines = said(kept, [planned()])
    assert "is done since " in lines[0]
    assert any("saved 20 g" in line for line in lines)
    assert not any("to be done by" in line for line in lines)


def test_a_service_says_what_it_runs_at_what_weight_why_and_since_when():
    service = Service(task="summarise", unit="request")
    row = {"service": "nightly", "variant": "reader:small", "zone": "hall", "node": "gpu-1", "g_per_unit": 0.0009,
           "since_wall_ms": int(NOW_S * 1000), "unit": "request",
           "why": "reader:large weighs 1.3 mg per request; below 260 g/kWh it would run again"}  # fmt: skip
    kept = record(state=JobState.RUNNING, spec=spec(template=None, values={}, service=service), why=row["why"])
    lines = said(kept, service=row)
    assert "should run reader:small in hall, node gpu-1, since 20" in lines[0]
    assert lines[1:] == [
        "expected: 900 µg CO2e per request",
        "because reader:large weighs 1.3 mg per request",
        "what would change it:",
        "  below 260 g/kWh it would run again",
    ]
    assert "no variant can be chosen" in said(record(spec=kept.spec, why="no variant can be chosen: none"))[0]
