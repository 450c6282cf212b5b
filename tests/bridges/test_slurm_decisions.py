"""What the Slurm bridge decides, as a function of what Slurm shows and the collector advises."""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bridges.loading import load

slurm = load("slurm/evenwatt_slurm.py")
NOW = 1_800_000_000.0
ROW = {
    "job_id": 7, "job_state": "PENDING", "state_reason": "None", "submit_time": NOW - 600, "eligible_time": NOW - 600,
    "start_time": 0, "end_time": 0, "pre_sus_time": 0, "suspend_time": 0, "time_limit": 120, "deadline": 0,
    "comment": "evenwatt:deadline=+8h", "admin_comment": "", "qos": "", "partition": "main", "name": "train",
    "user_name": "ada", "het_job_id": 0,
}  # fmt: skip


def job(**changes):
    (read,) = slurm.read_queue({"jobs": [{**ROW, **changes}]}, NOW)
    return read


def decide(row, start_s, saving=0.5, terms=None, now_s=NOW):
    wish = slurm.wish_of(row, terms or slurm.opted(row, {}, {}))
    advice = None if start_s is None else slurm.Advice(start_s, 100 * (1 - saving), 100.0)
    return wish, slurm.decide(row, wish, advice, now_s)


def start_of(step):
    for call in step.calls:
        for argument in call:
            found = re.match(r"StartTime=(.*)", argument)
            if found:
                return NOW if found[1] == "now" else datetime.fromisoformat(f"{found[1]}+00:00").timestamp()
    return None


def test_both_dialects_of_squeue_say_the_same():
    number = lambda value: {"set": True, "infinite": False, "number": value}  # noqa: E731
    newer = {
        **ROW, "job_state": ["PENDING"], "submit_time": number(NOW - 600), "eligible_time": number(NOW - 600),
        "time_limit": number(120), "deadline": {"set": False, "infinite": False, "number": 0},
        "start_time": {"set": False, "infinite": False, "number": 0},
    }  # fmt: skip
    assert slurm.read_queue({"jobs": [newer]}, NOW) == [job()]
    infinite = job(time_limit={"set": True, "infinite": True, "number": 0})
    assert infinite.limit_s is None


def test_a_row_that_cannot_be_read_keeps_no_other_one(capsys):
    assert [row.id for row in slurm.read_queue({"jobs": [{"job_id": 1}, ROW]}, NOW)] == [7]
    assert "job 1: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("comment", "terms"),
    [
        ("evenwatt:deadline=+8h", "deadline=+8h"),
        ("project x evenwatt:deadline=+8h,hold=1 urgent", "deadline=+8h,hold=1"),
        ("evenwatt", ""),
        ("", None),
    ],
)
def test_who_opted_in(comment, terms):
    assert slurm.opted(job(comment=comment), {}, {}) == terms


def test_a_qos_or_a_partition_opts_in():
    assert slurm.opted(job(comment="", qos="green"), {"green": "deadline=+24h"}, {}) == "deadline=+24h"
    assert slurm.opted(job(comment=""), {}, {"main": "deadline=+4h"}) == "deadline=+4h"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"comment": "evenwatt:deadline=tomorrow"}, "neither a time from now"),
        ({"comment": "evenwatt:deadline=2026-11-28T06:00:00"}, "no offset"),
        ({"comment": "evenwatt:deadlin=+8h"}, "'deadlin' is none of"),
        ({"comment": "evenwatt:length=2h"}, "no deadline"),
        ({"time_limit": None}, "how long it takes"),
        ({"comment": "evenwatt:deadline=+8h,length=2x"}, "'2x' is no length"),
    ],
)
def test_terms_that_make_no_sense_are_named(changes, said):
    row = job(**changes)
    with pytest.raises(ValueError, match=said):
        slurm.wish_of(row, slurm.opted(row, {}, {}))


def test_it_begins_when_advised_and_says_so_in_the_job():
    _, step = decide(job(admin_comment="paid by grant 7"), NOW + 3 * 3600)
    assert start_of(step) == NOW + 3 * 3600
    assert f"AdminComment=paid by grant 7 evenwatt:begin={NOW + 3 * 3600:.0f}" in step.calls[0]


def test_the_same_advice_again_changes_nothing():
    begin = NOW + 3 * 3600
    marked = job(eligible_time=begin, admin_comment=f"evenwatt:begin={begin:.0f}", state_reason="BeginTime")
    assert decide(marked, begin)[1].calls == []
    assert decide(marked, begin + 300)[1].calls == []


def test_the_latest_start_wins_over_the_advice():
    wish, step = decide(job(), NOW + 7.9 * 3600)
    assert start_of(step) == wish.latest_s == NOW - 600 + 8 * 3600 - 2 * 3600 - 600


def test_what_it_set_itself_is_no_wish_of_the_owner_but_a_begin_of_the_owner_is():
    begin = NOW + 3 * 3600
    ours = job(eligible_time=begin, admin_comment=f"evenwatt:begin={begin:.0f}", state_reason="BeginTime")
    assert start_of(decide(ours, NOW)[1]) == NOW
    theirs = job(eligible_time=begin, state_reason="BeginTime")
    assert decide(theirs, NOW)[1].calls == []


