"""Jobs as text: what is taken, and what is said of what is not."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.jobs.reading import MOST_BYTES, form_of, read, schema
from evenwatt_collector.jobs.spec import JobSpec
from tests.jobs.made import as_json, documents, entries, ids

SEVERAL = """
[[jobs]]
name = "fetch"
template = "nightly"
length = "20m"

[[jobs]]
id = "aaaaaaaaaaaa"
name = "train"
template = "train"
length = "6h"
deadline = 2026-11-27T18:00:00+01:00
after = ["fetch", "bbbbbbbbbbbb"]
values = { epochs = "90" }
"""


def problems(text, form="toml"):
    found = read(text if isinstance(text, bytes) else text.encode(), form, ids())
    assert found.entries == []
    return [problem.words("jobs.toml") for problem in found.problems]


def test_several_jobs_of_a_file_wait_for_one_another_by_name():
    fetch, train = entries(SEVERAL)
    assert (fetch.id, train.id) == ("000000000001", "aaaaaaaaaaaa")
    assert train.spec.after == [fetch.id, "bbbbbbbbbbbb"]
    assert train.spec.deadline == "2026-11-27T18:00:00+01:00"
    assert (fetch.path, train.path) == (("jobs", 0), ("jobs", 1))


def test_one_job_stands_for_itself():
    (one,) = entries('name = "nightly"\ntemplate = "nightly"\nlength = "45m"\n')
    assert (one.path, one.spec) == ((), JobSpec(name="nightly", template="nightly", length="45m"))


@given(documents())
def test_what_is_written_is_what_is_read(raw):
    (one,) = entries(as_json(raw), "json")
    assert one.spec == msgspec.convert(raw, JobSpec)
    again = entries(msgspec.json.encode(one.spec), "json")
    assert again[0].spec == one.spec


@given(st.binary(max_size=200), st.sampled_from(["toml", "json"]))
def test_no_bytes_do_any_harm(text, form):
    found = read(text, form, ids())
    assert bool(found.entries) != bool(found.problems)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["name", "jobs", "work", "after", "values", "speedup", "id", "slo"]), inner),
                    max_leaves=12))  # fmt: skip
def test_no_document_does_any_harm(raw):
    found = read(json.dumps(raw, allow_nan=False, default=str).encode() if finite(raw) else b"[NaN]", "json", ids())
    assert bool(found.entries) != bool(found.problems)


def finite(raw):
    try:
        json.dumps(raw, allow_nan=False)
    except ValueError:
        return False
    return True


BASE = 'name = "a"\ntemplate = "t"\nlength = "1h"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["jobs.toml: there is no job in it; write at least a name, a template and a length"]),
        ("name = ", ["jobs.toml:1: not TOML: Invalid value (at end of document); complete the last line"]),
        ("a = 1\nname = x\n", ["jobs.toml:2: not TOML at column 8: Invalid value; correct it"]),
        (BASE + "deadlin = '+1h'", ["jobs.toml:4: deadlin: unknown key; did you mean 'deadline'?"]),
        ('template = "t"', ["jobs.toml: name: missing; add name = ... with a name of 1 to 100 characters"]),
        (BASE + "priority = 11", [("jobs.toml:4: priority: found 11, expected a whole number from 0 (gives way first) "
                                  "to 9 (first served)")]),
        (BASE + "speedup = [1.0, 'x']", [('jobs.toml:4: speedup[1]: found "x", expected a list of 1 to 64 speeds above '
                                         '0 on 1, 2, ... slots, such as [1.0, 1.9, 2.7]')]),
        (BASE + "speedup = [1.0, nan]", [("jobs.toml:4: speedup[1]: found nan, expected a list of 1 to 64 speeds above "
                                         "0 on 1, 2, ... slots, such as [1.0, 1.9, 2.7]")]),
        (BASE + "power_w = inf", ["jobs.toml:4: power_w: found inf, expected watts above 0 that it adds to a node"]),
        (BASE + "power_w = nan", ["jobs.toml:4: power_w: found nan, expected watts above 0 that it adds to a node"]),
        (BASE + "slo = {min_quality = nan}", ["jobs.toml:4: slo.min_quality: found nan, expected finite numbers"]),
        (BASE + "[work]\namount = 5", [("jobs.toml:4: work.unit: missing; add unit = ... with the name of a unit of "
                                       "work that tasks report, such as step, image or token")]),
        (BASE + "work = 5", ["jobs.toml:4: work: found 5, expected a table"]),
        (BASE + "interruptible = 'yes'", ['jobs.toml:4: interruptible: found "yes", expected true or false']),
        (BASE + "zones = ['Hall']", [('jobs.toml:4: zones[0]: found "Hall", expected a list of names of zones, each '
                                     "1 to 63 of a-z, 0-9 and '-', and no '-' at its ends")]),
        (BASE + "id = 'x'", ['jobs.toml:4: id: found "x", expected 12 hexadecimal digits (0-9, a-f)']),
        (BASE + "after = ['b']", [('jobs.toml:4: after[0]: "b" is neither the name of a job here nor an id; name a '
                                  "job of the same text, or the id of one submitted")]),
        (BASE + "after = 3", [("jobs.toml:4: after: found 3, expected a list of ids of jobs (12 hexadecimal digits), "
                              "or of names of jobs of the same text")]),
        (BASE + "deadline = 2026-11-27", [("jobs.toml:4: deadline: found 2026-11-27, expected a moment "
                                          'such as "2026-11-27T18:00:00Z", or "+8h" from now')]),
        ("jobs = []", ["jobs.toml:1: jobs: found [], expected jobs; write [[jobs]] for each"]),
        ("x = 1\n[[jobs]]\n" + BASE, [("jobs.toml:1: x: stands beside [[jobs]]; move it into one of them: nothing is "
                                      "common to all")]),
        (b"name = '\xff'", ["jobs.toml:1: not UTF-8 text; save it as UTF-8"]),
    ],
)  # fmt: skip
def test_what_is_wrong_in_toml_is_said_with_line_key_and_fix(text, said):
    assert problems(text) == said


def test_all_problems_of_all_jobs_are_said_at_once():
    text = "[[jobs]]\nname = 'a'\nprio = 1\n[[jobs]]\nname = 'a'\nretries = -1\n[[jobs]]\nname = 'b'\nafter = ['a']\n"
    assert problems(text) == [
        "jobs.toml:3: jobs[0].prio: unknown key; did you mean 'priority'?",
        "jobs.toml:6: jobs[1].retries: found -1, expected a whole number from 0 to 100",
        "jobs.toml:9: jobs[2].after[0]: 2 jobs are called 'a'; give each its own name",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "not JSON: Input data was truncated"),
        (b"[1]", "found [1], expected a job"),
        (b'"x"', 'found "x", expected a job'),
        (b'{"name": NaN}', "not JSON"),
        (b'{"name": "a", "name": "b"}', "key 'name' stands twice in one object"),
        (b'{"name": "\\ud800"}', "not JSON"),
        (b"[" * 100_000, "not JSON|nested too deeply"),
        (b'{"jobs": [1]}', "jobs[0]: found 1, expected a table"),
        (b'{"jobs": {}}', "expected jobs; write [[jobs]] for each"),
        (b" " * (MOST_BYTES + 1), "expected at most 1,048,576; split it"),
        (as_json({"jobs": [{"name": "a"}] * 1001}), "found 1001 jobs, expected at most 1000"),
    ],
)
def test_what_is_wrong_in_json_is_said(text, said):
    (problem,) = problems(text, "json")
    assert any(part in problem for part in said.split("|"))


def test_a_doubled_id_is_refused():
    rows = [{"id": "aaaaaaaaaaaa", "name": name, "template": "t"} for name in "ab"]
    assert problems(as_json({"jobs": rows}), "json") == [
        "jobs.toml: jobs[1].id: 'aaaaaaaaaaaa' stands twice; give each job its own"
    ]


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [("a.json", b"", "json"), ("a.toml", b"{", "toml"), ("-", b' {"name"', "json"), ("-", b"[[jobs]]", "toml")],
)
def test_the_form_is_known_by_the_name_or_the_text(name, text, form):
    assert form_of(name, text) == form


def test_the_schema_names_every_key():
    made = schema()
    assert set(made["$defs"]["JobSpec"]["properties"]) == {"id", *JobSpec.__struct_fields__}
    assert "Work" in made["$defs"]
    assert made["$defs"]["JobSpec"]["additionalProperties"] is False
    json.dumps(made)
