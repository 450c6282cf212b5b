"""From what is stated and learned to what is kept."""

from __future__ import annotations

from statistics import median

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.jobs.admission import RefusedError, admit
from evenwatt_collector.jobs.desk import ConflictError
from evenwatt_collector.jobs.learned import LATEST, Learned, Sample, learn
from evenwatt_collector.jobs.model import JobRecord, JobState
from evenwatt_collector.jobs.resolve import resolve
from evenwatt_collector.jobs.spec import JobSpec
from evenwatt_collector.jobs.times import duration_s, in_words, moment_s, stamp
from tests.jobs.made import HOUR, ID, NOW_S, documents, entry, known, spec


def made(learned=None, **keys):
    return resolve(spec(**keys), NOW_S, learned, job=ID, by="ada", assumed_power_w=100.0)


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45m", 2700), ("1h30m", 5400), ("1h 30m", 5400), ("2d", 172_800), ("90s", 90), ("1.5h", 5400), ("1W2d", 777_600),
     ("10min", 600)],
)  # fmt: skip
def test_lengths(text, seconds):
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "-1h", "1", "1h1h", "1m1h", "0s", "400d", "1e3s", "1 hour", "¼h", "٣m", "nan"]
)
def test_what_is_no_length(text):
    with pytest.raises(ValueError, match="expected a length of time"):
        duration_s(text)


@given(st.integers(1, 366 * 86_400))
def test_a_length_in_words_is_right_to_its_second_unit(seconds):
    words = in_words(seconds)
    assert len(words.split()) <= 2
    assert 0 <= seconds - duration_s(words) < max(60, seconds / 24)


@given(st.integers(0, 4_000_000_000))
def test_moments_count_from_the_epoch_or_from_now(wall_s):
    text = stamp(wall_s).replace(" UTC", "+00:00")
    assert wall_s - 60 < moment_s(text, 0.0) <= wall_s
    assert wall_s <= moment_s(stamp(wall_s, up=True).replace(" UTC", "Z"), 0.0) < wall_s + 60
    assert moment_s("+1h30m", wall_s) == wall_s + 5400
    assert moment_s("now", wall_s) == wall_s


# --- resolving --------------------------------------------------------------------------------------------------------


@given(documents())
def test_a_record_keeps_what_was_stated_and_survives_the_disk(raw):
    asked = msgspec.convert(raw, JobSpec)
    kept = resolve(asked, NOW_S, None, job=ID, by="ada", assumed_power_w=100.0)
    assert kept.spec == asked
    assert kept.length_s == duration_s(asked.length)
    assert kept.power_w == (100.0 if asked.power_w is None else asked.power_w)
    assert kept.earliest_s >= NOW_S
    assert kept.deadline_s is None or kept.deadline_s == NOW_S + 30 * 24 * HOUR
    assert msgspec.json.decode(msgspec.json.encode(kept), type=JobRecord) == kept


def test_what_is_stated_counts_before_what_is_learned_and_that_before_what_is_assumed():
    learned = Learned(runs=7, length_s=7200.0, power_w=80.0, seconds_per_unit={"image": 0.5})
    work = {"amount": 1000, "unit": "image"}
    assert (made().length_s, made().power_w, made().estimate) == (2700, 100, "length stated, power assumed")
    both = made(learned, length=None, work=work)
    assert (both.length_s, both.power_w) == (500, 80)
    assert both.estimate == "length learned from 7 runs, power learned from 7 runs"
    assert made(learned, length=None).length_s == 7200
    assert made(learned, power_w=5).estimate == "length stated, power stated"
    assert made(Learned(runs=1, length_s=60.0)).estimate == "length stated, power assumed"


def test_a_service_has_no_length():
    kept = made(length=None, template=None, service={"task": "chat"})
    assert (kept.length_s, kept.deadline_s, kept.estimate) == (0.0, None, "power assumed")


def test_an_earliest_moment_that_is_over_is_now():
    assert made(earliest="2020-01-01T00:00:00Z").earliest_s == NOW_S


# --- learning ---------------------------------------------------------------------------------------------------------


def sample(seconds, workload="w", **keys):
    fields = {"ended_s": NOW_S, "energy_j": 100.0 * seconds, "units": {"step": 2.0 * seconds}} | keys
    return Sample(workload=workload, seconds=seconds, **fields)


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=60))
def test_what_is_learned_is_the_median_of_the_latest(lengths):
    found = learn([sample(length, ended_s=NOW_S + i) for i, length in enumerate(lengths)])["w"]
    assert found.length_s == median(lengths[-LATEST:])
    assert found.runs == min(LATEST, len(lengths))
    assert found.power_w == pytest.approx(100)
    assert found.seconds_per_unit == pytest.approx({"step": 0.5})


def test_one_run_gone_wrong_changes_little_and_one_held_down_nothing():
    good = [sample(100.0) for _ in range(5)]
    assert learn([*good, sample(9e5)])["w"].length_s == 100
    assert learn([*good, *(sample(300.0, full_power=False) for _ in range(9))])["w"].length_s == 100
    assert learn([sample(300.0, full_power=False)])["w"].length_s == 300


def test_what_says_nothing_is_left_out():
    odd = [sample(0.0), sample(float("nan")), sample(float("inf")), sample(5.0, workload="")]
    assert learn(odd) == {}
    bare = learn([sample(5.0, energy_j=0.0, units={"step": 0.0})])["w"]
    assert (bare.power_w, bare.seconds_per_unit) == (None, {})


# --- admission --------------------------------------------------------------------------------------------------------


def test_none_is_taken_if_one_is_wrong():
    with pytest.raises(RefusedError, match="speedup") as refused:
        admit([entry("a" * 12), entry("b" * 12, speedup=[1, 3])], known(), {}, by="ada", assumed_power_w=1.0)
    assert len(refused.value.problems) == 1


def test_an_id_that_is_known_makes_no_second_job_and_no_other_one():
    first = admit([entry()], known(), {}, by="ada", assumed_power_w=1.0)
    (record,) = first.records
    record.state = JobState.RUNNING
    again = admit([entry(), entry("b" * 12)], known(now_s=NOW_S + 60), {ID: record}, by="bob", assumed_power_w=1.0)
    assert again.records[0] is record
    assert (first.new, again.new) == ({ID}, {"b" * 12})
    with pytest.raises(ConflictError, match="choose a new id"):
        admit([entry(priority=9)], known(), {ID: record}, by="ada", assumed_power_w=1.0)


def test_jobs_may_wait_for_what_was_submitted_before():
    done = admit([entry()], known(), {}, by="ada", assumed_power_w=1.0).records[0]
    later = entry("b" * 12, after=[ID])
    assert admit([later], known(), {ID: done}, by="ada", assumed_power_w=1.0).new == {"b" * 12}
    done.state = JobState.CANCELLED
    with pytest.raises(RefusedError, match="is cancelled, so this one could never begin"):
        admit([later], known(), {ID: done}, by="ada", assumed_power_w=1.0)