def test_without_advice_the_latest_one_holds_but_never_too_long():
    begin = NOW + 3 * 3600
    mark = f"evenwatt:begin={begin:.0f}"
    assert decide(job(eligible_time=begin, admin_comment=mark), None)[1].calls == []
    far = NOW + 7.5 * 3600
    wish, step = decide(job(eligible_time=far, admin_comment=f"evenwatt:begin={far:.0f}"), None)
    assert start_of(step) == wish.latest_s


def test_a_hold_of_somebody_else_stays_and_ours_is_released_even_without_advice():
    held = {"state_reason": "JobHeldUser", "eligible_time": 0}
    assert decide(job(**held), NOW + 3600)[1].calls == []
    _, step = decide(job(**held, comment="evenwatt:deadline=+8h,hold=1"), NOW + 3600)
    assert [call[0] for call in step.calls] == ["update", "release"]
    _, step = decide(job(**held, comment="evenwatt:deadline=+8h,hold=1"), None)
    assert step.calls[-1] == ["release", "7"]


RUNNING = {
    "job_state": "RUNNING", "start_time": NOW - 3600, "comment": "evenwatt:deadline=+9h,interruptible=1",
}  # fmt: skip


def test_a_running_job_is_suspended_when_it_is_worth_it_and_written_down_first():
    _, step = decide(job(**RUNNING), NOW + 3 * 3600)
    assert [call[0] for call in step.calls] == ["update", "suspend"]
    assert "evenwatt:suspended=" in step.calls[0][-1]


@pytest.mark.parametrize(
    ("changes", "start_s", "saving"),
    [
        ({"comment": "evenwatt:deadline=+9h"}, NOW + 3 * 3600, 0.5),
        ({}, NOW + 600, 0.5),
        ({}, NOW + 3 * 3600, 0.04),
        ({"start_time": NOW - 60}, NOW + 3 * 3600, 0.5),
        ({"submit_time": NOW - 7 * 3600}, NOW + 3 * 3600, 0.5),
        ({}, None, 0.5),
    ],
    ids=["not allowed", "too short", "saves too little", "just started", "no time left", "no advice"],
)
def test_else_it_runs_on(changes, start_s, saving):
    assert decide(job(**{**RUNNING, **changes}), start_s, saving)[1].calls == []


def suspended(until_s, **changes):
    mark = f"evenwatt:suspended={NOW - 600:.0f},until={until_s:.0f}"
    return job(**{
        **RUNNING, "job_state": "SUSPENDED", "suspend_time": NOW - 600, "pre_sus_time": 3000, "admin_comment": mark,
        **changes,
    })  # fmt: skip


def test_it_goes_on_when_advised_when_due_and_when_nobody_knows_better():
    far = NOW + 3 * 3600
    assert decide(suspended(far), far)[1].calls == []
    assert decide(suspended(far), None)[1].calls == []
    for step in (decide(suspended(far), NOW)[1], decide(suspended(NOW), None)[1]):
        assert [call[0] for call in step.calls] == ["resume", "update"]
        assert step.calls[1][-1] == "AdminComment="
    late = suspended(far, submit_time=NOW - 8 * 3600)
    assert decide(late, far)[1].calls[0] == ["resume", "7"]


def test_a_suspension_of_somebody_else_stays():
    assert decide(suspended(NOW, admin_comment=""), NOW)[1].calls == []


def test_suspended_time_is_no_running_time():
    assert suspended(NOW).run_s == 3000
    again = job(**RUNNING, pre_sus_time=3000, suspend_time=NOW - 100)
    assert again.run_s == 3100


hours = st.floats(min_value=-20, max_value=40, allow_nan=False)


@given(
    begin=hours, submitted=st.floats(-20, 0), deadline=st.floats(0.1, 40), advised=st.none() | hours,
    marked=st.booleans(), limit=st.integers(1, 3000), reason=st.sampled_from(["None", "BeginTime", "Priority"]),
)  # fmt: skip
def test_no_begin_is_ever_set_after_the_latest_start(begin, submitted, deadline, advised, marked, limit, reason):
    """Whatever was set, said and advised: a job begins by its latest start, or at once, or when its owner said."""
    begin_s = NOW + 3600 * begin
    row = job(
        submit_time=NOW + 3600 * submitted, eligible_time=begin_s, state_reason=reason, time_limit=limit,
        comment=f"evenwatt:deadline=+{deadline:.3f}h",
        admin_comment=f"evenwatt:begin={begin_s:.0f}" if marked else "",
    )  # fmt: skip
    wish, step = decide(row, None if advised is None else NOW + 3600 * advised)
    set_s = start_of(step)
    bound = max(wish.latest_s, NOW, wish.earliest_s) + 1
    assert (row.begin_s if set_s is None else set_s) <= bound
    if set_s is not None:
        settled = dataclasses.replace(row, begin_s=set_s, admin_comment=f"evenwatt:begin={set_s:.0f}")
        assert decide(settled, None)[1].calls == []
