"""job_submit.lua in a real Lua: the windows it picks against a search by brute force, and how it fails open."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bridges.loading import BRIDGES
from tests.support import need

LUA = shutil.which("lua5.4") or shutil.which("lua5.3") or shutil.which("lua")
NOW = 1_800_000_000
UNSET = 4294967294
# slurmctld's part: the table of a job, the log, and a clock that stands still. Answers are written as JSON lines.
HARNESS = """
local jobs = {%s}
os.time = function() return %d end
slurm = { SUCCESS = 0, log_info = function(text) io.write("LOG " .. text:format() .. "\\n") end,
          log_user = function(text) io.write("USER " .. text:format() .. "\\n") end }
dofile(%r)
for _, job in ipairs(jobs) do
    local result = slurm_job_submit(job, {}, 1000)
    io.write(("JOB %%d %%s %%s\\n"):format(result, tostring(job.begin_time), tostring(job.admin_comment)))
    assert(slurm_job_modify(job, {}, {}, 1000) == 0)
end
"""


@pytest.fixture(scope="module", autouse=True)
def lua():
    need(LUA, "a Lua", "lua5.4")


def forecast(slots, written=NOW, head=(), end="end"):
    lines = [f"evenwatt-forecast 1 {written}", *head, *(f"slot {a} {b} {g:.3f}" for a, b, g in slots), end, ""]
    return "\n".join(lines)


def half_hours(values, first=NOW):
    return [(first + 1800 * i, first + 1800 * (i + 1), value) for i, value in enumerate(values)]


def submit(path, text, *jobs):
    """Return for each job its begin time or None, its mark, and what its owner was told."""
    file = path / "forecast"
    if text is None:
        file.unlink(missing_ok=True)
    else:
        file.write_text(text)
    tables = ["{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in job.items()) + "}" for job in jobs]
    script = HARNESS.replace("%r", json.dumps(str(BRIDGES / "slurm" / "job_submit.lua"))) % (", ".join(tables), NOW)
    done = subprocess.run(
        [LUA, "-"], input=script, capture_output=True, text=True, check=False,
        env={"EVENWATT_SLURM_FORECAST": str(file)}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers, told = [], []
    for line in done.stdout.splitlines():
        kind, _, rest = line.partition(" ")
        if kind != "JOB":
            told.append(rest)
            continue
        result, begin, mark = rest.split(" ", 2)
        assert result == "0"
        answers.append((None if begin in {"nil", str(UNSET)} else int(begin), None if mark == "nil" else mark, told))
        told = []
    return answers


def a_job(comment="evenwatt:deadline=+12h", **changes):
    return {"comment": comment, "time_limit": 120, "begin_time": UNSET, "qos": "", "partition": "main", **changes}


CLEAN_AT_3H = half_hours([400.0] * 6 + [100.0] * 6 + [400.0] * 36)


def test_it_begins_in_the_clean_hours_and_its_owner_is_told(tmp_path):
    ((begin, mark, told),) = submit(tmp_path, forecast(CLEAN_AT_3H), a_job())
    assert begin == NOW + 3 * 3600
    assert mark == f"evenwatt:begin={begin}"
    assert "75 % less carbon expected" in told[0]


def test_who_did_not_opt_in_is_never_touched(tmp_path):
    quiet = [a_job(comment="my evening run"), a_job(comment=""), {"time_limit": 60}, a_job(comment="", qos="fast")]
    for text in (forecast(CLEAN_AT_3H), None):
        assert submit(tmp_path, text, *quiet) == [(None, None, [])] * 4


def test_a_qos_that_the_bridge_names_opts_in(tmp_path):
    head = ["qos green deadline=+8h", "partition night deadline=+12h,length=1h"]
    answers = submit(
        tmp_path, forecast(CLEAN_AT_3H, head=head), a_job(comment="", qos="green"), a_job(comment="", partition="night")
    )
    assert [begin for begin, _, _ in answers] == [NOW + 3 * 3600] * 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no forecast"),
        ("", "cannot be read"),
        (forecast(CLEAN_AT_3H, end=""), "cannot be read"),
        (forecast(CLEAN_AT_3H, written=NOW - 4 * 3600), "old"),
        (forecast([]), "old"),
        (forecast([(NOW, NOW + 60, 1.0), (NOW + 120, NOW + 180, 1.0)]), "cannot be read"),
        ("\x00\xff" * 100, "cannot be read"),
    ],
    ids=["none", "empty", "torn", "old", "no slots", "a gap", "rubbish"],
)
def test_with_a_forecast_that_is_wrong_it_is_left_as_it_was(tmp_path, text, why):
    ((begin, mark, told),) = submit(tmp_path, text, a_job())
    assert (begin, mark) == (None, None)
    assert why in told[0]


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (a_job("evenwatt:deadline=soon"), "neither a time from now"),
        (a_job("evenwatt:deadline=+8x"), "neither a time from now"),
        (a_job("evenwatt"), "names no deadline"),
        (a_job(time_limit=UNSET), "how long it takes"),
        (a_job("evenwatt:deadline=+8h,length=%d"), "how long it takes"),
        (a_job("evenwatt:deadline=+1h"), "as clean now"),
        (a_job("evenwatt:deadline=+3h"), "as clean now"),
    ],
)
def test_terms_that_make_no_sense_delay_nothing(tmp_path, job, why):
    ((begin, _, told),) = submit(tmp_path, forecast(CLEAN_AT_3H), job)
    assert begin is None
    assert why in told[0]


def test_a_job_that_cannot_be_read_is_let_through(tmp_path):
    ((begin, _, told),) = submit(tmp_path, forecast(CLEAN_AT_3H), a_job(time_limit="two hours"))
    assert begin is None
    assert "compare" in told[0]


def test_an_owners_begin_is_kept_or_moved_back_only(tmp_path):
    later = NOW + 5 * 3600
    dirty_then = half_hours([100.0] * 12 + [400.0] * 4 + [100.0] * 32)
    ((begin, mark, _),) = submit(tmp_path, forecast(dirty_then), a_job("evenwatt:deadline=+14h", begin_time=later))
    assert begin == NOW + 8 * 3600
    assert mark == f"evenwatt:begin={begin},earliest={later}"


@pytest.mark.parametrize(
    "deadline",
    ["2027-01-15T20:00:00Z", "2027-01-15T21:30:00+01:30", "2027-01-15T15:00-05:00"],
    ids=["Z", "east", "west"],
)
def test_a_moment_is_read_in_any_offset(tmp_path, deadline):
    """NOW is 2027-01-15T08:00:00Z: the deadline is 12 h later, so the last half hour it can end in is the 23rd."""
    rising = half_hours([100.0 - i for i in range(96)])
    ((begin, _, _),) = submit(tmp_path, forecast(rising), a_job(f"evenwatt:deadline={deadline},length=1h,margin=30m"))
    assert begin == NOW + 12 * 3600 - 3600 - 1800


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.floats(0, 900), min_size=4, max_size=60),
    length_min=st.integers(5, 900), deadline_min=st.integers(10, 2400), offset=st.integers(0, 1799),
)  # fmt: skip
def test_no_begin_by_the_minute_is_cleaner(tmp_path, values, length_min, deadline_min, offset):
    slots = half_hours([round(value, 3) for value in values], NOW - offset)
    end, length = slots[-1][1], 60 * length_min
    ((begin, _, _),) = submit(
        tmp_path, forecast(slots), a_job(f"evenwatt:deadline=+{deadline_min}m,length={length_min}m,margin=1m")
    )
    latest = min(NOW + 60 * (deadline_min - 1) - length, end - length)

    def weight(at):
        return sum(max(0, min(b, at + length) - max(a, at)) * g for a, b, g in slots)

    least = min((weight(at) for at in range(NOW, latest + 1, 60)), default=None)
    if begin is not None:
        assert NOW + 60 < begin <= latest
        assert weight(begin) <= min(0.98 * weight(NOW), least) + 1e-3
    elif least is not None:  # nothing is 2 % cleaner, but for what a minute may bring
        assert least >= 0.98 * weight(NOW) - 60 * 900
