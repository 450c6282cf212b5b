"""The book of jobs against nodes that obey, refuse, fail, fall silent, come back, and against plans that change."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.jobs import hosts, progress
from evenwatt_collector.jobs.book import QUIET_S, Book, active
from evenwatt_collector.jobs.hosts import Host, Start, Stop, suits
from evenwatt_collector.jobs.model import ENDS, JobRecord, JobState, Piece
from evenwatt_collector.jobs.spec import JobSpec, Work
from evenwatt_wire import RunReport, RunState, Template

BOOT = "0" * 16


def make(id_="a" * 12, length_s=600.0, now_s=0.0, **keys):
    spec = JobSpec(name=keys.pop("name", "train"), template="train", **keys)
    record = JobRecord(id=id_, spec=spec, submitted_s=now_s, by="someone")
    record.length_s, record.power_w = length_s, 100.0
    return record


def host(node="n1", slots=1, zone="z", **keys):
    template = Template(name="train", interruptible=True, **keys)
    return Host(zone=zone, node=node, templates={"train": template}, slots=slots, live=True)


def book(*records, **keys):
    ids = (f"{n:012x}" for n in itertools.count(1))
    made = Book(lambda: next(ids), **keys)
    for record in records:
        made.submit(record)
    return made


def plan(made, record, *pieces, why="planned"):
    made.take_plan({record.id: ([Piece(zone="z", start_s=a, end_s=b, width=w) for a, b, *rest in pieces
                                 for w in (rest[0] if rest else 1,)], False, why)})  # fmt: skip


def say(made, start: Start, seq, state, now_s, duration_s=0.0, **keys):
    told = RunReport(
        node=start.node, boot=BOOT, job=start.order.job, run=start.order.run, seq=seq, wall_ms=int(now_s * 1000),
        state=state, duration_s=duration_s, energy_j=keys.pop("energy_j", 100.0 * duration_s), **keys,
    )  # fmt: skip
    return made.report(told, now_s, 1e-4)


def test_a_job_waits_for_its_piece_runs_and_is_done():
    record = make()
    made = book(record)
    plan(made, record, (100.0, 700.0))
    assert made.step(50.0, [host()]) == []
    (start,) = made.step(100.0, [host()])
    assert isinstance(start, Start)
    assert start.order.template == "train"
    assert not start.order.resume
    assert record.state is JobState.STARTING
    assert made.step(101.0, [host()]) == []
    say(made, start, 0, RunState.RUNNING, 102.0)
    assert record.state is JobState.RUNNING
    say(made, start, 1, RunState.ENDED, 700.0, 598.0, exit_code=0)
    assert record.state is JobState.DONE
    assert progress.energy_j(record) == pytest.approx(59_800)
    assert progress.grams(record) == pytest.approx(5.98)
    assert made.step(701.0, [host()]) == []


def test_a_split_job_is_stopped_with_its_state_and_goes_on_where_that_lies():
    record = make(interruptible=True)
    made = book(record)
    plan(made, record, (0.0, 200.0), (1000.0, 1400.0))
    (start,) = made.step(0.0, [host("n1"), host("n2")])
    say(made, start, 0, RunState.RUNNING, 1.0)
    assert made.step(199.0, [host("n1"), host("n2")]) == []
    (stop,) = made.step(201.0, [host("n1"), host("n2")])
    assert stop == Stop("z", start.node, record.id, start.order.run, keep=True, reason=stop.reason)
    assert made.step(202.0, []) == []
    (again,) = made.step(212.0, [])
    assert again.run == stop.run
    say(made, start, 1, RunState.STOPPED, 213.0, 200.0, kept=True)
    assert record.state is JobState.WAITING
    assert record.done_s == 200.0
    assert made.step(300.0, [host("n1"), host("n2")]) == []
    (more,) = made.step(1000.0, [host("n1", 3), host("n2", 3)])
    assert (more.node, more.order.resume) == (start.node, True)


def test_work_that_was_not_saved_is_done_again():
    record = make(interruptible=True)
    made = book(record)
    plan(made, record, (0.0, 200.0), (1000.0, 1600.0))
    (start,) = made.step(0.0, [host()])
    say(made, start, 0, RunState.RUNNING, 1.0)
    made.step(201.0, [host()])
    say(made, start, 1, RunState.STOPPED, 213.0, 200.0, kept=False)
    assert record.done_s == 0.0
    assert progress.left_s(record) == 600.0


def test_saved_state_is_waited_for_on_its_node_and_given_up_when_that_is_gone_for_long():
    record = make(interruptible=True)
    made = book(record)
    plan(made, record, (0.0, 200.0), (1000.0, 1400.0))
    (start,) = made.step(0.0, [host("n1")])
    say(made, start, 0, RunState.RUNNING, 1.0)
    made.step(201.0, [host("n1")])
    say(made, start, 1, RunState.STOPPED, 213.0, 200.0, kept=True)
    gone = Host(zone="z", node="n1", templates=host("n1").templates, slots=1, live=False)
    assert made.step(1000.0, [gone, host("n2", 4)]) == []
    assert record.done_s == 200.0
    (again,) = made.step(1000.0 + QUIET_S + 1, [gone, host("n2", 4)])
    assert (again.node, again.order.resume, record.done_s) == ("n2", False, 0.0)


def test_state_that_all_nodes_share_goes_on_anywhere():
    record = make(interruptible=True, shared_state=True)
    made = book(record)
    plan(made, record, (0.0, 200.0), (1000.0, 1400.0))
    (start,) = made.step(0.0, [host("n1")])
    say(made, start, 0, RunState.RUNNING, 1.0)
    made.step(201.0, [host("n1")])
    say(made, start, 1, RunState.STOPPED, 213.0, 200.0, kept=True)
    (again,) = made.step(1000.0, [host("n2")])
    assert (again.node, again.order.resume) == ("n2", True)


def test_a_job_that_no_node_will_ever_run_fails_and_says_why():
    record = make()
    made = book(record)
    plan(made, record, (0.0, 600.0))
    now_s = 0.0
    for _ in range(2):
        (start,) = made.step(now_s, [host("n1"), host("n2")])
        made.answered(start.order.run, "rejected", "value: 'size' is 'x', which its pattern does not allow", now_s + 1)
        assert record.open
        now_s += 100.0
    assert made.step(now_s, [host("n1"), host("n2")]) == []
    assert record.state is JobState.FAILED
    assert "which its pattern does not allow" in record.why


def test_units_decide_how_much_is_left_where_they_are_counted():
    record = make(work=Work(amount=1000.0, unit="images"))
    made = book(record)
    plan(made, record, (0.0, 600.0))
    (start,) = made.step(0.0, [host()])
    say(made, start, 0, RunState.RUNNING, 300.0, 300.0, units=[("images", 250.0)])
    assert progress.left_s(record) == pytest.approx(450.0)
    assert progress.done_share(record) == pytest.approx(0.25)


def test_a_refusal_frees_the_job_at_once_and_another_node_is_asked():
    record = make()
    made = book(record)
    plan(made, record, (0.0, 600.0))
    (start,) = made.step(0.0, [host("n2")])
    made.answered(start.order.run, "rejected", "template: unknown", 1.0)
    assert record.state is JobState.WAITING
    assert record.failures == 0
    (other,) = made.step(2.0, [host("n1"), host("n2")])
    assert other.node == "n1"
    assert made.step(2.0, [host("n2")]) == []


def test_failures_are_tried_again_with_patience_and_then_given_up():
    record = make(retries=1)
    made = book(record)
    plan(made, record, (0.0, 600.0))
    (start,) = made.step(0.0, [host()])
    say(made, start, 0, RunState.FAILED, 5.0, 5.0, exit_code=3, detail="exit code 3")
    assert made.step(6.0, [host()]) == []
    (second,) = made.step(20.0, [host()])
    say(made, second, 0, RunState.FAILED, 25.0, 5.0, exit_code=3, detail="exit code 3")
    assert record.state is JobState.FAILED
    assert "2 times" in record.why
    assert "exit code 3" in record.why
    assert progress.energy_j(record) == 1000.0


def test_a_node_that_vanishes_is_waited_for_then_the_job_starts_elsewhere_and_never_twice():
    record = make()
    made = book(record)
    plan(made, record, (0.0, 600.0))
    (start,) = made.step(0.0, [host("n1")])
    say(made, start, 0, RunState.RUNNING, 1.0)
    assert made.step(QUIET_S, [host("n2")]) == []
    assert made.step(QUIET_S + 2, [host("n2")]) == []
    assert record.failures == 1
    assert "nothing heard" in record.runs[0].detail
    (other,) = made.step(QUIET_S + 13, [host("n2")])
    assert other.node == "n2"
    say(made, other, 0, RunState.RUNNING, QUIET_S + 14)
    # The first one lives after all: its energy counts, and it has to end.
    assert say(made, start, 1, RunState.RUNNING, QUIET_S + 20, 320.0)
    (stop,) = made.step(QUIET_S + 21, [host("n1"), host("n2")])
    assert (stop.run, stop.keep) == (start.order.run, False)
    assert progress.energy_j(record) == 32_000.0
    say(made, start, 2, RunState.STOPPED, QUIET_S + 23, 322.0)
    say(made, other, 1, RunState.ENDED, QUIET_S + 700, 600.0)
    assert record.state is JobState.DONE
    assert made.step(QUIET_S + 800, [host("n1"), host("n2")]) == []


def test_a_run_that_was_given_up_is_taken_back_while_nothing_else_has_its_work():
    record = make()
    made = book(record)
    plan(made, record, (0.0, 600.0))
    (start,) = made.step(0.0, [host("n1")])
    say(made, start, 0, RunState.RUNNING, 1.0)
    made.step(QUIET_S + 2, [])
    assert record.state is JobState.WAITING
    say(made, start, 1, RunState.RUNNING, QUIET_S + 3, 303.0)
    assert record.state is JobState.RUNNING
    assert made.step(QUIET_S + 30, [host("n1", 5), host("n2")]) == []


def test_what_comes_first_must_have_succeeded():
    first, second = make("b" * 12), make("c" * 12, after=["b" * 12])
    made = book(first, second)
    plan(made, first, (0.0, 600.0))
    plan(made, second, (0.0, 600.0))
    (start,) = made.step(0.0, [host(slots=2)])
    assert start.order.job == first.id
    assert "waits for" in second.why
    say(made, start, 0, RunState.ENDED, 600.0, 600.0)
    (next_,) = made.step(601.0, [host(slots=2)])
    assert next_.order.job == second.id


def test_what_cannot_come_true_fails_and_says_why():
    first, second = make("b" * 12, retries=0), make("c" * 12, after=["b" * 12])
    made = book(first, second)
    made.cancel(first.id, 1.0, "by hand")
    plan(made, second, (0.0, 600.0))
    made.step(2.0, [host()])
    assert second.state is JobState.FAILED
    assert "cancelled" in second.why


def test_a_cancelled_job_is_stopped_first():
    record = make()
    made = book(record)
    plan(made, record, (0.0, 600.0))
    (start,) = made.step(0.0, [host()])
    say(made, start, 0, RunState.RUNNING, 1.0)
    made.cancel(record.id, 10.0, "by hand")
    (stop,) = made.step(10.0, [host()])
    assert not stop.keep
    say(made, start, 1, RunState.STOPPED, 12.0, 11.0)
    assert record.state is JobState.CANCELLED
    with pytest.raises(LookupError):
        made.cancel("f" * 12, 10.0, "")


def test_a_wide_piece_takes_several_nodes_and_gives_them_back():
    record = make(interruptible=True, speedup=[1.0, 1.8])
    made = book(record)
    plan(made, record, (0.0, 100.0, 2), (100.0, 500.0, 1))
    starts = made.step(0.0, [host("n1"), host("n2")])
    assert {start.node for start in starts} == {"n1", "n2"}
    for start in starts:
        say(made, start, 0, RunState.RUNNING, 1.0)
    (stop,) = made.step(101.0, [host("n1"), host("n2")])
    assert stop.keep
    assert len(active(record)) == 2


def test_reports_of_others_and_old_ones_change_nothing():
    record = make()
    made = book(record)
    plan(made, record, (0.0, 600.0))
    (start,) = made.step(0.0, [host()])
    assert say(made, start, 5, RunState.RUNNING, 10.0, 10.0)
    assert not say(made, start, 5, RunState.FAILED, 11.0, 11.0)
    assert not say(made, start, 4, RunState.FAILED, 11.0, 11.0)
    forged = RunReport(node="n9", boot=BOOT, job=record.id, run=start.order.run, seq=9, wall_ms=0,
                       state=RunState.ENDED, duration_s=1.0, energy_j=0.0)  # fmt: skip
    assert not made.report(forged, 12.0, 1e-4)
    assert record.state is JobState.RUNNING


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), nodes=st.integers(1, 4), jobs=st.integers(1, 6))
def test_whatever_nodes_do_no_joule_is_lost_and_no_two_runs_at_a_time(  # noqa: C901, PLR0912, PLR0915  (one simulation)
    seed, nodes, jobs
):
    """Nodes lose messages, refuse, fail, fall silent for long, and come back; the book must keep its promises."""
    chance = random.Random(seed)
    records = [
        make(f"{n:012x}".replace("0", "d"), chance.uniform(50, 900), retries=1000, interruptible=chance.random() < 0.5)
        for n in range(1, jobs + 1)
    ]
    made = book(*records)
    fleet = [host(f"n{n}", chance.randint(1, 3)) for n in range(nodes)]
    runs: dict[str, dict] = {}
    cut: dict[str, float] = {}
    now_s, dt = 0.0, 5.0
    while now_s < 40_000 and any(record.open for record in records):
        calm = now_s > 20_000
        for record in records:
            if record.open and (not record.pieces or chance.random() < 0.01):
                start_s = now_s + chance.uniform(0, 200)
                middle_s = start_s + chance.uniform(20, 300)
                plan(made, record, (start_s, middle_s), (middle_s + 50, middle_s + 5000))
        for action in made.step(now_s, [one for one in fleet if cut.get(one.node, 0) <= now_s]):
            if isinstance(action, Stop):
                if action.run in runs and cut.get(action.node, 0) <= now_s:
                    runs[action.run]["stop"] = action.keep
                continue
            record = made.jobs[action.order.job]
            assert len(active(record)) == 1
            room = next(one for one in fleet if one.node == action.node).slots
            busy = [run for other in records for run in active(other) if run.node == action.node]
            assert len(busy) <= room
            if action.order.run in runs:  # a start that was sent again
                made.answered(action.order.run, "rejected", "run-exists: it has been started here before", now_s)
            elif not calm and chance.random() < 0.1:
                made.answered(action.order.run, "rejected", "no", now_s)
            elif calm or chance.random() < 0.95:
                left_s = record.length_s - record.done_s if action.order.resume else record.length_s
                runs[action.order.run] = {
                    "start": action, "s": 0.0, "seq": 0, "state": RunState.RUNNING, "left_s": left_s
                }  # fmt: skip
        for one in fleet:
            if not calm and chance.random() < 0.01:
                cut[one.node] = now_s + chance.uniform(0, 2000)
        for run in runs.values():
            told = run["start"]
            if run["state"] is RunState.RUNNING:
                run["s"] += dt
                if "stop" in run:
                    run["state"] = RunState.STOPPED
                elif run["s"] > run["left_s"]:
                    run["state"] = RunState.ENDED
                elif not calm and chance.random() < 0.005:
                    run["state"] = RunState.FAILED
            if cut.get(told.node, 0) <= now_s and (calm or chance.random() < 0.8):
                run["seq"] += 1
                say(made, told, run["seq"], run["state"], now_s, run["s"], kept=run.get("stop", False))
        now_s += dt
    assert all(record.state is JobState.DONE for record in records), f"seed {seed}"
    for run in runs.values():  # the last word of every run, some time
        say(made, run["start"], run["seq"] + 1, run["state"], now_s, run["s"], kept=run.get("stop", False))
    booked = sum(progress.energy_j(record) for record in records)
    assert booked == pytest.approx(sum(100.0 * run["s"] for run in runs.values()))
    assert all(record.state in ENDS for record in records)
    assert all(not active(record) for record in records)


def test_who_was_not_listening_takes_no_run_for_lost():
    record = make(retries=0)
    made = book(record)
    plan(made, record, (0.0, 600.0))
    (start,) = made.step(0.0, [host()])
    say(made, start, 0, RunState.RUNNING, 1.0)
    stored = book()
    stored.load([record])
    back_s = 10 * QUIET_S
    assert stored.step(back_s, [host()], lambda _: back_s) == []
    assert stored.step(back_s + QUIET_S - 1, [host()], lambda _: back_s) == []
    assert record.state is JobState.RUNNING
    stored.step(back_s + QUIET_S + 1, [host()], lambda _: back_s)
    assert record.state is JobState.FAILED


def test_a_run_whose_start_was_never_sent_is_taken_back():
    record = make(retries=0)
    made = book(record)
    plan(made, record, (0.0, 600.0))
    (start,) = made.step(0.0, [host()])
    assert made.wanted(start.order.run)
    made.withdraw(start.order.run, 1.0)
    assert not made.wanted(start.order.run)
    assert (record.state, record.runs, record.failures) == (JobState.WAITING, [], 0)
    assert made.step(2.0, [host()]) == []
    (again,) = made.step(20.0, [host()])
    assert again.order.run != start.order.run


def test_a_job_cancelled_before_its_start_was_sent_is_over_and_is_not_started():
    record = make()
    made = book(record)
    plan(made, record, (0.0, 600.0))
    (start,) = made.step(0.0, [host()])
    made.cancel(record.id, 1.0, "cancelled by someone")
    assert not made.wanted(start.order.run)
    made.withdraw(start.order.run, 2.0)
    assert record.state is JobState.CANCELLED
    assert made.step(60.0, [host()]) == []


def test_full_nodes_are_not_looked_at_for_every_job(monkeypatch):
    looked = []
    monkeypatch.setattr(hosts, "suits", lambda *pair: looked.append(pair) or suits(*pair))
    records = [make(f"{n:012x}", nodes=["n*"]) for n in range(500)]
    made, nodes = book(*records), [host(f"n{n}") for n in range(20)]
    for record in records:
        plan(made, record, (0.0, 600.0))
    assert len(made.step(0.0, nodes)) == 20
    assert made.step(1.0, nodes) == []
    assert len(looked) <= 2 * len(nodes)


def test_a_start_that_nobody_answers_is_sent_again_and_is_still_one_run():
    record = make()
    made = book(record)
    plan(made, record, (0.0, 600.0))
    (start,) = made.step(0.0, [host()])
    assert made.step(5.0, [host()]) == []
    (again,) = made.step(11.0, [host()])
    assert again.order == start.order
    made.answered(start.order.run, "rejected", f"run-exists: run {start.order.run} has been started here before", 12.0)
    assert made.step(30.0, [host()]) == []
    assert (len(record.runs), record.failures, record.state) == (1, 0, JobState.STARTING)
    killed = book()
    killed.load([record])
    assert killed.step(31.0, [host()]) == []


def test_a_start_that_was_kept_and_not_sent_is_sent_by_who_comes_after():
    record = make()
    made = book(record)
    plan(made, record, (0.0, 600.0))
    (start,) = made.step(0.0, [host()])
    after = book()
    after.load([record])
    assert after.step(5.0, []) == []
    (again,) = after.step(6.0, [host()])
    assert again.order == start.order


def test_a_node_that_refuses_for_a_week_is_named_and_fills_no_memory():
    record = make()
    made = book(record)
    plan(made, record, (0.0, 1e6))
    for now_s in range(0, 7 * 86_400, 60):
        for start in made.step(now_s, [host()]):
            made.answered(start.order.run, "rejected", "machine: there is no program", now_s)
    assert len(record.runs) == 1
    assert record.runs[0].attempt > 5_000
    plan(made, record, (0.0, 1e6), why="planned anew")
    assert made.step(7 * 86_400 - 1, [host()]) == []
    assert "refused by n1: machine: there is no program" in record.why
