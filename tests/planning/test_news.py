"""What becomes of jobs is told in lines: plans, changes of plans, starts, stops, ends; many at once as one."""

from msgspec.structs import replace

from evenwatt_collector.decided import DecisionKind
from evenwatt_collector.jobs.model import Decision, JobRecord, JobState, Option, Piece, Run
from evenwatt_collector.jobs.spec import JobSpec
from evenwatt_collector.planning.news import ONE_BY_ONE, JobNews
from evenwatt_wire.jobs import RunState

T0 = 1_768_392_000.0  # 2026-01-14 12:00:00 UTC


def option(name, grams, start_s=T0):
    figures = {"low_g": grams, "high_g": grams, "cost": 0.0, "energy_kwh": 1.0}
    return Option(
        name=name, zone="hall", start_s=start_s, end_s=start_s + 600, grams=grams, feasible=True, why="", **figures
    )


def job(number=0):
    spec = JobSpec(name=f"train-{number}", external="by-hand")
    decision = Decision(
        job=f"{number:012x}", made_s=T0, policy="carbon", chosen=option("chosen", 6.0), baseline=option("now", 10.0)
    )
    record = JobRecord(id=f"{number:012x}", spec=spec, submitted_s=T0, by="olga", length_s=600.0, decision=decision)
    record.pieces = [Piece(zone="hall", start_s=T0 + 3600, end_s=T0 + 4200)]
    return record


def look(news, *records):
    jobs = {record.id: record for record in records}
    return [(one.kind.value, one.words) for one in news.look(jobs, jobs, T0)]


def test_a_job_s_life_is_told_step_by_step():
    news, record = JobNews(), job()
    assert look(news, record) == [
        ("plan", "train-0 is planned at 2026-01-14 13:00:00 UTC in hall: 6 g of CO2e expected, 40% less than at once")
    ]
    assert look(news, record) == []
    record.pieces = [Piece(zone="hall", start_s=T0 + 7200, end_s=T0 + 7800)]
    assert look(news, record) == [
        (
            "shift",
            "train-0 moves to start at 2026-01-14 14:00:00 UTC in hall, instead of at 2026-01-14 13:00:00 UTC in hall",
        )
    ]
    run = Run(id="r1", zone="hall", node="n1", asked_s=T0, attempt=1, state=RunState.RUNNING, started_s=T0)
    record.runs, record.state = [run], JobState.RUNNING
    (said,) = news.look([record.id], {record.id: record}, T0)
    assert (said.kind, said.nodes, said.job) == (DecisionKind.START, ["hall:n1"], record.id)
    assert said.words == "train-0 runs on n1: 6 g of CO2e expected, 40% less than at once"
    run.ended_s, run.state, record.state, record.done_s = T0 + 300, RunState.STOPPED, JobState.WAITING, 300.0
    assert look(news, record) == [("stop", "train-0 has stopped, 50% done, goes on at 2026-01-14 14:00:00 UTC in hall")]
    record.late = True
    assert look(news, record) == [("shift", "train-0 will miss its deadline: there is no room in time")]
    record.state, record.ended_s, run.grams = JobState.DONE, T0 + 900, 5.5
    assert look(news, record) == [("end", "train-0 is done: 5.5 g of CO2e")]
    record.moves += 1
    assert look(news, record) == []


def test_what_is_known_from_before_is_no_news():
    news, record = JobNews(), job()
    news.know({record.id: record})
    assert look(news, record) == []


def test_many_at_once_are_the_first_few_and_a_number():
    said = look(JobNews(), *(job(number) for number in range(500)))
    assert len(said) == ONE_BY_ONE + 1
    assert said[-1] == ("plan", f"{500 - ONE_BY_ONE} more jobs were planned at the same time")


def test_what_is_gone_is_forgotten():
    news = JobNews()
    for number in range(3_000):
        look(news, job(number))
    assert len(news._told) < 1_500


def test_a_service_has_no_plan_to_be_told_of():
    record = job()
    record.spec = replace(record.spec, service={"task": "summarise", "unit": "request"})
    assert look(JobNews(), record) == []
